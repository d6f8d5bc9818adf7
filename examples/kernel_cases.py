"""A small piece of work for every kernel, which calls the primitive that launches it.

The same function runs on the backend with the kernels and on the NumPy backend in float64, so that
one is the yardstick of the other. kernel_lab.py prints, checks and profiles what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cuda import convolution, gemm
from tinyfcn.backend.cuda.setting import Setting
from tinyfcn.functional.resampling import Bilinear

ALIGNMENT = 256  # bytes: where arrays begin on a GPU
CLASSES = 5
ONE = (1, 1)
POOLING = (2, 2), (2, 2), (0, 0), ONE  # kernel, stride, padding, dilation


class Case(NamedTuple):
    """What to do with one kernel.

    Attributes:
        does: what the kernel computes, in a line.
        letters: what the numbers of a size are: "N C H W".
        size: the size unless another is asked for.
        work: (backend, inputs, *size) → an array or several.
    """

    does: str
    letters: str
    size: tuple[int, ...]
    work: Callable[..., Any]


class Inputs:
    """The same random arrays for every backend: float32 numbers, in whatever dtype is asked for."""

    def __init__(self, backend: Any, dtype: Any, seed: int = 0) -> None:
        self._backend = backend
        self._dtype = dtype
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int) -> Any:
        """Normal ones."""
        return self._array(self._random.standard_normal(shape, np.float32).astype(self._dtype))

    def positive(self, *shape: int) -> Any:
        """Between 1 and 2."""
        return self._array((1 + self._random.random(shape, np.float32)).astype(self._dtype))

    def labels(self, *shape: int, least: int = -1) -> Any:
        """Classes, and −1 for pixels that do not count."""
        return self._array(self._random.integers(least, CLASSES, shape, np.int32))

    def _array(self, values: Any) -> Any:
        return self._backend.as_array(aligned(values))


def aligned(values: Any) -> Any:
    """A copy that begins where an array on a GPU may begin, so that sectors are counted right."""
    room = np.empty(values.nbytes + ALIGNMENT, np.uint8)
    copy = room[-room.ctypes.data % ALIGNMENT :][: values.nbytes].view(values.dtype)
    copy = copy.reshape(values.shape)
    copy[...] = values
    return copy


def by(setting: Setting, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The work by one of several algorithms."""

    def chosen(*arguments: Any) -> Any:
        with setting.using(name):
            return work(*arguments)

    return chosen


# ---- matrix products and convolutions ----


def product(b: Any, inputs: Inputs, m: int, n: int, k: int) -> Any:
    left, right = inputs.normal(m, k), inputs.normal(k, n)
    return left @ right if b.name == "numpy" else b.gemm(left, right)


