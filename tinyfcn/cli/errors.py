"""What a user can put right, said in one message without a traceback."""

from tinyfcn.training.errors import UsageError, plain_errors, sentence, usage_errors

__all__ = ["UsageError", "plain_errors", "sentence", "usage_errors"]
