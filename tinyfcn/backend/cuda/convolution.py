"""Convolution: three primitives, several algorithms, and the rule that picks one.

    direct      ``kernels/conv2d_direct.cu``: by the definition; for few channels a group
    implicit    ``kernels/conv2d.cu``: a matrix product that looks its columns up in the image
    im2col      ``kernels/im2col.cu``: the columns written out, then ``gemm.py``
    1×1         ``kernels/conv1x1.cu``: a plain product
    tensor      ``kernels/conv2d_tensor.cu``: implicit, on tensor cores

The rule: groups of a few channels are convolved directly, with the weight gradient of
``kernels/conv2d_depthwise.cu``; of what is left, float16 arrays go to tensor cores, and float32
ones if ``products`` of half.py say so; a 1×1 kernel on a map of at least one tile is a plain
product, and everything else is convolved implicitly. ``TINYFCN_CUDA_CONV`` or
``algorithm.using`` names another one.
"""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.base import Array, Pair, conv_sizes
from tinyfcn.backend.cuda.channel_sums import ChannelSums
from tinyfcn.backend.cuda.gemm import TENSOR, THREADS, TILE, Gemm, products, tiles
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.half import HALF, alike, narrow, wide
from tinyfcn.backend.setting import Setting

DEPTH = constant("tile.cuh", "DEPTH")  # shares of the pixels are multiples of it
TAPS, FEW_THREADS = (constant("conv2d_depthwise.cu", name) for name in ("TAPS", "THREADS"))
SHORTEST = 256  # pixels of a share of the weight gradient
LARGEST = 2**31 - TENSOR  # what an int counts, with room for the last tile
FEW_CHANNELS = 8  # below this, on both sides of a group, tiles of 64 are mostly empty
ENOUGH_BLOCKS = 512  # keep a GPU busy: long sums are cut into so many shares
LARGEST_AXIS = 2**16 - 1  # of a grid, but for the first

algorithm = Setting("TINYFCN_CUDA_CONV", ("auto", "direct", "implicit", "im2col", "tensor"))
NATIVE = "direct", "tensor"  # those that take float16

# The parameters CONV_SIZES of the kernels, see conv_sizes.cuh.
ConvSizes = namedtuple("ConvSizes", "n c h w oc oh ow kh kw sh sw ph pw dh dw groups")


def checked_sizes(op: str, x: Any, y: Any, window: Any) -> ConvSizes:
    """Of a convolution that makes (N, OC, OH, OW) = y of (N, C, H, W) = x, where window has
    kernel, stride, padding, dilation and groups in a row.

    Raises:
        ValueError: if there is more of something than the kernels can count.
    """
    g = ConvSizes(*x, *y[1:], *window)
    for what, count in {
        "an image of the input": g.c * g.h * g.w,
        "an image of the output": g.oc * g.oh * g.ow,
        "the weight": g.oc * g.c // g.groups * g.kh * g.kw,
        "one channel of all inputs": g.n * g.h * g.w,
        "one channel of all outputs": g.n * g.oh * g.ow,
    }.items():
        if count > LARGEST:
            raise ValueError(
                f"{op}: {what} may have {LARGEST} elements on this backend, got {count}: {g}"
            )
    return g


def flat(g: ConvSizes) -> ConvSizes:
    """The same, with an image for a row where a window is a pixel."""
    same = (g.h, g.w) == (g.oh, g.ow)
    if same and (g.kh, g.kw, g.sh, g.sw, g.ph, g.pw) == (1, 1, 1, 1, 0, 0):
        return g._replace(h=1, w=g.h * g.w, oh=1, ow=g.h * g.w)
    return g


