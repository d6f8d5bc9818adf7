"""Convolution on the CPU: three primitives, several algorithms, and the rule that picks one.

    im2col.py      the whole image at once: the plain version, and the tests' reference
    tiles.py       im2col a tile at a time: any kernel, stride, padding, dilation; columns.py: how
    pointwise.py   1×1 kernels: a plain matrix product
    blocks.py      kernels of several strides, cut so that no pixel is read twice
    winograd_rows.py   kernels 3 high: fewer multiplications down the columns
    winograd.py    3×3 kernels: fewer still, both ways, in two sizes
    phases.py      the input gradient under a stride;  taps.py: for small maps
    depthwise.py   one channel a group: image by image;  groups.py: other groups as dense ones

The rule: a 1×1 kernel is a product. A 3×3 kernel without stride goes to F(2×2, 3×3) between many
channels, to F(2, 3) down the columns between fewer, if the map is large enough to pay for the
transforms; both are as exact as direct convolution. A kernel of several wide strides between few
channels goes to blocks, everything else to tiles. ``TINYFCN_CONV`` or ``algorithm.using`` names
another one for where it applies: ``winograd4`` multiplies less still, and is about a digit less
exact in float32.
"""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.base import Backend, conv_sizes
from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv import blocks, depthwise, im2col, pointwise, tiles, winograd_rows
from tinyfcn.backend.cpu.conv.groups import merge
from tinyfcn.backend.cpu.conv.window import Algorithm, Finish, Pair, Window
from tinyfcn.backend.cpu.conv.winograd import Winograd
from tinyfcn.backend.cpu.layout import Array, channels_last, logical
from tinyfcn.backend.setting import Setting

ALGORITHMS: dict[str, Algorithm] = {
    "im2col": im2col,
    "tiles": tiles,
    "blocks": blocks,
    "pointwise": pointwise,
    "winograd_rows": winograd_rows,
    "winograd2": Winograd(2),
    "winograd4": Winograd(4),
}

# Where each is fastest: channels on both sides, and pixels of a batch.
WINOGRAD2 = 192, 512
WINOGRAD_ROWS = 32, 2048

algorithm = Setting("TINYFCN_CONV", ("auto", *ALGORITHMS))


def choose(kernel: Pair, inputs: int, outputs: int, pixels: int, window: Window) -> Algorithm:
    """The algorithm for a dense convolution of so many channels, on so many output pixels."""
    wanted = ALGORITHMS.get(algorithm())
    if wanted is not None and wanted.applies(kernel, window):
        return wanted
    if pointwise.applies(kernel, window):
        return pointwise
    if blocks.applies(kernel, window) and blocks.pays(kernel, inputs, outputs, window.stride):
        return blocks
    if kernel == (3, 3):
        for name, (channels, area) in (("winograd2", WINOGRAD2), ("winograd_rows", WINOGRAD_ROWS)):
            found = ALGORITHMS[name]
            enough = min(inputs, outputs) >= channels and pixels >= area
            if enough and found.applies(kernel, window):
                return found
    return tiles


class Convolution(Backend):
    """The three primitives: groups cut into dense parts, each by the algorithm that suits it."""

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None,
        stride: Pair, padding: Pair, dilation: Pair, groups: int, relu: bool = False,
    ) -> Array:  # fmt: skip
        x, weight = channels_last(x), channels_last(weight)
        window = Window(stride, padding, dilation)
        n, h, w, c = x.shape
        oc, *kernel, _ = weight.shape
        oh, ow = conv_sizes((h, w), kernel, *window)
        y = np.empty((n, oh, ow, oc), np.result_type(x, weight))
        if _is_depthwise(weight.shape[1:3], c, oc, groups, window):
            depthwise.forward(x, weight, Finish(bias, relu), window, y)
            return logical(y)
        plan = merge(c // groups, oc // groups, groups)
        for part in range(plan.parts):
            ins, outs = plan.slices(part)
            dense = plan.dense(weight, part)
            convolve = choose(dense.shape[1:3], dense.shape[3], len(dense), n * oh * ow, window)
            finish = Finish(bias, relu).of(outs)
            convolve.forward(x[..., ins], dense, finish, window, y[..., outs])
        return logical(y)

    def conv2d_input_grad(
        self, gy: Array, weight: Array, bias: Array | None, size: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        gy, weight = channels_last(gy), channels_last(weight)
        window = Window(stride, padding, dilation)
        n, oh, ow, oc = gy.shape
        c = weight.shape[3] * groups
        gx = np.empty((n, *size, c), np.result_type(gy, weight))
        if _is_depthwise(weight.shape[1:3], c, oc, groups, window):
            depthwise.input_grad(gy, weight, window, gx)
        else:
            plan = merge(c // groups, oc // groups, groups)
            for part in range(plan.parts):
                ins, outs = plan.slices(part)
                dense = plan.dense(weight, part)
                convolve = choose(dense.shape[1:3], dense.shape[3], len(dense), n * oh * ow, window)
                convolve.input_grad(gy[..., outs], dense, window, gx[..., ins])
        if bias is not None:
            _add_bias(gx, bias)
        return logical(gx)

    def conv2d_weight_grad(
        self, x: Array, gy: Array, kernel: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Array:  # fmt: skip
        x, gy = channels_last(x), channels_last(gy)
        window = Window(stride, padding, dilation)
        c, oc = x.shape[3], gy.shape[3]
        gw = np.empty((oc, *kernel, c // groups), np.result_type(x, gy))
        if _is_depthwise(kernel, c, oc, groups, window):
            depthwise.weight_grad(x, gy, window, gw)
            return logical(gw)
        plan = merge(c // groups, oc // groups, groups)
        for part in range(plan.parts):
            ins, outs = plan.slices(part)
            shape = (plan.merged * plan.outputs, *kernel, plan.merged * plan.inputs)
            dense = gw[outs] if plan.merged == 1 else np.empty(shape, gw.dtype)
            convolve = choose(kernel, shape[3], shape[0], math.prod(gy.shape[:3]), window)
            convolve.weight_grad(x[..., ins], gy[..., outs], window, dense)
            if plan.merged > 1:
                plan.diagonal(dense, gw[outs])
        return logical(gw)


def _is_depthwise(kernel: Pair, c: int, oc: int, groups: int, window: Window) -> bool:
    by_rule = algorithm() == "auto" and groups > 1
    return by_rule and depthwise.applies(kernel, c // groups, oc // groups, window)


def _add_bias(y: Array, bias: Array) -> None:
    """For input gradients, whose parts are not written in one piece that could be finished."""
    finish = Finish(bias)
    pieces = [image[rows] for image in y for rows in threads.split(y.shape[1], 64)]
    threads.parallel_for(lambda piece: finish(piece), pieces)
