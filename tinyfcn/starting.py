"""Ctrl-C ends the command ``tinyfcn`` with one line also while it is imported.

This is imported first, and does nothing where tinyfcn is imported as a library.
"""

import contextlib
import os
import signal
import sys

SCRIPT = os.path.basename(sys.argv[0]).partition(".")[0] if sys.argv else ""
# While Python imports the package of -m, that is the name of its script.
COMMAND = SCRIPT == "tinyfcn" or (SCRIPT == "-m" and "-m tinyfcn" in " ".join(sys.orig_argv))


def stop(number: int, frame: object) -> None:
    """What Ctrl-C does until :func:`started`; there is nothing to tidy up yet."""
    with contextlib.suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(128 + number)


def started() -> None:
    """From now on Ctrl-C raises, as usual."""
    if signal.getsignal(signal.SIGINT) is stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if COMMAND and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)
