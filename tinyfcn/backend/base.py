"""The base of all backends: every primitive that ops are made of, in plain array code.

This is the specification, and it runs: ``backend.use("reference")`` computes with it alone. Other
backends inherit it and override what speed pays for; each override is tested against the body here.

Primitives take and give plain arrays of the array module ``xp``. Sizes and options arrive checked,
and pairs are always (height, width). Arrays are logical (N, C, H, W); how they lie in memory is the
backend's own business: above it, 4-D arrays are made by ``empty``, ``zeros`` and ``concat`` alone.

Shape letters: N images, C channels, H W input size, OC output channels, KH KW kernel, OH OW output
size, G groups. "Adjoint" is the transposed linear map: ⟨A x, g⟩ = ⟨x, Aᵀ g⟩.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.sparse import Sparse
from tinyfcn.backend.splitmix import random_numbers
from tinyfcn.backend.steps import Steps

Array = Any
Pair = tuple[int, int]


class Backend(Steps):
    """Every primitive, in the array module's own functions: no threads, no blocks, no tricks."""

    name = "reference"
    xp: Any = np  # the array module with NumPy's functions: numpy or cupy

    # Whether looking at a value is free. On a GPU it waits until all work before it is done, so ops
    # look at no array of the device: where they would reject what it holds, they give NaN instead.
    eager = True

    # ---- moving and making arrays ----

    def as_array(self, data: Any) -> Array:
        """An array of this backend; Python floats become float32."""
        array = self.xp.asarray(data)
        return array if hasattr(data, "dtype") or array.dtype != "f8" else array.astype(np.float32)

    def to_numpy(self, array: Array) -> Any:
        """A NumPy array with the same values."""
        return np.asarray(array)

    def upload(self, data: Any) -> Callable[[], Array]:
        """Begin to copy a NumPy array to the device, in any thread; what is given gives it."""
        return Backend.later(self, lambda: self.as_array(data))  # at once

    def synchronize(self) -> None:
        """Wait until all work that was given to the device is done; for timings."""

    def later(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Call ``function()``, now or beside what comes next; what is given gives its result."""
        result = function()
        return lambda: result

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """A new array, uninitialised; 4-D ones lie in memory as the primitives like them."""
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: Sequence[int], dtype: Any) -> Array:
        """The same, of zeros."""
        return self.xp.zeros(shape, dtype)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        """Arrays joined along ``axis`` ≥ 0, laid out as :meth:`empty` does."""
        return self.xp.concatenate(arrays, axis)

    # ---- convolution: three primitives, closed under differentiation, see functional/conv.py ----
    # Each is a sum over the kernel's elements (i, j): a matrix product of the weights there with
    # the pixels that this element meets.

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        """(N, C, H, W) and (OC, C/G, KH, KW) and (OC,) → (N, OC, OH, OW), or max(that, 0)."""
        n, (oc, c, *kernel) = len(x), weight.shape
        size = conv_sizes(x.shape[2:], kernel, stride, padding, dilation)
        padded = self._padded(x, padding, padding)
        y: Any = 0
        for at, matrices in _kernel_elements(weight, size, stride, dilation, groups):
            y = y + matrices @ padded[at].reshape(n, groups, c, math.prod(size))
        y = y.reshape(n, oc, *size)  # from (N, G, OC/G, OH·OW)
        y = y if bias is None else y + bias[:, None, None]
        return self.relu(y) if relu else y

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        """Adjoint of conv2d in x: (N, OC, OH, OW) → (N, C, H, W) with (H, W) = size; bias (C,)."""
        n, oc, *out = gy.shape
        padded = (s + 2 * p for s, p in zip(size, padding, strict=True))
        gx = self.zeros((n, weight.shape[1] * groups, *padded), gy.dtype)
        pixels = gy.reshape(n, groups, oc // groups, math.prod(out))
        for at, matrices in _kernel_elements(weight, out, stride, dilation, groups):
            gx[at] += (matrices.swapaxes(1, 2) @ pixels).reshape(gx[at].shape)
        gx = gx[:, :, padding[0] :, padding[1] :][:, :, : size[0], : size[1]]
        return gx if bias is None else gx + bias[:, None, None]

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        """Adjoint of conv2d in weight: (N, C, H, W), (N, OC, OH, OW) → (OC, C/G, KH, KW)."""
        n, oc, *out = gy.shape
        gw = self.zeros((oc, x.shape[1] // groups, *kernel), gy.dtype)
        padded = self._padded(x, padding, padding)
        pixels = gy.reshape(n, groups, oc // groups, math.prod(out))
        for at, matrices in _kernel_elements(gw, out, stride, dilation, groups):
            met = padded[at].reshape(n, groups, gw.shape[1], math.prod(out))
            matrices[...] = (pixels @ met.swapaxes(2, 3)).sum(0)
        return gw

    def conv2d_grads(self, *arguments: Any) -> Any:
        """The gradients of x, weight and bias from gy, y (None without ReLU), x, weight, which are
        wanted, and the window; None where it is no faster to compute them together."""

    def sum(self, x: Array, axes: tuple[int, ...]) -> Array:
        """The sum over ``axes``, each kept as size 1, of a floating x; no worse than pairwise."""
        return x.sum(axes, keepdims=True, dtype="f8").astype(np.result_type(x.dtype, "f4"))

    def sum_pixels(self, x: Array) -> Array:
        """(N, C, H, W) → (C,): the sum over images and pixels."""
        return self.sum(x, (0, 2, 3)).reshape(-1)

    def _padded(self, x: Array, before: Pair, after: Pair, value: float = 0.0) -> Array:
        """x with rows and columns of ``value`` around it."""
        borders = [(0, 0), (0, 0), *zip(before, after, strict=True)]
        return self.xp.pad(x, borders, constant_values=value) if any(before + after) else x

    def matmul(self, a: Array, b: Array) -> Array:
        """The matrix product of the last two axes; leading axes broadcast."""
        return a @ b

    # ---- pooling: the indices are h · W + w in a plane; scatter and gather are adjoints ----

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        """Maximum of each window, (N, C, H, W) → (N, C, OH, OW) with (OH, OW) = size, and, with
        ``indices``, where the first maximum stands: int32, or int64 if H · W ≥ 2³¹.

        Padding is −∞ and never has the index. If a window has a NaN, the last one counts. Windows
        may stick out at the bottom and on the right; each has at least one pixel of x.
        """
        xp, (height, width) = self.xp, x.shape[2:]
        axes = zip((height, width), size, kernel, stride, padding, dilation, strict=True)
        beyond = tuple(
            max(0, (out - 1) * s + d * (k - 1) + 1 - p - n) for n, out, k, s, p, d in axes
        )
        kind = np.int32 if height * width < 2**31 else np.int64
        where = xp.arange(height * width, dtype=kind).reshape(1, 1, height, width)
        values = self._padded(x, padding, beyond, -np.inf)
        where = self._padded(where, padding, beyond, -1)
        y: Any = -np.inf
        index: Any = -1
        for at in _strided(kernel, size, stride, dilation):
            v, i = values[at], where[at]
            better = (i >= 0) & ((v > y) | (v != v) | (index < 0))
            y, index = xp.where(better, v, y), xp.where(better, i, index)
        return y, index if indices else None

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, own: bool = False,
    ) -> Array:  # fmt: skip
        """Zeros (N, C, H, W), (H, W) = size, with each x (N, C, OH, OW) added at its index.
        Indices lie in the plane. Mostly each lies in its window of the pooling that is described,
        which helps to be fast, but the result must be right for any, unless they are its ``own``.
        """
        n, c, *out = x.shape
        y = self.xp.zeros((n * c, size[0] * size[1]))  # float64: many may meet at one place
        flat = n * c, math.prod(out)
        planes = self.xp.arange(n * c)[:, None]
        self.xp.add.at(y, (planes, indices.reshape(flat)), x.reshape(flat))
        return y.astype(x.dtype).reshape(n, c, *size)

    def gather_plane(self, x: Array, indices: Array) -> Array:
        """(N, C, H, W) at indices (N, C, OH, OW), which lie in the plane → (N, C, OH, OW).
        Where values cannot be looked at (``eager``), an index may lie elsewhere, and gives NaN.
        """
        planes, flat = (a.reshape(*a.shape[:2], math.prod(a.shape[2:])) for a in (x, indices))
        return self.xp.take_along_axis(planes, flat, 2).reshape(indices.shape)

    # ---- resampling ----

    def resample2d(self, x: Array, rows: Sparse, columns: Sparse) -> Array:
        """rows · x · columnsᵀ on every plane: (N, C, H, W) → (N, C, OH, OW)."""
        down, across = (self.xp.asarray(m.dense(x.dtype)) for m in (rows, columns))
        return down @ x @ across.T

    # ---- activations ----

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        return self.xp.maximum(x, 0)

    def relu_grad(self, gy: Array, y: Array) -> Array:
        """gy where the output y > 0, else 0."""
        return self.xp.where(y > 0, gy, gy.dtype.type(0))

    def softmax(self, x: Array, dim: int) -> Array:
        """exp(x) / Σ exp(x) along ``dim`` ≥ 0, without overflow."""
        powers = self.xp.exp(x - x.max(dim, keepdims=True))
        return powers / self.sum(powers, (dim,))

    def log_softmax(self, x: Array, dim: int) -> Array:
        """x − log Σ exp(x) along ``dim`` ≥ 0, without overflow."""
        x = x - x.max(dim, keepdims=True)
        return x - self.xp.log(self.sum(self.xp.exp(x), (dim,)))

    # ---- losses: x (N, C, …); labels int32 (N, …) in [0, C), or −1 for a pixel without loss ----
    # Of float16 losses are float32, and computed so: in float16 no sum of them would be left.

    def cross_entropy(self, x: Array, labels: Array) -> Array:
        """log Σ exp(x) − x[label] for each pixel, without overflow: (N, …)."""
        return -self.take_class(self.log_softmax(self._counted(x, labels), 1), labels)

    def cross_entropy_grad(self, gy: Array, x: Array, labels: Array) -> Array:
        """gy · (softmax(x) − one-hot(label)): gy (N, …) → (N, C, …)."""
        gx = self._counted(gy[:, None] * self.softmax(self._counted(x, labels), 1), labels)
        return (gx - self.put_class(gy, labels, x.shape[1])).astype(x.dtype, copy=False)

    def _counted(self, x: Array, labels: Array) -> Array:
        """x, but 0 where a pixel does not count, whatever it holds there; float32 of float16."""
        x = x.astype(np.result_type(x.dtype, np.float32), copy=False)
        return self.xp.where(labels[:, None] < 0, x.dtype.type(0), x)

    def take_class(self, x: Array, labels: Array) -> Array:
        """x[n, label, …] for each pixel, 0 where the label is −1: (N, C, …) → (N, …)."""
        picked = self.xp.take_along_axis(x, self.xp.maximum(labels, 0)[:, None], 1)[:, 0]
        return self.xp.where(labels < 0, x.dtype.type(0), picked)

    def put_class(self, values: Array, labels: Array, classes: int) -> Array:
        """Adjoint of take_class: (N, …) → (N, C, …) with C = classes."""
        of_class = self.xp.arange(classes).reshape(-1, *[1] * (labels.ndim - 1))
        zero = values.dtype.type(0)
        return self.xp.where(labels[:, None] == of_class, values[:, None], zero)

    # ---- normalization: x (N, C, …), vectors (C,), invstd = 1 / √(var + eps) ----

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel; exact also where the mean is large."""
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axes, dtype=np.float64)
        var = ((x - _along_channels(mean, x)) ** 2).mean(axes, dtype=np.float64)
        return mean.astype(x.dtype), var.astype(x.dtype)

    def batch_norm(
        self, x: Array, mean: Array, invstd: Array, weight: Array, bias: Array, relu: bool = False
    ) -> Array:
        """(x − mean) · invstd · weight + bias, or max(that, 0)."""
        mean, scale, bias = (_along_channels(v, x) for v in (mean, invstd * weight, bias))
        y = (x - mean) * scale + bias
        return self.relu(y) if relu else y

    def batch_norm_train(
        self, x: Array, weight: Array, bias: Array, running: Sequence[Array | None],
        momentum: float, eps: float, relu: bool = False, moments: Any = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """batch_norm by mean and variance of x, or ``moments`` = (count, mean, var); gives mean and
        invstd too. In ``running``, r ← (1 − momentum) · r + momentum · new, with unbiased var."""
        count, mean, var = moments or (x.size // x.shape[1], *self.batch_norm_stats(x))
        for values, new in zip(running, (mean, var * (count / (count - 1))), strict=True):
            if values is not None:
                values *= 1 - momentum
                values += momentum * new
        invstd = (1 / self.xp.sqrt(var + eps)).astype(mean.dtype)
        return self.batch_norm(x, mean, invstd, weight, bias, relu), mean, invstd

    def batch_norm_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array, share: float,
        y: Array | None = None, total: Callable[[Array, Array], Sequence[Array]] | None = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """weight · invstd · (gy − share · (Σ gy + x̂ · Σ gy · x̂)), and for each channel Σ gy and
        Σ gy · x̂, with x̂ = (x − mean) · invstd.
        With the output y of a batch_norm with ``relu``, gy is taken as 0 where y ≤ 0. Where the
        batch has further parts, ``total`` gives the sums over all for those over this one.
        """
        gy = gy if y is None else self.relu_grad(gy, y)
        axes, scale = (0, *range(2, x.ndim)), _along_channels(weight * invstd, x)
        xhat = (x - _along_channels(mean, x)) * _along_channels(invstd, x)
        sums = [self.sum(v, axes).reshape(-1) for v in (gy, gy * xhat)]
        gbias, gweight = (_along_channels(v, x) for v in (total(*sums) if total else sums))
        return scale * (gy - share * (gbias + xhat * gweight)), *sums

    def local_response_norm(
        self, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        """x / s^beta with s = k + alpha / size · Σ x², over the channels c − size // 2 …
        c + (size − 1) // 2 around channel c that exist."""
        return x * (k + alpha / size * self._channel_windows(x * x, size, size // 2)) ** -beta

    def local_response_norm_grad(
        self, gy: Array, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        """gy / s^beta − 2 alpha beta / size · x · Σ gy x / s^(beta + 1), the sum over the
        channels in whose window this one lies."""
        s = k + alpha / size * self._channel_windows(x * x, size, size // 2)
        gx = gy * s**-beta
        spread = self._channel_windows(gx * x / s, size, (size - 1) // 2)
        return gx - 2 * alpha * beta / size * x * spread

    def _channel_windows(self, x: Array, size: int, before: int) -> Array:
        """For each channel c the sum over ``size`` channels from c − before that exist."""
        borders = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
        padded = self.xp.pad(x, borders)
        return sum(padded[:, i : i + x.shape[1]] for i in range(size))

    # ---- dropout: linear and its own adjoint ----

    def dropout(self, x: Array, p: float, seed: int) -> Array:
        """Element i is 0 if random number i is below p · 2³², else x / (1 − p); 0 < p < 1.

        i numbers the elements in (N, H, W, C) order for 4-D x, else in C order. Random numbers
        2w and 2w + 1 are the lower and upper 32 bits of SplitMix64 word w of ``seed`` (64 bits).
        """
        numbers = random_numbers(self.xp, seed, 0, (x.size + 1) // 2)[: x.size]
        keep = numbers >= np.uint32(min(round(p * 2**32), 2**32 - 1))
        if x.ndim == 4:
            keep = self.xp.moveaxis(keep.reshape(len(x), *x.shape[2:], x.shape[1]), 3, 1)
        return self.xp.where(keep.reshape(x.shape), x, x.dtype.type(0)) * x.dtype.type(1 / (1 - p))


def conv_size(n: int, k: int, s: int, p: int, d: int) -> int:
    """Output size of a convolution along one axis; below 1 where the kernel does not fit."""
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def conv_sizes(size: Any, kernel: Any, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(OH, OW) of a convolution of (H, W) = size."""
    height, width = map(conv_size, size, kernel, stride, padding, dilation)
    return height, width


def _strided(kernel: Any, size: Any, stride: Pair, dilation: Pair) -> Iterator[Any]:
    """For each kernel element the index of the pixels of the padded image that it meets."""
    for element in np.ndindex(*kernel):
        axes = zip(element, size, stride, dilation, strict=True)
        yield (..., *(slice(k * d, k * d + (n - 1) * s + 1, s) for k, n, s, d in axes))


def _kernel_elements(
    weight: Array, size: Any, stride: Pair, dilation: Pair, groups: int
) -> Iterator[tuple[Any, Array]]:
    """For each kernel element: where its pixels lie, and its weights as (G, OC/G, C/G) matrices."""
    oc, c, *kernel = weight.shape
    grouped = weight.reshape(groups, oc // groups, c, *kernel)
    places = _strided(kernel, size, stride, dilation)
    for element, at in zip(np.ndindex(*kernel), places, strict=True):
        yield at, grouped[(..., *element)]


def _along_channels(vector: Array, x: Array) -> Array:
    """(C,) as (1, C, 1, …), to go with x (N, C, …)."""
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))
