"""What a user can put right, said in one message without a traceback.

The library does not know of options. What they can do about an error is added here.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

from tinyfcn import backend, parallel
from tinyfcn.backend.errors import BackendError
from tinyfcn.data import DataError
from tinyfcn.functional.normalization import BatchTooSmall
from tinyfcn.parallel import RankFailed
from tinyfcn.parallel.launch import LaunchError, leave
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import Diverged, FolderInUse, Interrupted, Stopped, sentence
from tinyfcn.training.published import UnknownModel
from tinyfcn.training.screen import forgiving_screens

# The end of a message, by the kind of error.
ADVICE: dict[type[Exception], str] = {
    BatchTooSmall: "; a larger --batch-size helps",
    Diverged: ". What helps most often: a learning rate ten times smaller (--lr), a warm-up "
    "(--warmup), batch normalization (--batch-norm), or, with --loss-reduction sum, a learning "
    "rate about as much smaller as an image has pixels.",
    FolderInUse: "; another --out begins another run",
    Interrupted: "; --resume goes on with it",
    MemoryError: "; a smaller --batch-size, --crop or --width needs less",
    Stopped: "; --resume goes on from there",
    UnknownModel: ": give --model",
}


# In what the library says.
_ARGUMENTS = (
    r"(?<![\w/.-])(train_split|val_split|"
    r"(?:val_share|mask_values|classes|channels|range)=)(?!/)"
)


def typed(text: str) -> str:
    """What the library says of arguments, as they are typed.

    Example:
        >>> typed("train with channels=4, or give a range for all, such as range=-1,1")
        'train with --channels 4, or give a range for all, such as --range=-1,1'
    """

    def option(found: re.Match[str]) -> str:
        name = flag(found[1])
        return name if name == "--range=" else name.replace("=", " ")  # a minus may follow

    return re.sub(_ARGUMENTS, option, text)


def flag(name: str) -> str:
    """``batch_norm`` as it is typed."""
    return f"--{name.replace('_', '-')}"


class UsageError(Exception):
    """What was asked for cannot be done, such as options that do not make sense together."""


@contextlib.contextmanager
def usage_errors(option: str) -> Iterator[None]:
    """What the library rejects inside the block is the user's choice of ``option``, and so is what
    needs an extra that is not installed.

    Example:
        >>> with usage_errors("--width"):
        ...     raise ValueError("at least 1/64")
        Traceback (most recent call last):
        tinyfcn.cli.errors.UsageError: --width: at least 1/64
    """
    try:
        yield
    except (TypeError, ValueError, ImportError) as error:
        raise UsageError(f"{option}: {error}{ADVICE.get(type(error), '')}") from error


def use_backend(name: str | None) -> None:
    """Switch to the backend of ``--backend``; without it, the one that is active stays. Ranks that
    were started together are then those whose arrays are the backend's."""
    with usage_errors("--backend"):
        backend.use(name or backend.active().name)
    if parallel.group().size > 1 and backend.active().name == "cupy":
        from tinyfcn.parallel.nccl import gpu_group

        parallel.use(gpu_group(parallel.group()))


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can put right into one message on stderr and an exit status.

    The status is 2 for an error, 130 after Ctrl-C, and 1 if training diverged. What is printed may
    get lost, see :mod:`tinyfcn.training.screen`. Other exceptions are defects of the program and
    keep their traceback.
    """
    with forgiving_screens():
        try:
            yield
        except KeyboardInterrupt:
            leave()
            _exit(130, "", RankFailed("stopped", 130))
        except Stopped as error:  # as all ranks are
            print(f"{error}{ADVICE[Stopped]}", file=sys.stderr)
            sys.exit(0 if parallel.group().rank else 128 + error.signal)
        except Diverged as error:
            _exit(1, "training stopped: ", error)
        except MemoryError as error:
            _exit(2, "error: not enough memory: ", MemoryError(str(error)))
        except (
            UsageError, DataError, CheckpointError, BackendError, BatchTooSmall, LaunchError,
            OSError,
        ) as error:  # fmt: skip
            _exit(2, "error: ", error)
        except RankFailed as error:
            _exit(error.status, "error: ", error)


def _exit(status: int, head: str, error: Exception) -> NoReturn:
    """Say what went wrong, and end; so do all other ranks."""
    text = typed(sentence(error))
    message = f"{head}{text}{ADVICE.get(type(error), '')}"
    print(message, file=sys.stderr)
    if isinstance(error, OSError):
        error = OSError(text)  # of a text alone, which others can be told
    parallel.group().end(error, message, status)
