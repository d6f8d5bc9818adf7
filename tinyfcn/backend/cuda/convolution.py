"""Convolution: three primitives, several algorithms, and the rule that picks one.

    direct      ``kernels/conv2d_direct.cu``: by the definition; for few channels a group
    implicit    ``kernels/conv2d.cu``: a matrix product that looks its columns up in the image
    im2col      ``kernels/im2col.cu``: the columns written out, then ``gemm.py``
    1×1         ``kernels/conv1x1.cu``: a plain product

The rule: a 1×1 kernel on a map of at least one tile is a plain product, groups of a few channels
are convolved directly, everything else implicitly. ``TINYFCN_CUDA_CONV`` or ``algorithm.using``
names another one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tinyfcn.backend.base import Array, Pair, conv_sizes
from tinyfcn.backend.cuda.gemm import THREADS, TILE, Gemm, tiles
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.setting import Setting

DEPTH = constant("tile.cuh", "DEPTH")  # shares of the pixels are multiples of it
SHORTEST = 256  # pixels of a share of the weight gradient
LARGEST = 2**31 - TILE  # what an int counts, with room for the last tile
FEW_CHANNELS = 8  # below this, on both sides of a group, tiles of 64 are mostly empty
ENOUGH_BLOCKS = 512  # keep a GPU busy: long sums are cut into so many shares
LARGEST_AXIS = 2**16 - 1  # of a grid, but for the first

algorithm = Setting("TINYFCN_CUDA_CONV", ("auto", "direct", "implicit", "im2col"))


class ConvSizes(NamedTuple):
    """What a convolution is that makes (N, OC, OH, OW) = y of (N, C, H, W) = x."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The parameters CONV_SIZES of the kernels, in their order."""
        return *self.x, *self.y[1:], *self.windows, self.groups

    @property
    def windows(self) -> tuple[int, ...]:
        """Kernel, stride, padding, dilation."""
        return *self.kernel, *self.stride, *self.padding, *self.dilation

    @property
    def pointwise(self) -> bool:
        """Whether it is a plain product of the channels of each pixel, and worth one an image."""
        n, _, h, w = self.x
        plain = self.windows[:6] == (1, 1, 1, 1, 0, 0) and self.groups == 1
        return plain and h * w >= TILE and n <= LARGEST_AXIS

    def checked(self, op: str) -> ConvSizes:
        """The same.

        Raises:
            ValueError: if there is more of something than the kernels can count.
        """
        (n, c, h, w), (_, oc, oh, ow), (kh, kw) = self.x, self.y, self.kernel
        for what, count in {
            "an image of the input": c * h * w,
            "an image of the output": oc * oh * ow,
            "the weight": oc * c // self.groups * kh * kw,
            "one channel of all inputs": n * h * w,
            "one channel of all outputs": n * oh * ow,
        }.items():
            if count > LARGEST:
                raise ValueError(
                    f"{op}: {what} may have {LARGEST} elements on this backend, got {count}: input "
                    f"{self.x}, output {self.y}, kernel {tuple(self.kernel)}, groups {self.groups}"
                )
        return self


