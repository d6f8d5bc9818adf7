"""What a training step costs the host: launches, copies and time, on a device that does nothing.

The CUDA backend runs on an engine whose launches return at once, so what is left is the work of
the host, which a GPU waits for where its own is short. Its arrays lie on the host and hold nothing:
what the array module is asked for elementwise is counted, and not computed.

python tests/drills/host_time.py                fcn8s and fcn_resnet50, two sizes each
python tests/drills/host_time.py --profile 25   and where the time goes

launches    of kernels/*.cu
others      of the array module: on a GPU, CuPy's own kernels
copies      arrays that had to be copied to lie as kernels read them
"""

from __future__ import annotations

import argparse
import collections
import cProfile
import ctypes
import gc
import mmap
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar
from unittest import mock

import numpy as np

import tinyfcn.functional as F
from tinyfcn import backend, models, optim
from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.kernels import declared
from tinyfcn.backend.half import products
from tinyfcn.nn import init
from tinyfcn.training.precision import Precision

MODELS = {"fcn8s": 5.0, "fcn_resnet50": 15.0}  # and how many ms a step may take
SIZES = 64, 500


class NullArray(np.ndarray[Any, Any]):
    """An array of a device that never computes; what operations give is made, not filled."""

    counts: ClassVar[collections.Counter[str]] = collections.Counter()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **o: Any):
        NullArray.counts[f"{ufunc.__name__} {method}".removesuffix(" __call__")] += 1
        if out:
            return out[0]
        if method == "__call__" and ufunc.signature is None:
            ones = [np.ones((), x.dtype) if hasattr(x, "dtype") else x for x in inputs]
            shape = np.broadcast_shapes(*map(np.shape, inputs))
            return new(shape, ufunc(*ones).dtype)
        plain = [x.view(np.ndarray) if isinstance(x, NullArray) else x for x in inputs]
        few = [np.broadcast_to(x.dtype.type(1), x.shape) for x in plain[:1]]
        with np.errstate(all="ignore"):
            made = getattr(ufunc, method)(*few, *plain[1:], **o)
        return new(np.shape(made), made.dtype)

    def astype(self, dtype: Any, order: Any = "K", *_: Any, copy: bool = True) -> Any:  # type: ignore
        if self.dtype == dtype and not copy:
            return self
        NullArray.counts["astype"] += 1
        return new(self.shape, dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        NullArray.counts["setitem"] += 1


ROOM = mmap.mmap(-1, 1 << 30)  # of all arrays together, since nobody looks into them
Room = ctypes.c_char * len(ROOM)


def new(shape: Any, dtype: Any) -> Any:
    """An array, not filled; its memory is its own, as far as Python can tell."""
    return NullArray(shape, dtype, Room.from_buffer(ROOM))


class NullNumpy:
    """NumPy's functions, for such arrays."""

    ndarray = NullArray

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type | np.ufunc) or not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            NullArray.counts[name] += name != "result_type"
            return _null(found(*args, **options))

        return call

    def zeros(self, shape: Any, dtype: Any = float) -> Any:
        NullArray.counts["zeros"] += 1
        return new(shape, dtype)

    empty = ones = zeros

    def zeros_like(self, x: Any) -> Any:
        NullArray.counts["zeros_like"] += 1
        return new(x.shape, x.dtype)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        NullArray.counts["where"] += 1
        shape = np.broadcast_shapes(*map(np.shape, (condition, a, b)))
        return new(shape, np.result_type(a, b))

    def broadcast_to(self, x: Any, shape: Any) -> Any:
        return np.broadcast_to(x, shape, subok=True)

    def ascontiguousarray(self, x: Any) -> Any:
        return x if x.flags.c_contiguous else self.asarray(x)

    def asarray(self, x: Any, dtype: Any = None, order: str = "K") -> Any:
        if not isinstance(x, NullArray):
            return _null(np.asarray(x, dtype, order=order))
        NullArray.counts["asarray"] += 1
        return new(x.shape, dtype or x.dtype)


def _null(made: Any) -> Any:
    return made.view(NullArray) if isinstance(made, np.ndarray) else made


class NullEngine:
    """An engine (see ``Engine`` in launcher.py) whose launches do nothing.

    Attributes:
        launches: how often each kernel was launched.
    """

    name = "null"
    xp: Any = NullNumpy()
    eager = False
    processors, capability = 132, 90  # of an H200

    def __init__(self) -> None:
        self.kernels = declared()
        self.launches: collections.Counter[str] = collections.Counter()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array, not filled."""
        return new(shape, dtype)

    def upload(self, data: Any) -> Any:
        """Gives the array itself."""
        return lambda: _null(data)

    def synchronize(self) -> None:
        """There is nothing to wait for."""

    def run(self, file: str, function: str, *launch: Any) -> None:
        """Counts."""
        self.launches[function] += 1


def training_step(
    name: str, size: int, used: CudaBackend, precision: str = "float32", **options: Any
) -> Callable[[], None]:
    """A function that makes one step of a network with 21 classes on one image."""
    kind = Precision(precision)
    with mock.patch.object(init, "_draw", lambda tensor, *_: tensor):  # nobody looks at weights
        model = getattr(models, name)(num_classes=21, **options)
    groups = optim.parameter_groups(model, 1e-3, 1e-4)
    optimizer = optim.SGD(groups, momentum=0.9)
    images = used.upload(np.zeros((1, 3, size, size), np.float32))()
    labels = np.zeros((1, size, size), np.uint8)

    def step() -> None:
        with kind.used():
            loss = F.cross_entropy(model(kind.images(images)), labels, ignore_index=255)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def counted(step: Callable[[], None], used: CudaBackend) -> tuple[Any, Any, list[Any]]:
    """The kernels of one step, the operations of the array module, and what was copied."""
    step()
    copies: list[Any] = []
    engine, contiguous = used.engine, used.launch._contiguous

    def watched(value: Any) -> Any:
        made = contiguous(value)
        if made is not value:
            copies.append(value.shape)
        return made

    engine.launches.clear()
    NullArray.counts.clear()
    used.launch._contiguous = watched  # type: ignore[method-assign]
    step()
    del used.launch._contiguous
    return engine.launches.copy(), NullArray.counts.copy(), copies


def milliseconds(step: Callable[[], None], repeats: int) -> tuple[float, float]:
    """The median and the shortest of so many steps."""
    times = []
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), min(times)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=products.names, default="float32")
    parser.add_argument("--repeats", type=int, default=15, metavar="N")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="print N functions")
    parser.add_argument("--kernels", action="store_true", help="print how often each is launched")
    options = parser.parse_args()
    used = CudaBackend(NullEngine())
    with backend.using(used):
        for name in MODELS:
            for size in SIZES:
                step = training_step(name, size, used, options.precision)
                launches, others, copies = counted(step, used)
                median, best = milliseconds(step, options.repeats)
                print(
                    f"{name:13} 1 x 3 x {size} x {size}: {sum(launches.values())} launches, "
                    f"{sum(others.values())} others, {len(copies)} copies, "
                    f"{median:.1f} ms (shortest {best:.1f})",
                    flush=True,
                )
                if options.kernels:
                    print(f"  {dict(launches.most_common())}\n  {dict(others.most_common())}")
                    print(f"  {copies}")
                if options.profile:
                    with cProfile.Profile() as profile:
                        step()
                    pstats.Stats(profile).sort_stats("tottime").print_stats(options.profile)


if __name__ == "__main__":
    main()