def _input_tiles(g: ConvSizes) -> tuple[int, int, int]:
    phase = g.n * -(-g.h // g.sh) * -(-g.w // g.sw)  # pixels of the largest
    return tiles(phase) * g.sh * g.sw, tiles(g.c // g.groups), g.groups


def _weight_tiles(g: ConvSizes) -> tuple[int, int, int]:
    return tiles(g.c // g.groups * g.kh * g.kw), tiles(g.oc // g.groups), g.groups


def _shares(grid: tuple[int, int, int], pixels: int) -> tuple[int, int]:
    """How many shares of the pixels there are for a grid of weights, and how many each has."""
    shares = max(min(ENOUGH_BLOCKS // max(math.prod(grid), 1), pixels // SHORTEST), 1)
    share = DEPTH * -(-pixels // (DEPTH * shares))
    return max(-(-pixels // max(share, 1)), 1), share  # those that have pixels


class Convolution(ChannelSums, Gemm):
    """Each primitive by the algorithm that the rule picks."""

    native = frozenset({"conv2d", "conv2d_input_grad", "conv2d_weight_grad"})

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        x, weight, bias = self._prepared(x, weight, bias)
        kernel = weight.shape[2:]
        size = conv_sizes(x.shape[2:], kernel, stride, padding, dilation)
        y = self.empty((len(x), len(weight), *size), x.dtype)
        window = *kernel, *stride, *padding, *dilation, groups
        g = checked_sizes("conv2d", x.shape, y.shape, window)
        arrays = x, weight, bias, y
        match self._choose(g, x.dtype):
            case "1x1":
                self._product(weight, (g.c, 1), x, bias, y, relu)
            case "tensor":
                over = tiles(g.n * g.oh * g.ow, TENSOR), tiles(g.oc // groups, TENSOR)
                self._tensor("conv2d_tensor", over, g.kh * g.kw, *arrays, g, relu)
            case "direct":
                self.launch.each("conv2d_direct", y.size, *alike(x, weight), bias, y, *g, relu)
            case "im2col":
                for image, columns, matrix, output in self._by_image_and_group(x, weight, y, g):
                    self.launch.each("im2col", columns.size, image, columns, *g)
                    self.gemm(matrix, columns, output)
                y += 0 if bias is None else bias[:, None, None]
                return self.relu(y) if relu else y
            case _:
                grid = tiles(g.n * g.oh * g.ow), tiles(g.oc // groups), groups
                self.launch("conv2d", grid, THREADS, *arrays, *g, relu)
        return y

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        gy, weight, bias = self._prepared(gy, weight, bias)
        gx = self.empty((len(gy), weight.shape[1] * groups, *size), gy.dtype)
        window = *weight.shape[2:], *stride, *padding, *dilation, groups
        g = checked_sizes("conv2d_input_grad", gx.shape, gy.shape, window)
        arrays = gy, weight, bias, gx
        match self._choose(g, gy.dtype):
            case "1x1":
                self._product(weight, (1, g.c), gy, bias, gx, relu=False)
            case "tensor":
                phase = g.n * tiles(g.h, g.sh) * tiles(g.w, g.sw)
                axes = (g.kh, g.sh, g.dh), (g.kw, g.sw, g.dw)
                taps = (tiles(k, s // math.gcd(s, d)) for k, s, d in axes)  # at most, of a phase
                over = tiles(phase, TENSOR) * g.sh * g.sw, tiles(g.c // groups, TENSOR)
                self._tensor("conv2d_tensor_input_grad", over, math.prod(taps), *arrays, g)
            case "direct":
                few = *alike(gy, weight), bias, gx
                self.launch.each("conv2d_direct_input_grad", gx.size, *few, *g)
            case "im2col":
                for image, columns, matrix, output in self._by_image_and_group(gx, weight, gy, g):
                    self.gemm(matrix.T, output, columns)
                    self.launch.each("col2im", image.size, columns, image, *g)
                gx += 0 if bias is None else bias[:, None, None]
            case _:
                self.launch("conv2d_input_grad", _input_tiles(g), THREADS, *arrays, *g)
        return gx

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        x, gy = alike(x, gy)
        x, gy, _ = self._prepared(x, gy, None)
        window = *kernel, *stride, *padding, *dilation, groups
        g = checked_sizes("conv2d_weight_grad", x.shape, gy.shape, window)
        shape = g.oc, g.c // groups, *kernel
        chosen = self._choose(g, x.dtype)
        if algorithm() == "direct":
            return self.compute("conv2d_direct_weight_grad", shape, x, gy, *g)
        if algorithm() == "im2col":
            gw = self.zeros(shape, x.dtype)
            for image, columns, matrix, output in self._by_image_and_group(x, gw, gy, g):
                self.launch.each("im2col", columns.size, image, columns, *g)
                matrix += self.gemm(output, columns.T)
            return gw
        # Few weights under many pixels make few blocks with long sums: cut the sums into shares.
        pixels = g.n * g.oh * g.ow
        if chosen == "tensor":
            name, x, gy = self.on_tensor_cores("conv2d_tensor_weight_grad", x, gy)
            threads, g = TENSOR, flat(g)
            grid = tiles(math.prod(shape[1:]), TENSOR), tiles(g.oc // groups, TENSOR), groups
            shares, share = self.shares(math.prod(grid), pixels)
        else:
            if chosen == "direct":
                name, threads = "depthwise_weight_grad", FEW_THREADS
                grid = math.prod(shape[:2]), tiles(math.prod(kernel), TAPS), 1
            else:
                name, threads, grid = "conv2d_weight_grad", THREADS, _weight_tiles(g)
            shares, share = _shares(grid, pixels)
        parts = self.empty((shares, *shape), wide(x.dtype))
        self.launch(name, (*grid[:2], grid[2] * shares), threads, x, gy, parts, *g, share)
        return self.compute("sum_parts", shape, parts, shares) if shares > 1 else parts[0]

    def conv2d_grads(
        self, gy: Array, y: Array | None, x: Array, weight: Array, wanted: Sequence[bool],
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> tuple[Array | None, ...] | None:  # fmt: skip
        rest = stride, padding, dilation, groups
        window = *weight.shape[2:], *stride, *padding, *dilation, groups
        g = checked_sizes("conv2d_grads", x.shape, gy.shape, window)
        chosen, (want_x, want_weight, want_bias) = self._choose(g, x.dtype), wanted
        if chosen in ("implicit", "1x1") and want_weight and gy.size and weight.size:
            return self._together(chosen, gy, y, x, weight, want_x, want_bias, g)
        gx = gw = gbias = None
        if y is not None:
            gy, gbias = self.relu_bias_grad(gy, y)
        elif want_bias:
            gbias = self.sum_pixels(gy)
        if want_x:
            gx = self.conv2d_input_grad(gy, weight, None, x.shape[2:], *rest)
        if want_weight:
            gw = self.conv2d_weight_grad(x, gy, weight.shape[2:], *rest)
        return gx, gw, gbias if want_bias else None

    def _together(
        self, chosen: str, gy: Array, y: Array | None, x: Array, weight: Array, want_x: bool,
        want_bias: bool, g: ConvSizes,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        """conv2d_grads in one launch; but a 1×1 kernel has its own for the input gradient."""
        gx = self.empty(x.shape, x.dtype) if want_x else None
        apart = want_x and chosen == "1x1"
        kept = self.empty(gy.shape, gy.dtype) if apart and y is not None else None
        inputs = math.prod(_input_tiles(g)) if want_x and not apart else 0
        grid = _weight_tiles(g)
        shares, share = _shares(grid, g.n * g.oh * g.ow)
        size = weight.size + (g.oc if want_bias else 0)
        parts = self.empty((shares, size), x.dtype)
        blocks, arrays = inputs + math.prod(grid) * shares, (gy, y, x, weight, gx, kept, parts)
        self.launch("conv2d_grads", blocks, THREADS, *arrays, *g, inputs, share, want_bias)
        if apart:
            self._product(weight, (1, g.c), gy if kept is None else kept, None, gx, relu=False)
        sums = self.compute("sum_parts", (size,), parts, shares) if shares > 1 else parts[0]
        gw, gbias = sums[: weight.size].reshape(weight.shape), sums[weight.size :]
        return gx, gw, gbias if want_bias else None

    def _prepared(self, x: Array, y: Array, bias: Array | None) -> tuple[Array, Array, Any]:
        """All of the dtype of the result; but weights stay beside float16, a bias is ``wide``."""
        if HALF in (x.dtype, y.dtype):
            x, dtype = narrow(x), HALF
        else:
            dtype = self.xp.result_type(x, y)
            x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
        return x, y, None if bias is None else bias.astype(wide(dtype), copy=False)

    def _choose(self, g: ConvSizes, dtype: Any) -> str:
        wanted = algorithm()
        rounded = dtype == HALF or (dtype == np.float32 and products() != "float32")
        if wanted == "tensor" and dtype == np.float64:
            return "implicit"
        if wanted != "auto" and (dtype != HALF or wanted in NATIVE):
            return wanted
        few = g.groups * FEW_CHANNELS > max(g.c, g.oc)
        if rounded:
            return "direct" if few else "tensor"
        pointwise = (g.kh, g.kw, g.sh, g.sw, g.ph, g.pw, g.groups) == (1, 1, 1, 1, 0, 0, 1)
        if pointwise and (g.h, g.w) == (g.oh, g.ow) and g.h * g.w >= TILE and g.n <= LARGEST_AXIS:
            return "1x1"
        return "direct" if few else "implicit"

    def _tensor(
        self, kernel: str, over: Pair, taps: int, a: Array, weight: Array, bias: Array | None,
        y: Array, g: ConvSizes, relu: bool = False,
    ) -> None:  # fmt: skip
        """Launch a kernel over so many tiles, with the sums in shares if these are few."""
        name, a = self.on_tensor_cores(kernel, a)
        weight = self._by_tap(weight, g, kernel.endswith("input_grad"), a.dtype)
        shares, share = self.shares(math.prod(over) * g.groups, taps * weight.shape[-1])
        whole, parts = self.results(y, shares)
        once = (bias, relu) if shares == 1 else (None, False)
        arrays, grid = (a, weight, once[0], whole, parts), (*over, g.groups * shares)
        self.launch(name, grid, TENSOR, *arrays, *flat(g), once[1], share)
        if shares > 1:
            self.finish(parts, bias, y, relu)

    def _by_tap(self, weight: Array, g: ConvSizes, turned: bool, dtype: Any) -> Array:
        """(G, OC/G, KH, KW, C/G) or, turned, (G, C/G, KH, KW, OC/G), as tensor cores sum: with
        zeros behind the channels up to whole vectors."""
        ways = (0, 2, 3, 4, 1) if turned else (0, 1, 3, 4, 2)
        given = weight.reshape(g.groups, -1, *weight.shape[1:]).transpose(ways)
        channels, vector = given.shape[-1], 16 // dtype.itemsize
        room = vector * tiles(channels, vector)
        if room == channels and dtype == given.dtype and given.flags.c_contiguous:
            return given
        by_tap = self.empty((*given.shape[:-1], room), dtype)
        if room > channels:
            by_tap[..., channels:] = 0
        with np.errstate(over="ignore"):
            by_tap[..., :channels] = given
        return by_tap

    def _product(
        self, weight: Array, strides: Pair, x: Array, bias: Array | None, y: Array, relu: bool
    ) -> None:
        """y = A x + bias for every image, where A is the weights with these strides."""
        n, k, h, w = x.shape
        m = y.shape[1]
        grid = tiles(h * w), tiles(m), n
        self.launch("conv1x1", grid, THREADS, weight, *strides, x, bias, y, m, h * w, k, relu)

    def _by_image_and_group(
        self, x: Array, weight: Array, y: Array, g: ConvSizes
    ) -> Iterator[tuple[Array, Array, Array, Array]]:
        """For im2col: x (C/G, H, W), room for its columns (K, OH·OW), weights (OC/G, K) and y
        (OC/G, OH·OW) of each group of each image, with K = C/G·KH·KW."""
        rows, inner, pixels = g.oc // g.groups, math.prod(weight.shape[1:]), g.oh * g.ow
        columns = self.empty((inner, pixels), y.dtype)
        images = x.reshape(g.n, g.groups, g.c // g.groups, g.h, g.w)
        matrices = weight.reshape(g.groups, rows, inner)
        outputs = y.reshape(g.n, g.groups, rows, pixels)
        for image, group in itertools.product(range(g.n), range(g.groups)):
            yield images[image, group], columns, matrices[group], outputs[image, group]