def convolved(
    b: Any, inputs: Inputs, n: int, c: int, h: int, w: int, oc: int, k: int, s: int
) -> Any:
    x, weight, bias = inputs.normal(n, c, h, w), inputs.normal(oc, c, k, k), inputs.normal(oc)
    return b.conv2d(x, weight, bias, (s, s), (k // 2, k // 2), ONE, 1)


def input_gradient(
    b: Any, inputs: Inputs, n: int, c: int, h: int, w: int, oc: int, k: int, s: int
) -> Any:
    gy = inputs.normal(n, oc, *((i + k // 2 * 2 - k) // s + 1 for i in (h, w)))
    weight, bias = inputs.normal(oc, c, k, k), inputs.normal(c)
    return b.conv2d_input_grad(gy, weight, bias, (h, w), (s, s), (k // 2, k // 2), ONE, 1)


def weight_gradient(
    b: Any, inputs: Inputs, n: int, c: int, h: int, w: int, oc: int, k: int, s: int
) -> Any:
    x = inputs.normal(n, c, h, w)
    gy = inputs.normal(n, oc, *((i + k // 2 * 2 - k) // s + 1 for i in (h, w)))
    return b.conv2d_weight_grad(x, gy, (k, k), (s, s), (k // 2, k // 2), ONE, 1)


# ---- the rest, with more than a line of work ----


def scattered(b: Any, inputs: Inputs, *shape: int) -> Any:
    y, where = pooled(b, inputs, *shape)
    return b.scatter_plane(y, where, shape[2:], *POOLING)


def gathered(b: Any, inputs: Inputs, *shape: int) -> Any:
    _, where = pooled(b, inputs, *shape)
    return b.gather_plane(inputs.normal(*shape), where)


def pooled(b: Any, inputs: Inputs, n: int, c: int, h: int, w: int) -> Any:
    return b.max_pool2d(inputs.normal(n, c, h, w), (h // 2, w // 2), *POOLING, True)


def normalized(b: Any, inputs: Inputs, *shape: int) -> Any:
    vectors = inputs.normal(shape[1]), inputs.positive(shape[1])
    affine = inputs.normal(shape[1]), inputs.normal(shape[1])
    return b.batch_norm(inputs.normal(*shape), *vectors, *affine)


def normalized_gradient(b: Any, inputs: Inputs, *shape: int) -> Any:
    vectors = inputs.normal(shape[1]), inputs.positive(shape[1]), inputs.normal(shape[1])
    share = shape[1] / np.prod(shape)
    return b.batch_norm_grad(inputs.normal(*shape), inputs.normal(*shape), *vectors, float(share))


def resized(b: Any, inputs: Inputs, n: int, c: int, h: int, w: int) -> Any:
    rows, columns = (Bilinear(size, 2 * size).matrix() for size in (h, w))
    return b.resample2d(inputs.normal(n, c, h, w), rows, columns)


def sgd(b: Any, inputs: Inputs, count: int) -> Any:
    param, grad, velocity = (inputs.normal(count) for _ in range(3))
    b.sgd_update(param, grad, velocity, 0.9, 1.0, 0.1, 0.01, True)
    return param, velocity


def adam(b: Any, inputs: Inputs, count: int) -> Any:
    param, grad, first, second = (*(inputs.normal(count) for _ in range(3)), inputs.positive(count))
    b.adam_update(param, grad, first, second, 0.1, 0.9, 0.999, 0.5, 1e-8, 0.01, 0.99)
    return param, first, second


def entropy_gradient(b: Any, inputs: Inputs, n: int, c: int, h: int, w: int) -> Any:
    x, labels = inputs.normal(n, c, h, w), inputs.labels(n, h, w)
    return b.cross_entropy_grad(inputs.normal(n, h, w), x, labels)


# ---- what works on an image and is said in a line ----


def image(does: str, work: Callable[..., Any]) -> Case:
    return Case(does, "N C H W", (2, 8, 16, 24), work)


def of_arrays(does: str, name: str, arrays: int, *options: Any) -> Case:
    """The primitive ``name`` of so many images."""

    def work(b: Any, inputs: Inputs, *shape: int) -> Any:
        return getattr(b, name)(*(inputs.normal(*shape) for _ in range(arrays)), *options)

    return image(does, work)


def of_cells(does: str, name: str) -> Case:
    """The primitive ``name`` of an image that is whole cells of 2 x 2 pixels."""

    def work(b: Any, inputs: Inputs, n: int, c: int, h: int, w: int) -> Any:
        return getattr(b, name)(inputs.normal(n, c, 2 * h, 2 * w), (2, 2))

    return image(does, work)


def of_labels(does: str, name: str) -> Case:
    """The primitive ``name`` of an image with a channel for each class, and its labels."""

    def work(b: Any, inputs: Inputs, n: int, c: int, h: int, w: int) -> Any:
        return getattr(b, name)(inputs.normal(n, c, h, w), inputs.labels(n, h, w))

    return image(does, work)


def conv(does: str, algorithm: str, work: Callable[..., Any], kernel: int = 3) -> Case:
    size = 1, 16, 16, 32, 64, kernel, 1
    return Case(does, "N C H W OC KERNEL STRIDE", size, by(convolution.algorithm, algorithm, work))


def matmul(does: str, version: str) -> Case:
    return Case(does, "M N K", (64, 128, 64), by(gemm.algorithm, version, product))


LRN = 3, 0.5, 0.75, 1.0
statistics = of_arrays("", "batch_norm_stats", 1).work
sums = of_arrays("", "sum_pixels", 1).work
lrn_gradient = of_arrays("", "local_response_norm_grad", 2, *LRN).work

CASES = {
    "relu": of_arrays("max(x, 0)", "relu", 1),
    "relu_grad": of_arrays("gy where y > 0", "relu_grad", 2),
    "leaky_relu": of_arrays("x where x > 0, else slope · x", "leaky_relu", 1, 0.1),
    "leaky_relu_grad": of_arrays("gy where x > 0, else slope · gy", "leaky_relu_grad", 2, 0.1),
    "elu": of_arrays("x where x > 0, else alpha · (eˣ - 1)", "elu", 1, 1.5),
    "sigmoid": of_arrays("1 / (1 + e⁻ˣ)", "sigmoid", 1),
    "batch_norm_parts": image("mean and squared deviations of each part", statistics),
    "batch_norm_stats": image("mean and variance of each channel, from its parts", statistics),
    "batch_norm": image("(x - mean) · invstd · weight + bias", normalized),
    "batch_norm_grad_parts": image("Σ gy and Σ gy · (x - mean) of parts", normalized_gradient),
    "batch_norm_grad": image("the gradient of batch normalization", normalized_gradient),
    "conv2d": conv("convolution as an implicit matrix product", "implicit", convolved),
    "conv2d_input_grad": conv("its gradient in x", "implicit", input_gradient),
    "conv2d_weight_grad": conv("its gradient in the weights", "implicit", weight_gradient),
    "conv2d_direct": conv("convolution by the definition", "direct", convolved),
    "conv2d_direct_input_grad": conv("its gradient in x", "direct", input_gradient),
    "conv2d_direct_weight_grad": conv("its gradient in the weights", "direct", weight_gradient),
    "conv1x1": conv("1x1 convolution, a plain product", "auto", convolved, kernel=1),
    "im2col": conv("every window of an image written out", "im2col", convolved),
    "col2im": conv("the adjoint of im2col", "im2col", input_gradient),
    "sum_parts": conv("adds up the parts of that", "implicit", weight_gradient),
    "sum_pixels": Case("sums over the pixels of a part", "N C H W", (2, 3, 64, 96), sums),
    "channel_totals": Case("adds up the parts of a channel", "N C H W", (2, 3, 64, 96), sums),
    "dropout": of_arrays("0 or x / (1 - p), by a counter", "dropout", 1, 0.4, 7),
    "gemm_1": matmul("matrix product, a thread an element", "1"),
    "gemm_2": matmul("matrix product, tiles in shared memory", "2"),
    "gemm_3": matmul("matrix product, 4 x 4 sums of a thread in registers", "3"),
    "gemm_4": matmul("matrix product, 128-bit loads and double buffering", "4"),
    "local_response_norm": of_arrays(
        "x / (k + alpha / size · Σ x²)^beta", "local_response_norm", 1, *LRN
    ),
    "local_response_norm_terms": image("what its gradient sums over channels", lrn_gradient),
    "local_response_norm_grad": image("its gradient", lrn_gradient),
    "cross_entropy": of_labels("log Σ exp(x) - x[label] of each pixel", "cross_entropy"),
    "cross_entropy_grad": image("gy · (softmax(x) - one-hot(label))", entropy_gradient),
    "take_class": of_labels("x[label] of each pixel", "take_class"),
    "put_class": image(
        "a value at the label, 0 elsewhere",
        lambda b, inputs, n, c, h, w: b.put_class(
            inputs.normal(n, h, w), inputs.labels(n, h, w), c
        ),
    ),
    "sgd_update": Case("a step of SGD, in place", "COUNT", (3000,), sgd),
    "adam_update": Case("a step of Adam, in place", "COUNT", (3000,), adam),
    "max_pool2d": image("the largest of each window, and where it stands", pooled),
    "any_foreign": image("whether indices lie outside their windows", scattered),
    "scatter_plane": image("zeros, with values added at indices", scattered),
    "gather_plane": image("the values at indices", gathered),
    "resample2d": image("rows · x · columnsᵀ with banded matrices", resized),
    "softmax": of_arrays("exp(x) / Σ exp(x)", "softmax", 1, 1),
    "log_softmax": of_arrays("x - log Σ exp(x)", "log_softmax", 1, 1),
    "unpool_nearest": of_arrays("a pixel in its whole cell", "unpool_nearest", 1, (2, 2)),
    "unpool_nearest_adjoint": of_cells("the sum of each cell", "unpool_nearest_adjoint"),
    "unpool_bed_of_nails": of_arrays(
        "a pixel in the corner of its cell", "unpool_bed_of_nails", 1, (2, 2)
    ),
    "unpool_bed_of_nails_adjoint": of_cells(
        "the corner of each cell", "unpool_bed_of_nails_adjoint"
    ),
}