class Convolution(Gemm):
    """Each primitive by the algorithm that the rule picks."""

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        x, weight, bias = self._prepared(x, weight, bias)
        n, c, *size = x.shape
        oc, _, *kernel = weight.shape
        oh, ow = conv_sizes(size, kernel, stride, padding, dilation)
        y = self.empty((n, oc, oh, ow), x.dtype)
        g = ConvSizes(x.shape, y.shape, kernel, stride, padding, dilation, groups).checked("conv2d")
        match self._choose(g):
            case "1x1":
                self._product(weight, (c, 1), x, bias, y, relu)
            case "direct":
                self.launch.each("conv2d_direct", y.size, x, weight, bias, y, *g.numbers, int(relu))
            case "im2col":
                self._im2col_forward(x, weight, y, g)
                y += 0 if bias is None else bias[:, None, None]
                return self.relu(y) if relu else y
            case _:
                grid = tiles(n * oh * ow), tiles(oc // groups), groups
                self.launch("conv2d", grid, THREADS, x, weight, bias, y, *g.numbers, int(relu))
        return y

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        gy, weight, bias = self._prepared(gy, weight, bias)
        n, c, kernel = gy.shape[0], weight.shape[1] * groups, weight.shape[2:]
        gx = self.empty((n, c, *size), gy.dtype)
        g = ConvSizes(gx.shape, gy.shape, kernel, stride, padding, dilation, groups)
        g = g.checked("conv2d_input_grad")
        arrays = gy, weight, bias, gx
        match self._choose(g):
            case "1x1":
                self._product(weight, (1, c), gy, bias, gx, relu=False)
            case "direct":
                self.launch.each("conv2d_direct_input_grad", gx.size, *arrays, *g.numbers)
            case "im2col":
                self._im2col_input_grad(gy, weight, gx, g)
                gx += 0 if bias is None else bias[:, None, None]
            case _:
                (h, w), (sh, sw) = size, stride
                phase = n * tiles(h, sh) * tiles(w, sw)  # pixels of the largest
                grid = tiles(phase) * sh * sw, tiles(c // groups), groups
                self.launch("conv2d_input_grad", grid, THREADS, *arrays, *g.numbers)
        return gx

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        x, gy, _ = self._prepared(x, gy, None)
        g = ConvSizes(x.shape, gy.shape, kernel, stride, padding, dilation, groups)
        g = g.checked("conv2d_weight_grad")
        n, oc, oh, ow = gy.shape
        shape = oc, x.shape[1] // groups, *kernel
        if algorithm() == "direct":
            gw = self.empty(shape, x.dtype)
            self.launch.each("conv2d_direct_weight_grad", gw.size, x, gy, gw, *g.numbers)
            return gw
        if algorithm() == "im2col":
            return self._im2col_weight_grad(x, gy, self.zeros(shape, x.dtype), g)
        # Few weights under many pixels make few blocks with long sums: cut the sums into shares.
        pixels = n * oh * ow
        columns, rows = tiles(math.prod(shape[1:])), tiles(oc // groups)
        shares = max(min(ENOUGH_BLOCKS // max(columns * rows * groups, 1), pixels // SHORTEST), 1)
        share = DEPTH * tiles(pixels, DEPTH * shares)
        parts = self.empty((shares, *shape), x.dtype)
        grid = columns, rows, groups * shares
        self.launch("conv2d_weight_grad", grid, THREADS, x, gy, parts, *g.numbers, share)
        return self._sum_parts(parts)

    def _prepared(self, x: Array, y: Array, bias: Array | None) -> tuple[Array, Array, Any]:
        """All of the dtype of the result."""
        dtype = self.xp.result_type(x, y)
        x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
        return x, y, None if bias is None else bias.astype(dtype, copy=False)

    def _choose(self, g: ConvSizes) -> str:
        wanted = algorithm()
        if wanted != "auto":
            return wanted
        if g.pointwise:
            return "1x1"
        return "direct" if g.groups * FEW_CHANNELS > max(g.x[1], g.y[1]) else "implicit"

    def _product(
        self, weight: Array, strides: Pair, x: Array, bias: Array | None, y: Array, relu: bool
    ) -> None:
        """y = A x + bias for every image, where A is the weights with these strides."""
        n, k, h, w = x.shape
        m = y.shape[1]
        grid = tiles(h * w), tiles(m), n
        self.launch("conv1x1", grid, THREADS, weight, *strides, x, bias, y, m, h * w, k, int(relu))

    def _sum_parts(self, parts: Array) -> Array:
        """The sum over the first axis, in order."""
        if len(parts) == 1:
            return parts[0]
        y = self.empty(parts.shape[1:], parts.dtype)
        self.launch.each("sum_parts", y.size, parts, y, y.size, len(parts))
        return y

    # ---- by im2col, image by image: the columns of one take KH · KW times its memory ----

    def _im2col_forward(self, x: Array, weight: Array, y: Array, g: ConvSizes) -> None:
        matrices, images, columns = self._by_groups(weight, y, g)
        for image, outputs in zip(x, images, strict=True):
            self._im2col("im2col", image, columns, g)
            for matrix, column, output in zip(matrices, columns, outputs, strict=True):
                self.gemm(matrix, column, output)

    def _im2col_input_grad(self, gy: Array, weight: Array, gx: Array, g: ConvSizes) -> None:
        matrices, images, columns = self._by_groups(weight, gy, g)
        for image, outputs in zip(gx, images, strict=True):
            for matrix, column, output in zip(matrices, columns, outputs, strict=True):
                self.gemm(matrix.T, output, column)
            self._im2col("col2im", columns, image, g)

    def _im2col_weight_grad(self, x: Array, gy: Array, gw: Array, g: ConvSizes) -> Array:
        matrices, images, columns = self._by_groups(gw, gy, g)
        for image, outputs in zip(x, images, strict=True):
            self._im2col("im2col", image, columns, g)
            for matrix, column, output in zip(matrices, columns, outputs, strict=True):
                matrix += self.gemm(output, column.T)
        return gw

    def _im2col(self, name: str, source: Array, target: Array, g: ConvSizes) -> None:
        """Run im2col or col2im for one image."""
        self.launch.each(name, target.size, source, target, *g.x[1:], *g.y[2:], *g.windows)

    def _by_groups(self, weight: Array, y: Array, g: ConvSizes) -> tuple[Array, Array, Array]:
        """Weights (G, OC/G, K), y (N, G, OC/G, OH·OW), new columns (G, K, OH·OW); K = C/G·KH·KW."""
        n, oc, oh, ow = g.y
        k, rows, pixels = math.prod(weight.shape[1:]), oc // g.groups, oh * ow
        columns = self.empty((g.groups, k, pixels), y.dtype)
        return (
            weight.reshape(g.groups, rows, k), y.reshape(n, g.groups, rows, pixels), columns
        )  # fmt: skip
