"""The switch between backends: who computes the primitives that ops are made of.

``"numpy"`` computes on the CPU, ``"cupy"`` on a GPU; ``"emulator"`` runs the kernels of the GPU on
the CPU, slowly; ``"reference"`` is the plain base class alone; ``"meta"`` computes nothing but
shapes. The start value comes from the environment variable ``TINYFCN_BACKEND``; :func:`use` changes
it for the process, :func:`using` for a ``with`` block. Only "meta" is the calling thread's alone,
so that others go on computing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend

_active: Backend | None = None
_own = threading.local()  # .backend: what this thread uses instead


def _numpy() -> Backend:
    from tinyfcn.backend.cpu import NumpyBackend

    return NumpyBackend()


def _emulator() -> Any:
    from tinyfcn.backend.cuda import CudaBackend
    from tinyfcn.backend.cuda.emulator import build, from_environment

    build.compiler_version()  # says now, and not at the first kernel, that there is none
    return CudaBackend(from_environment())


def _cupy() -> Any:
    from tinyfcn.backend.cuda import CudaBackend
    from tinyfcn.backend.cuda.cupy_engine import CupyEngine

    return CudaBackend(CupyEngine())


def _meta() -> Any:
    from tinyfcn.backend.meta import MetaBackend

    return MetaBackend()


_backends: dict[str, Callable[[], Any]] = {
    "numpy": _numpy,
    "cupy": _cupy,
    "emulator": _emulator,
    "reference": Backend,
    "meta": _meta,
}
_made: dict[str, Backend] = {}
NO_VALUES = ("meta",)


def names() -> list[str]:
    """The names that :func:`use` takes.

    Example:
        >>> "numpy" in names()
        True
    """
    return [name for name in _backends if name not in NO_VALUES]


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
    if name in NO_VALUES:
        raise ValueError(
            f"backend: {name!r} computes no values; only using({name!r}) takes it, for a with block"
        )
    return _switch(name)


def _switch(name: str) -> Backend:
    global _active
    made = _get(name)
    _own.backend = made if name in NO_VALUES else None
    if name not in NO_VALUES:
        _active = made
    return made


def _get(name: str) -> Backend:
    if name not in _backends:
        raise ValueError(f"backend: expected one of {', '.join(names())}, got {name!r}")
    if name not in _made:
        _made[name] = _backends[name]()
    return _made[name]


@contextlib.contextmanager
def using(which: str | Backend) -> Iterator[Backend]:
    """Use a backend inside the ``with`` block and the former one after it: the one of that name, or
    an instance, which only this thread uses then."""
    global _active
    active()
    former, own = _active, getattr(_own, "backend", None)
    try:
        if isinstance(which, Backend):
            _own.backend = which
            yield which
        else:
            yield _switch(which)
    finally:
        if isinstance(which, str) and which not in NO_VALUES:
            _active = former
        _own.backend = own


def active() -> Backend:
    """The backend that ops use now."""
    own: Backend | None = getattr(_own, "backend", None)
    if own is not None:
        return own
    if _active is None:
        return use(os.environ.get("TINYFCN_BACKEND", "numpy"))
    return _active


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """The NumPy array of any backend's array."""
    return array if type(array) is np.ndarray else active().to_numpy(array)
