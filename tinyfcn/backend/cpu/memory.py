"""Keeping freed memory, so that the next array need not wait for the system.

The system hands out memory page by page, each cleared when it is first touched: some 50 µs a
megabyte, as much as the work of a ReLU on it. A network makes arrays of the same sizes at every
step, but GNU malloc gives those of over 32 MB back as soon as they are freed, and smaller ones when
enough of them are, only to ask for them again. ``keep()`` tells it not to: training steps of
FCN-8s take 10 to 25 % less time. The price is that a process does not shrink again before it ends
or calls ``release()``; its peak grows by up to a sixth, since freed memory falls into pieces.

Other C libraries have no such setting; there, and with ``TINYFCN_KEEP_MEMORY=0``, nothing changes.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from tinyfcn.backend.setting import Setting

keeping = Setting("TINYFCN_KEEP_MEMORY", ("1", "0"))

# Numbers of the settings, and of "never", in <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, NEVER = -1, -3, -1
LARGEST = 1 << 30  # bytes; larger arrays still go back at once

# With one of these the user has settled the matter already.
SETTLED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep() -> bool:
    """Let the C library keep freed memory for this process; whether it will."""
    if keeping() == "0" or any(name in os.environ for name in SETTLED):
        return False
    kept = _call("mallopt", M_MMAP_THRESHOLD, LARGEST) and _call("mallopt", M_TRIM_THRESHOLD, NEVER)
    return bool(kept)


def release() -> None:
    """Give freed memory back to the system now."""
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> Any:
    """Call a function of GNU's C library; 0 where that is not the one in use."""
    try:
        library = ctypes.CDLL(None)
        return getattr(library, name)(*numbers) if hasattr(library, "gnu_get_libc_version") else 0
    except (OSError, TypeError):  # no such way to look it up on this system
        return 0
