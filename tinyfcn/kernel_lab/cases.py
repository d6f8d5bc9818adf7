"""A small piece of work for every kernel, which calls the primitive that launches it.

The same function runs on the backend with the kernels and on NumPy in float64, so that one is the
yardstick of the other. Its parameters after the first two are the size of the input, their defaults
the size that is taken unless another is asked for.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda import convolution, gemm
from tinyfcn.backend.cuda.gemm import TILE
from tinyfcn.backend.cuda.kernels import PRODUCTS, declared
from tinyfcn.functional.pooling import pool_window
from tinyfcn.functional.resampling import Bilinear
from tinyfcn.functional.sizes import pool_size
from tinyfcn.functional.unpooling import PoolWindow

ALIGNMENT = 256  # bytes: where arrays begin on a GPU
CLASSES = 5
ONE = (1, 1)
PASSES = "conv2d", "conv2d_input_grad", "conv2d_weight_grad"  # of a convolution
# Of max pooling; `foreign`: indices are not those of the maxima.
WINDOW = dict(kh=2, kw=2, sh=2, sw=2, ph=0, pw=0, dh=1, dw=1, ceil=0, foreign=0)
LRN = 3, 0.5, 0.75, 1.0  # size, alpha, beta, k

Case = Callable[..., Any]  # (backend, inputs, *size) → an array or several


@functools.cache
def sizes(case: Case, window: bool = False) -> dict[str, int]:
    """What the numbers of a size are, and which are taken: {"N": 2, "C": 8, …}; with ``window``
    those of ``WINDOW`` too, where there is one."""
    _, _, *parameters = inspect.signature(case).parameters.values()
    usual = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    more = WINDOW if window and len(usual) < len(parameters) else {}
    return {name.upper(): number for name, number in {**usual, **more}.items()}


def larger(case: Case) -> tuple[int, ...]:
    """One more along every axis: no multiple of a block."""
    return tuple(n + (axis not in ("KERNEL", "STRIDE")) for axis, n in sizes(case).items())


# Sizes that keep a GPU busy, by the axes that they begin with; the rest is as usual.
FOR_A_GPU = {
    ("M",): (2048, 2048, 2048), ("N", "C", "H", "W"): (16, 64, 128, 128), ("COUNT",): (1 << 24,),
    ("N", "C", "H", "W", "OC"): (8, 64, 64, 64, 64),
}  # fmt: skip


def for_a_gpu(case: Case) -> tuple[int, ...]:
    """A size at which its speed shows on a GPU."""
    axes = tuple(sizes(case))
    fits = [size for begin, size in FOR_A_GPU.items() if axes[: len(begin)] == begin]
    return (fits[-1] + tuple(sizes(case).values())[len(fits[-1]) :])[: len(axes)]


def multiply_adds(name: str, size: tuple[int, ...]) -> int:
    """Of a product or a convolution, as the ``conv`` and ``product`` below make it; of others 0."""
    if not name.startswith(("gemm_", "conv", "depthwise_")):
        return 0
    given = dict(zip(sizes(CASES[name]), size, strict=True))
    if "M" in given:
        return math.prod(size)
    kernel, stride, oc = given["KERNEL"], given["STRIDE"], given.get("OC", 1)
    h, w = ((given[a] + kernel // 2 * 2 - kernel) // stride + 1 for a in "HW")
    passes = 2 if name == "conv2d_grads" else 1
    return passes * given["N"] * given["C"] * oc * kernel**2 * h * w


class Inputs:
    """The same random arrays for every backend: float32 numbers, or of ``drawn``, in whatever
    dtype is asked for; with ``whole`` small whole ones, of which products and sums are exact."""

    def __init__(
        self, backend: Any, dtype: Any, whole: bool = False, drawn: Any = np.float32
    ) -> None:
        self._backend = backend
        self._dtype = dtype
        self._whole = whole
        self._drawn = drawn
        self._random = np.random.default_rng(0)

    def normal(self, *shape: int) -> Any:
        """Normal ones."""
        drawn = self._random.standard_normal(shape, np.float32)
        drawn = (np.rint(2 * drawn) if self._whole else drawn).astype(self._drawn)
        return self._array(drawn.astype(self._dtype))

    def labels(self, classes: int, *shape: int) -> Any:
        """Classes, and −1 for pixels that do not count."""
        return self._array(self._random.integers(-1, min(CLASSES, classes), shape, np.int32))

    def corners(self, pixels: int, *shape: int) -> Any:
        """Indices, all of the first or all of the last pixel of a plane, in turns."""
        return self._array(np.indices(shape, np.int32)[1] % 2 * np.int32(pixels - 1))

    def _array(self, values: Any) -> Any:
        return self._backend.as_array(aligned(values))


def aligned(values: Any) -> Any:
    """A copy that begins where an array on a GPU may begin, so that sectors are counted right."""
    room = np.empty(values.nbytes + ALIGNMENT, np.uint8)
    copy = room[-room.ctypes.data % ALIGNMENT :][: values.nbytes].view(values.dtype)
    copy = copy.reshape(values.shape)
    copy[...] = values
    return copy


# ---- matrix products and convolutions ----


def product(b: Any, inputs: Inputs, m: int = 64, n: int = 128, k: int = 64) -> Any:
    """(M, K) × (K, N)."""
    left, right = inputs.normal(m, k), inputs.normal(k, n)
    return getattr(b, "gemm", np.matmul)(left, right)  # no op needs it of a backend


def wide_product(b: Any, inputs: Inputs, m: int = 128, n: int = 128, k: int = 64) -> Any:
    """The same, as wide as a tile of the later versions."""
    return product(b, inputs, m, n, k)


def conv(algorithm: str, which: str, kernel: int = 3, channels: int = 16) -> Case:
    """One of the three primitives of convolution, with padding that keeps the size."""
    usual = kernel

    def work(
        b: Any, inputs: Inputs, n: int = 1, c: int = channels, h: int = 16, w: int = 32,
        oc: int = 64, kernel: int = usual, stride: int = 1,
    ) -> Any:  # fmt: skip
        pad = kernel // 2
        oh, ow = ((size + 2 * pad - kernel) // stride + 1 for size in (h, w))
        x, gy = inputs.normal(n, c, h, w), inputs.normal(n, oc, oh, ow)
        weight = inputs.normal(oc, c, kernel, kernel)
        arguments: dict[str, Any] = {
            "conv2d": (x, weight, inputs.normal(oc)),
            "conv2d_input_grad": (gy, weight, inputs.normal(c), (h, w)),
            "conv2d_weight_grad": (x, gy, (kernel, kernel)),
            "conv2d_grads": (gy, inputs.normal(*gy.shape), x, weight, (True, True, True)),
        }
        window = (stride, stride), (pad, pad), ONE, 1
        found = getattr(b, which)(*arguments[which], *window)
        return one_by_one(b, *arguments[which][:4], *window) if found is None else found

    return convolution.algorithm.using(algorithm)(work)


def one_by_one(b: Any, gy: Any, y: Any, x: Any, weight: Any, *window: Any) -> Any:
    """What ``conv2d_grads`` gives together, of a convolution with bias and ReLU."""
    gy = b.relu_grad(gy, y)
    gx = b.conv2d_input_grad(gy, weight, None, x.shape[2:], *window)
    return gx, b.conv2d_weight_grad(x, gy, weight.shape[2:], *window), b.sum_pixels(gy)


def depthwise(
    b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 32, kernel: int = 3,
    stride: int = 1,
) -> Any:  # fmt: skip
    """The weight gradient with a group for each channel."""
    pad = kernel // 2
    size = ((axis + 2 * pad - kernel) // stride + 1 for axis in (h, w))
    x, gy = inputs.normal(n, c, h, w), inputs.normal(n, c, *size)
    window = (stride, stride), (pad, pad), ONE, c
    return b.conv2d_weight_grad(x, gy, (kernel, kernel), *window)


# ---- images ----

# How the array that a word means is drawn, from the sizes of an image.
ARRAYS: dict[str, Callable[..., Any]] = {
    "image": lambda draw, n, c, h, w: draw.normal(n, c, h, w),
    "pixels": lambda draw, n, c, h, w: draw.normal(n, h, w),
    "labels": lambda draw, n, c, h, w: draw.labels(c, n, h, w),
    "channels": lambda draw, n, c, h, w: draw.normal(c),
}


def of(primitive: str, arrays: str = "image", *options: Any) -> Case:
    """The primitive of some arrays, words of ``ARRAYS``, and the options."""

    def work(b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 24) -> Any:
        drawn = (ARRAYS[array](inputs, n, c, h, w) for array in arrays.split())
        return getattr(b, primitive)(*drawn, *options)

    return work


def sums(b: Any, inputs: Inputs, n: int = 3, c: int = 3, h: int = 64, w: int = 96) -> Any:
    """The sum of every channel, in parts also where these are few."""
    x = inputs.normal(n, c, h, w)
    if not hasattr(b, "channel_parts"):
        return b.sum_pixels(x)
    return b.channel_totals(b.channel_parts("sum_pixels", 1, x, None, None), None, x.dtype)


def pooled(
    b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 24, **given: int
) -> Any:
    """Max pooling with indices."""
    window, ceil, foreign = _window(h, w, given)
    x = inputs.normal(n, c, h, w)
    axes = zip((h, w), *window, strict=True)
    y, where = b.max_pool2d(x, tuple(pool_size(*axis, ceil) for axis in axes), *window, True)
    return y, inputs.corners(h * w, *y.shape) if foreign else where


def scattered(
    b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 24, **given: int
) -> Any:
    """The gradient of max pooling, which is max unpooling too."""
    y, where = pooled(b, inputs, n, c, h, w, **given)
    return b.scatter_plane(y, where, (h, w), *_window(h, w, given)[0])


def gathered(
    b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 24, **given: int
) -> Any:
    """What the indices of max pooling point at, of another image."""
    _, where = pooled(b, inputs, n, c, h, w, **given)
    return b.gather_plane(inputs.normal(n, c, h, w), where)


def _window(h: int, w: int, given: dict[str, int]) -> tuple[PoolWindow, bool, bool]:
    """Kernel, stride, padding and dilation; ceil_mode; whether indices are foreign."""
    *window, ceil, foreign = {**WINDOW, **given}.values()
    kernel, stride, padding, dilation = zip(window[::2], window[1::2], strict=True)
    checked = pool_window("max_pool2d", (1, 1, h, w), kernel, stride, padding, dilation, bool(ceil))
    return checked, bool(ceil), bool(foreign)


def resized(b: Any, inputs: Inputs, n: int = 2, c: int = 8, h: int = 16, w: int = 24) -> Any:
    """Bilinear upsampling by 2."""
    rows, columns = (Bilinear(size, 2 * size).matrix() for size in (h, w))
    return b.resample2d(inputs.normal(n, c, h, w), rows, columns)


# ---- the rest ----


def sgd(b: Any, inputs: Inputs, count: int = 3000) -> Any:
    """A step of SGD with Nesterov momentum."""
    param, grad, velocity = (inputs.normal(count) for _ in range(3))
    b.sgd_update([param], [grad], [velocity], 0.9, 1.0, 0.1, 0.01, True)
    return param, velocity


def adam(b: Any, inputs: Inputs, count: int = 3000) -> Any:
    """A step of Adam."""
    param, grad, first, second = (inputs.normal(count) for _ in range(4))
    second *= second
    b.adam_update([param], [grad], [first], [second], 0.1, 0.9, 0.999, 0.5, 1e-8, 0.01, 0.99)
    return param, first, second


def finite(b: Any, inputs: Inputs, count: int = 3000) -> Any:
    """Whether numbers are finite; not all are."""
    x, y = inputs.normal(count), inputs.normal(count)
    y[-1:] = np.inf
    return b.as_array([b.all_finite([x]), b.all_finite([x, y])]).astype(np.int32)


def of_images() -> dict[str, Case]:
    """The kernels that have the name of a primitive which takes images alone, such as relu."""
    found = {}
    for name in declared():
        primitive = getattr(Backend, name, None)
        taken = [*inspect.signature(primitive).parameters][1:] if primitive else ["none"]
        if set(taken) <= {"x", "y", "gy"}:
            found[name] = of(name, " ".join("image" for _ in taken))
    return found


def rounding(name: str) -> float:
    """The relative error with which a kernel takes operands of its products; 0 if it takes all."""
    on_tensor_cores = declared()[name].types == PRODUCTS
    return gemm.ROUNDING[gemm.tensor_product()] if on_tensor_cores else 0.0


NORM_TRAIN = of("batch_norm_train", "image channels channels", (None, None), 0.1, 1e-5)
# Whoever asks for the sums gets them from a kernel of their own.
NORM_GRAD = of("batch_norm_grad", "image image channels channels channels", 1e-3)
NORM_GRAD_SUMS = of(
    "batch_norm_grad", "image image channels channels channels", 1e-3, None, lambda *sums: sums
)
LRN_GRAD = of("local_response_norm_grad", "image image", *LRN)
CASES: dict[str, Case] = {
    **of_images(),
    "batch_norm_parts": of("batch_norm_stats"),
    "batch_norm": of("batch_norm", "image channels channels channels channels"),
    "batch_norm_whole": NORM_TRAIN,
    "batch_norm_grad_parts": NORM_GRAD_SUMS,
    "batch_norm_grad": NORM_GRAD_SUMS,
    "batch_norm_grad_whole": NORM_GRAD,
    **{name: conv("implicit", name) for name in PASSES},
    **{name.replace("conv2d", "conv2d_direct"): conv("direct", name) for name in PASSES},
    "depthwise_weight_grad": depthwise,
    "conv2d_grads": conv("implicit", "conv2d_grads"),
    "sum_parts": conv("implicit", "conv2d_weight_grad"),
    **{name.replace("conv2d", "conv2d_tensor"): conv("tensor", name) for name in PASSES},
    "finish_parts": conv("tensor", "conv2d", channels=64),
    "conv1x1": conv("auto", "conv2d", kernel=1),
    "im2col": conv("im2col", "conv2d"),
    "col2im": conv("im2col", "conv2d_input_grad"),
    "sum_pixels": sums,
    "channel_totals": sums,
    "sum_pixels_whole": of("sum_pixels"),
    "dropout": of("dropout", "image", 0.4, 7),
    **{
        f"gemm_{version}": gemm.algorithm.using(version)(product if tile <= TILE else wide_product)
        for version, (tile, _) in gemm.VERSIONS.items()
    },
    "local_response_norm": of("local_response_norm", "image", *LRN),
    "local_response_norm_terms": LRN_GRAD,
    "local_response_norm_grad": LRN_GRAD,
    "cross_entropy": of("cross_entropy", "image labels"),
    "cross_entropy_grad": of("cross_entropy_grad", "pixels image labels"),
    "sgd_update": sgd,
    "adam_update": adam,
    "not_finite": finite,
    "max_pool2d": pooled,
    "any_foreign": scattered,
    "scatter_plane": scattered,
    "gather_plane": gathered,
    "resample2d": resized,
}
