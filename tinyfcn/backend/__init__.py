"""The switch between backends: who computes the primitives that ops are made of.

``"numpy"`` computes on the CPU, ``"cupy"`` on a GPU; ``"emulator"`` runs the kernels of the GPU on
the CPU, slowly; ``"reference"`` is the plain base class alone; ``"meta"`` computes nothing but
shapes. The start value comes from the environment variable ``TINYFCN_BACKEND``; :func:`use` changes
it for the process, :func:`using` for a ``with`` block. Only "meta" is the calling thread's alone,
so that others go on computing.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.setting import Setting

# Where each is made; imported when it is used first.
_MAKERS = {
    "numpy": ("cpu", "NumpyBackend"),
    "cupy": ("cuda", "on_cupy"),
    "emulator": ("cuda", "on_emulator"),
    "reference": ("base", "Backend"),
}
_at_start = Setting("TINYFCN_BACKEND", (*_MAKERS,))
_made: dict[str, Backend] = {}
_active: Backend | None = None
_own = threading.local()  # .backend: what this thread uses instead


def names() -> list[str]:
    """The names that :func:`use` takes.

    Example:
        >>> "numpy" in names()
        True
    """
    return [*_MAKERS]


def use(name: str) -> Backend:
    """Make ``name`` the active backend of this process and return it.

    Raises:
        ValueError: if there is no backend of that name.
        DeviceError: for "cupy", if there is no GPU that CuPy can use.
        BuildError: for "emulator", if g++ is missing.

    Example:
        >>> from tinyfcn import backend
        >>> backend.use("numpy").name
        'numpy'
    """
    global _active
    if name == "meta":
        raise ValueError("backend: 'meta' computes no values; only using('meta') takes it, for a "
                         "with block")  # fmt: skip
    if name not in _MAKERS:
        raise ValueError(f"backend: expected one of {', '.join(names())}, got {name!r}")
    if name not in _made:
        module, maker = _MAKERS[name]
        found = importlib.import_module(f"tinyfcn.backend.{module}")
        _made[name] = getattr(found, maker)()
    _own.backend = None
    _active = _made[name]
    return _active


@contextlib.contextmanager
def using(which: str | Backend) -> Iterator[Backend]:
    """Use a backend inside the ``with`` block and the former one after it: the one of that name, or
    an instance, which only this thread uses then."""
    global _active
    former, own = active(), getattr(_own, "backend", None)
    if which == "meta":
        from tinyfcn.backend.meta import MetaBackend

        which = MetaBackend()
    try:
        if isinstance(which, Backend):
            _own.backend = which
            yield which
        else:
            former = _active or former  # of the process, whatever this thread uses
            yield use(which)
    finally:
        if isinstance(which, str):
            _active = former
        _own.backend = own


def active() -> Backend:
    """The backend that ops use now."""
    own: Backend | None = getattr(_own, "backend", None)
    return own or _active or use(_at_start())


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """The NumPy array of any backend's array."""
    return array if type(array) is np.ndarray else active().to_numpy(array)
