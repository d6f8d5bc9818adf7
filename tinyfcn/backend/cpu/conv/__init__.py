"""Convolution on the CPU: three primitives, several algorithms, and the rule that picks one.

    tiles.py       columns of windows times kernels: any stride, dilation, groups; columns.py: how
    winograd_rows.py  kernels 3 high: fewer multiplications down the columns
    winograd.py    3×3 kernels: fewer still, both ways, in two sizes
    kept.py        kernels transformed once, while the weights stay the same
    taps.py        kernel element by element: small maps with large weights
    phases.py      the input gradient of tiles, under a stride
    depthwise.py   one channel a group: image by image;  groups.py: narrow groups as wider ones
    separable.py   one kernel u vᵀ for all of them, as in bilinear upsampling
    products.py    matrix products in pieces that BLAS multiplies fastest

The rule: a 3×3 kernel without stride between many channels goes to F(2×2, 3×3), between fewer to
F(2, 3) down the columns, as does any kernel that is 3 high, if the map is large enough to pay for
the transforms; both are as exact as direct convolution. A kernel between many channels that sees
much padding goes to taps, one channel a group to depthwise, everything else, 1×1 kernels too, to
tiles. ``TINYFCN_CONV`` or ``algorithm.using`` names another one for where it applies: ``winograd4``
multiplies less still, and is about a digit less exact in float32.

∞ and NaN: Winograd's algorithms add up pixels before they multiply; merged groups multiply those of
their neighbours by 0, and depthwise under a stride those beside its kernel. So beside such a pixel
others may become NaN that do not see it: in its tiles of m × m outputs or pairs of rows, within a
stride, or in the channels of other groups. Under ``tiles`` and ``taps`` an output, and the gradient
of a pixel, is what its own window makes it. In the gradient of a weight, a pixel meets the zeros of
the padding under all of them, so elements that reach beyond the image may become NaN too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.base import Backend, conv_sizes
from tinyfcn.backend.cpu.conv import depthwise, products, taps, tiles, winograd_rows
from tinyfcn.backend.cpu.conv.groups import dense, diagonal, merged
from tinyfcn.backend.cpu.conv.window import Algorithm, Finish, Pair, Shape, Window
from tinyfcn.backend.cpu.conv.winograd import Winograd
from tinyfcn.backend.cpu.layout import Array, channels_last, logical
from tinyfcn.backend.cpu.threads import parallel_for, places
from tinyfcn.backend.setting import Setting, steady

ALGORITHMS: dict[str, Algorithm] = {
    "tiles": tiles,
    "taps": taps,
    "winograd_rows": winograd_rows,
    "winograd2": Winograd(2),
    "winograd4": Winograd(4),
}

# From where on F(2×2, 3×3) is fastest: channels on both sides and their product, pixels of a batch.
CHANNELS = 32
WEIGHTS, PIXELS = (160**2, 320) if products.IN_PLACE else (128**2, 192)  # slower products, earlier
WIDE = 64  # channels of a group, from where on it is worth an algorithm of its own
WIDE_PADDING = 6  # times which it is more than the map: a fifth of the windows lie outside

algorithm = Setting("TINYFCN_CONV", ("auto", *ALGORITHMS))
EXACT = "tiles", "taps"  # those that keep ∞ and NaN to the windows that see them


def wanted() -> str:
    """The algorithm that is asked for; another may take its place where it does not apply."""
    return "tiles" if steady.depth else algorithm()


def choose(kernel: Pair, inputs: int, outputs: int, shape: Shape, window: Window) -> Algorithm:
    """The algorithm for a dense convolution of so many channels, to an output (N, OH, OW)."""
    named = ALGORITHMS.get(wanted())
    if named is not None and named.applies(kernel, window):
        return named
    pixels, weights = math.prod(shape), inputs * outputs
    large = weights >= WEIGHTS and min(inputs, outputs) >= CHANNELS
    if large and all(WIDE_PADDING * window.padding[i] >= shape[i + 1] for i in (0, 1)):
        return taps
    if pixels >= PIXELS:
        for name in ("winograd2", "winograd_rows") if large else ("winograd_rows",):
            if ALGORITHMS[name].applies(kernel, window):
                return ALGORITHMS[name]
    return taps if pixels <= taps.FEW_PIXELS * outputs else tiles


class Part(NamedTuple):
    """A convolution of some of the channels, or of all, with groups of as many as weights have."""

    ins: slice
    outs: slice
    weight: Array  # (outputs, KH, KW, inputs), or room for its gradient: a slice, or merged groups
    algorithm: Algorithm
    groups: int = 1
    merged: int = 1  # as many of them as one in the weight


def parts(weight: Array, groups: int, shape: Shape, window: Window) -> Iterator[Part]:
    """A convolution with weights (OC, KH, KW, C / groups), to an output (N, OH, OW), in parts."""
    oc, kh, kw, c = weight.shape
    per_channel = groups > 1 and c == 1 and oc == groups
    if per_channel and wanted() == "auto" and depthwise.applies((kh, kw), window):
        yield Part(slice(groups), slice(oc), weight, depthwise)
        return
    count = 1 if wanted() in EXACT else merged(c, groups)
    inputs, outputs = count * c, count * oc // groups
    found = choose((kh, kw), inputs, outputs, shape, window)
    if found is tiles or (wanted() == "auto" and inputs < WIDE and inputs < groups * c):
        yield Part(slice(groups * c), slice(oc), dense(weight, groups, count), tiles, groups, count)
        return
    for part in range(groups // count):
        ins = slice(part * inputs, (part + 1) * inputs)
        outs = slice(part * outputs, (part + 1) * outputs)
        yield Part(ins, outs, dense(weight[outs], count, count), found, count, count)


class Convolution(Backend):
    """The three primitives, in parts, each by the algorithm that suits it."""

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        x, weight = channels_last(x), channels_last(weight)
        window = Window(stride, padding, dilation)
        n, oh, ow = len(x), *conv_sizes(x.shape[1:3], weight.shape[1:3], *window)
        y = np.empty((n, oh, ow, len(weight)), np.result_type(x, weight))
        weight = weight.astype(np.float64) if steady.depth else weight
        for part in parts(weight, groups, (n, oh, ow), window):
            finish = Finish(None if bias is None else bias[part.outs], relu)
            inputs, outputs = x[..., part.ins], y[..., part.outs]
            part.algorithm.forward(inputs, part.weight, finish, window, outputs)
        return logical(y)

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        gy, weight = channels_last(gy), channels_last(weight)
        window = Window(stride, padding, dilation)
        n, oh, ow, _ = gy.shape
        gx = np.empty((n, *size, weight.shape[3] * groups), np.result_type(gy, weight))
        for part in parts(weight, groups, (n, oh, ow), window):
            grads, outputs = gy[..., part.outs], gx[..., part.ins]
            part.algorithm.input_grad(grads, part.weight, window, outputs)
        if bias is not None:  # now, as some pixels of gx come from several of the products
            finish = Finish(bias)
            parallel_for(lambda place: finish(gx[place]), places(n, size[0], 64))
        return logical(gx)

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        x, gy = channels_last(x), channels_last(gy)
        window = Window(stride, padding, dilation)
        n, oh, ow, oc = gy.shape
        gw = np.empty((oc, *kernel, x.shape[3] // groups), np.result_type(x, gy))
        for part in parts(gw, groups, (n, oh, ow), window):
            inputs, grads = x[..., part.ins], gy[..., part.outs]
            part.algorithm.weight_grad(inputs, grads, window, part.weight)
            if part.merged > 1:
                found = diagonal(part.weight, part.groups, part.merged)
                gw[part.outs] = found.reshape(gw[part.outs].shape)
        return logical(gw)
