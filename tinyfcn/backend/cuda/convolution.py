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

from typing import Any, NamedTuple

from tinyfcn.backend.base import Array, Pair, conv_sizes
from tinyfcn.backend.cuda.gemm import THREADS, TILE, Gemm, tiles
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.cuda.setting import Setting

DEPTH = constant("tile.cuh", "DEPTH")  # shares of the pixels are multiples of it
SHORTEST = 256  # pixels of a share of the weight gradient
LARGEST = 2**31 - TILE  # what an int counts, with room for the last tile
FEW_CHANNELS = 8  # below this, on both sides of a group, tiles of 64 are mostly empty
ENOUGH_BLOCKS = 512  # keep a GPU busy: long sums are cut into so many shares
LARGEST_AXIS = 2**16 - 1  # of a grid, but for the first

algorithm = Setting("TINYFCN_CUDA_CONV", ("auto", "direct", "implicit", "im2col"))


class ConvSizes(NamedTuple):
    """What a convolution is: the parameters CONV_SIZES of the kernels, in their order."""

    n: int
    c: int
    h: int
    w: int
    oc: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int
    dh: int
    dw: int
    groups: int

    @property
    def columns(self) -> tuple[int, ...]:
        """What im2col and col2im take: the sizes of one image of x."""
        return self.c, self.h, self.w, *self[5:15]

    @property
    def pointwise(self) -> bool:
        """Whether it is a plain product of the channels of each pixel, and worth one an image."""
        plain = self[7:16] == (1, 1, 1, 1, 0, 0, self.dh, self.dw, 1)
        return plain and self.h * self.w >= TILE and self.n <= LARGEST_AXIS


def checked_sizes(
    op: str, x: tuple[int, ...], y: tuple[int, ...], kernel: Pair,
    stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> ConvSizes:  # fmt: skip
    """Of the convolution that makes (N, OC, OH, OW) = y of (N, C, H, W) = x.

    Raises:
        ValueError: if there is more of something than the kernels can count.
    """
    g = ConvSizes._make((*x, *y[1:], *kernel, *stride, *padding, *dilation, groups))
    for what, count in {
        "an image of the input": g.c * g.h * g.w,
        "an image of the output": g.oc * g.oh * g.ow,
        "the weight": g.oc * g.c // groups * g.kh * g.kw,
        "one channel of all inputs": g.n * g.h * g.w,
        "one channel of all outputs": g.n * g.oh * g.ow,
    }.items():
        if count > LARGEST:
            raise ValueError(
                f"{op}: {what} may have {LARGEST} elements on this backend, got {count}: "
                f"input {x}, output {y}, kernel {tuple(kernel)}, groups {groups}"
            )
    return g


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
        g = checked_sizes("conv2d", x.shape, y.shape, kernel, stride, padding, dilation, groups)
        match self._choose(g):
            case "1x1":
                self._product(weight, (c, 1), x, bias, y, relu)
            case "direct":
                self.launch.each("conv2d_direct", y.size, x, weight, bias, y, *g, int(relu))
            case "im2col":
                self._im2col_forward(x, weight, bias, y, g, relu)
            case _:
                grid = tiles(n * oh * ow), tiles(oc // groups), groups
                self.launch("conv2d", grid, THREADS, x, weight, bias, y, *g, int(relu))
        return y

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        gy, weight, bias = self._prepared(gy, weight, bias)
        n, oc, oh, ow = gy.shape
        c = weight.shape[1] * groups
        gx = self.empty((n, c, *size), gy.dtype)
        kernel = weight.shape[2:]
        g = checked_sizes(
            "conv2d_input_grad", gx.shape, gy.shape, kernel, stride, padding, dilation, groups
        )
        match self._choose(g):
            case "1x1":
                self._product(weight, (1, c), gy, bias, gx, relu=False)
            case "direct":
                self.launch.each("conv2d_direct_input_grad", gx.size, gy, weight, bias, gx, *g)
            case "im2col":
                self._im2col_input_grad(gy, weight, bias, gx, g)
            case _:
                phase = n * tiles(g.h, g.sh) * tiles(g.w, g.sw)  # pixels of the largest
                grid = tiles(phase) * g.sh * g.sw, tiles(c // groups), groups
                self.launch("conv2d_input_grad", grid, THREADS, gy, weight, bias, gx, *g)
        return gx

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        x, gy, _ = self._prepared(x, gy, None)
        g = checked_sizes(
            "conv2d_weight_grad", x.shape, gy.shape, kernel, stride, padding, dilation, groups
        )
        shape = g.oc, g.c // groups, *kernel
        if algorithm() == "direct":
            gw = self.empty(shape, x.dtype)
            self.launch.each("conv2d_direct_weight_grad", gw.size, x, gy, gw, *g)
            return gw
        if algorithm() == "im2col":
            return self._im2col_weight_grad(x, gy, g)
        # Few weights under many pixels make few blocks with long sums: cut the sums into shares.
        pixels = g.n * g.oh * g.ow
        columns, rows = tiles(shape[1] * g.kh * g.kw), tiles(g.oc // groups)
        shares = max(min(ENOUGH_BLOCKS // max(columns * rows * groups, 1), pixels // SHORTEST), 1)
        share = DEPTH * tiles(pixels, DEPTH * shares)
        parts = self.empty((shares, *shape), x.dtype)
        grid = columns, rows, groups * shares
        self.launch("conv2d_weight_grad", grid, THREADS, x, gy, parts, *g, share)
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
        return "direct" if g.groups * FEW_CHANNELS > max(g.c, g.oc) else "implicit"

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

    def _im2col_forward(
        self, x: Array, weight: Array, bias: Array | None, y: Array, g: ConvSizes, relu: bool
    ) -> None:
        matrices, images, columns = self._by_groups(weight, y, g)
        for i in range(g.n):
            self.launch.each("im2col", columns.size, x[i], columns, *g.columns)
            for j in range(g.groups):
                self.gemm(matrices[j], columns[j], images[i, j])
        if bias is not None:
            y += bias[:, None, None]
        if relu:
            self.xp.maximum(y, 0, out=y)

    def _im2col_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, gx: Array, g: ConvSizes
    ) -> None:
        matrices, images, columns = self._by_groups(weight, gy, g)
        for i in range(g.n):
            for j in range(g.groups):
                self.gemm(matrices[j].T, images[i, j], columns[j])
            self.launch.each("col2im", gx[i].size, columns, gx[i], *g.columns)
        if bias is not None:
            gx += bias[:, None, None]

    def _im2col_weight_grad(self, x: Array, gy: Array, g: ConvSizes) -> Array:
        gw = self.xp.zeros((g.oc, g.c // g.groups, g.kh, g.kw), x.dtype)
        matrices, images, columns = self._by_groups(gw, gy, g)
        for i in range(g.n):
            self.launch.each("im2col", columns.size, x[i], columns, *g.columns)
            for j in range(g.groups):
                matrices[j] += self.gemm(images[i, j], columns[j].T)
        return gw

    def _by_groups(self, weight: Array, y: Array, g: ConvSizes) -> tuple[Array, Array, Array]:
        """Weights (G, OC/G, K), y (N, G, OC/G, OH·OW), new columns (G, K, OH·OW); K = C/G·KH·KW."""
        k, rows, pixels = g.c // g.groups * g.kh * g.kw, g.oc // g.groups, g.oh * g.ow
        columns = self.empty((g.groups, k, pixels), y.dtype)
        return (
            weight.reshape(g.groups, rows, k), y.reshape(g.n, g.groups, rows, pixels), columns
        )  # fmt: skip
