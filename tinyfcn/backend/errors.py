"""What a backend lacks on this machine."""


class BackendError(RuntimeError):
    """A backend cannot work here: no GPU, no driver, no compiler. Says what to do about it."""
