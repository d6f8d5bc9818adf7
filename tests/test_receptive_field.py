"""Receptive fields against gradients of single pixels, which are zero where nothing is seen."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Function, Tensor, models, nn, summary
from tinyfcn.backend.meta import empty
from tinyfcn.function import Elementwise
from tinyfcn.functional import pooling, resampling, unpooling
from tinyfcn.nn.without_values import without_values
from tinyfcn.receptive_field_rules import RESAMPLING, RULES, ReceptiveFields

RNG = np.random.default_rng(0)


def positive(*shape):
    return tinyfcn.tensor(RNG.uniform(0.5, 1.5, shape))


class Module(nn.Module):
    """A function as a user's own module."""

    def __init__(self, function):
        self.function = function
        self.float64 = nn.Parameter(np.zeros(1))

    def forward(self, x):
        return self.function(x)


def depends_on(y, x, places):
    """Which pixels of image n the n-th of these places (row, column) of y[n] has a gradient for,
    over all channels: (places, H, W)."""
    seeds = np.zeros(y.shape)
    for n, (row, column) in enumerate(places):
        seeds[n, :, row, column] = RNG.uniform(0.5, 1.5, y.shape[1])
    (gradient,) = tinyfcn.grad(y, x, Tensor(seeds))
    return gradient.numpy().any(1)


def measured(function, shape, axis, draws=1):
    """(size, stride) of fields along rows (axis 2) or columns (3), at places in the middle of the
    output. ``draws`` images are tried, for what depends on values."""
    size = function(positive(2, *shape)).shape
    start, other = size[axis] // 2 - 9, 6 if size[5 - axis] > 6 else 0
    places = [(i, other) if axis == 2 else (other, i) for i in range(start, start + 18)]
    seen = np.zeros((len(places), shape[axis - 1]), bool)
    for _ in range(draws):
        x = Tensor(RNG.normal(0, 1, (len(places), *shape)), requires_grad=True)
        seen |= depends_on(function(x), x, places).any(4 - axis)
    ends = {i: np.flatnonzero(row)[[0, -1]] for i, row in enumerate(seen) if row.any()}
    # 12 places on every pattern begins anew.
    stride = next((ends[i + 12] - ends[i]).mean() / 12 for i in ends if i + 12 in ends)
    return max(last - first + 1 for first, last in ends.values()), abs(stride)


def check(function, draws=4, dims=(0, 1, 2, 3)):
    """The summary of a function says what is measured; ``dims`` are the output's axes, as they must
    be permuted to (N, C, rows, columns)."""
    for axis, shape in ((2, (4, 72, 12)), (3, (4, 12, 72))):
        (layer,) = summary(Module(function), shape).layers
        size, stride = measured(lambda x: function(x).permute(*dims), shape, axis, draws)
        assert layer.receptive_field[axis - 2] == (size if size < 72 else math.inf)
        if size < 72:
            assert layer.stride[axis - 2] == pytest.approx(stride)


WEIGHT, UP = positive(6, 2, 3, 5), positive(4, 3, 4, 5)
CLASSES = np.zeros((1, 1), np.int64)
MANY = 25  # images: an op that picks one of several values looks at each of them in some


def pooled_back(x):
    """Means, each put where the maximum was."""
    _, indices = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(F.avg_pool2d(x, 2), indices, 2)


def loss(function):
    def of_pixels(x):
        labels = np.ones((x.shape[0], *x.shape[2:]), np.int64)
        return function(x, labels, reduction="none")[:, None]

    return of_pixels


# For each op the forms in which it changes what is seen: a function, or (function, images).
OPS = {
    "abs": [lambda x: F.abs(x)],
    "adaptive_avg_pool2d": [lambda x: x * F.adaptive_avg_pool2d(x, 1)],
    "add": [lambda x: x[:, :, 1:, 1:] + x[:, :, :-1, :-1]],
    "amax": [lambda x: x * F.amax(x, 1, keepdim=True), (lambda x: x * F.amax(x, (2, 3), keepdim=True), 300)],
    "avg_pool2d": [lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, (2, 4), ceil_mode=True)],
    "batch_norm": [lambda x: F.batch_norm(x, positive(4), positive(4), positive(4), positive(4))],
    "cat": [lambda x: F.cat([F.pad(x, (1, 1, 1, 1)), F.pad(x, (2, 0, 2, 0))], 1)],
    "clamp": [(lambda x: F.clamp(x, -1, 1), MANY)],
    "conv2d": [lambda x: F.conv2d(x, WEIGHT, None, (2, 3), 1, (3, 1), 2), lambda x: F.conv2d(x, WEIGHT[:, :, :, ::2], None, 1, 2, 2, 2)],
    "conv_transpose2d": [
        lambda x: F.conv_transpose2d(x, UP, None, (2, 3), 1), lambda x: F.conv_transpose2d(x, UP, None, 1, 0, 0, 1, 2),
        lambda x: F.conv2d(F.conv_transpose2d(x, UP, None, 3), UP[:3, :3, :2, :2].permute(1, 0, 2, 3)),
    ],
    "crop": [lambda x: F.crop(x, (3, 2), (x.shape[2] - 5, x.shape[3] - 3))],
    "cross_entropy": [loss(F.cross_entropy)],
    "div": [lambda x: x / (F.abs(x) + 1.0)],
    "dropout": [lambda x: F.dropout(x, 0.5, training=False) * 2.0],
    "dropout2d": [lambda x: F.dropout2d(x, 0.5, training=False) * 2.0],
    "elu": [F.elu],
    "exp": [F.exp],
    "flatten": [lambda x: F.flatten(F.flatten(x, 1, 2), 1, 2).reshape(*x.shape)],
    "getitem": [
        lambda x: x[:, :, 1::2, ::3], lambda x: x[:, [2, 0]], lambda x: x[..., ::-1, :], lambda x: x[:, 1][:, None],
    ],
    "interpolate": [
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), lambda x: F.interpolate(x, scale_factor=(3, 4)),
        lambda x: F.interpolate(x, scale_factor=1.5), lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
        lambda x: F.conv2d(F.interpolate(x, scale_factor=2), WEIGHT[:2, :, :2, :2], groups=2),
        lambda x: F.interpolate(x, (2 * x.shape[2] - 1, 2 * x.shape[3] - 1), mode="bilinear", align_corners=True),
    ],
    "leaky_relu": [F.leaky_relu],
    "linear": [lambda x: F.linear(x.permute(0, 2, 3, 1), positive(3, 4)).permute(0, 3, 1, 2)],
    "local_response_norm": [lambda x: F.local_response_norm(x, 3)],
    "log": [lambda x: F.log(F.abs(x) + 1.0)],
    "log_softmax": [lambda x: F.log_softmax(x, 1), lambda x: F.log_softmax(F.log_softmax(x, 3), 2)],
    "matmul": [lambda x: (positive(3, 4) @ F.avg_pool2d(x, (2, 3)).permute(0, 2, 1, 3)).permute(0, 2, 1, 3)],
    "max_pool2d": [(lambda x: F.max_pool2d(x, 3, 2, 1), MANY), (lambda x: F.max_pool2d(x, 2, 1, 0, 2), MANY)],
    "max_unpool2d": [(pooled_back, MANY)],
    "maximum": [(lambda x: F.maximum(x, 0.0), MANY)],
    "mean": [lambda x: x * F.mean(x, (2, 3), keepdim=True), lambda x: x + F.mean(x, 1, keepdim=True)],
    "minimum": [(lambda x: F.minimum(x[:, :, 1:, 2:], x[:, :, :-1, :-2]), MANY)],
    "mul": [lambda x: x * x],
    "neg": [F.neg],
    "nll_loss": [loss(F.nll_loss)],
    "pad": [lambda x: F.pad(x, (1, 2, 3, 4), "reflect"), lambda x: F.pad(F.avg_pool2d(x, 2), (1, 1, 1, 1)), lambda x: F.pad(x, (-1, 2, 0, -3))],
    "permute": [lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2) * 1.0],
    "pow": [lambda x: x**2.0],
    "prelu": [lambda x: F.prelu(x, positive(4))],
    "relu": [(F.relu, MANY)],
    "reshape": [lambda x: x.reshape(x.shape[0], 2, 2, *x.shape[2:])[:, :, 0]],
    "sigmoid": [F.sigmoid],
    "softmax": [lambda x: F.softmax(x, 1)],
    "sqrt": [lambda x: F.sqrt(F.abs(x) + 1.0)],
    "sub": [lambda x: x[:, :, 2:, 2:] - x[:, :, :-2, :-2]],
    "sum": [lambda x: x * F.sum(x, (2, 3), keepdim=True), lambda x: x.reshape(x.shape[0], 4, x.shape[2] // 2, 2, x.shape[3]).sum(3)],
    "tanh": [F.tanh],
    "transpose": [lambda x: x.transpose(2, 3).transpose(3, 2) * 1.0],
    "unpool_bed_of_nails": [lambda x: F.unpool_bed_of_nails(x, 2), lambda x: F.conv2d(F.unpool_bed_of_nails(x, 3), WEIGHT[:2, :, :, :2], groups=2)],
    "unpool_nearest": [lambda x: F.unpool_nearest(x, (2, 3))],
    "where": [(lambda x: F.where(x > 0, x, x * 2.0), MANY), lambda x: F.where(x[:, :, 1:] > 0.0, x[:, :, :-1], 2.0 * x[:, :, 1:])],
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_every_op(name):
    for form in OPS[name]:
        check(*(form if isinstance(form, tuple) else (form,)))


def test_no_op_is_left_out():
    assert set(OPS) == set(F.__all__)


# ---- models ----


class Ops(tinyfcn.Hook):
    """Keeps what each op gives, or what lets every pixel through in its place: means instead of
    maxima, and unpooling that fills its windows."""

    def __init__(self, linear):
        self.linear, self.outputs, self.inside = linear, [], False

    def op(self, function, inputs, outputs):
        if self.inside:
            return None
        self.inside = True
        if self.linear and isinstance(function, pooling.MaxPool2d):
            kernel, stride, padding, _ = function.window
            mean = F.avg_pool2d(inputs[0], kernel, stride, padding, function.ceil_mode)
            outputs = (mean, *outputs[1:])
        if self.linear and isinstance(function, unpooling.ScatterPlane):
            x, window = inputs[0], function.window
            stamp = Tensor(np.ones((x.shape[1], 1, *window.kernel)))
            y = F.conv_transpose2d(x, stamp, None, window.stride, window.padding, groups=x.shape[1])
            height, width = (n - m for n, m in zip(function.size, y.shape[2:], strict=True))
            outputs = (F.pad(y, (0, width, 0, height)),)
        self.inside = False
        self.outputs.append(outputs[0])
        return outputs


def all_positive(model):
    """Weights with which no ReLU hides a pixel and no two pixels cancel each other out."""
    for p in model.double().parameters():
        p.data[...] = RNG.uniform(0.5, 1.5, p.shape) / max(1, np.prod(p.shape[1:]))
    for name, buffer in model.named_buffers():
        buffer.data[...] = "var" in name
    return model.eval()


# Heights of images, where not 1, and widths, where they are not free.
HEIGHTS = {"alexnet": 224, "caffenet": 227, "googlenet": 33, "unet": 188, "vgg": 33}
WIDTHS = {"alexnet": 224, "caffenet": 227, "unet": 332}


@pytest.mark.parametrize("name", [name for name in models.names() if name != "sliding_window"])
def test_every_model(name):
    """What is said of a network's coarsest map is measured there, along the width."""
    model = all_positive(models.create(name, num_classes=2, width=1 / 16))
    height = next((n for start, n in HEIGHTS.items() if name.startswith(start)), 1)
    said = summary(model, (3, height, WIDTHS.get(name, 1536)))
    size, stride = said.receptive_field[1], said.stride[1]
    width = 32 * math.ceil((size + 4 * stride) / 32) if size < math.inf else 320
    shape = (2, 3, height, WIDTHS.get(name, width))
    with without_values(model), ReceptiveFields() as fields, Ops(linear=False) as watched:
        images = Tensor(empty(shape, np.float64, ()))
        fields.start(images)
        model(images)
    found = [fields.of(y)[1] if y.ndim == 4 else None for y in watched.outputs]
    coarsest = max(
        n
        for n, field in enumerate(found)
        if field and (field.size(), field.stride()) == (size, stride)
    )
    x = Tensor(RNG.uniform(0.5, 1.5, shape), requires_grad=True)
    with Ops(linear=True) as real:
        model(x)
    y = real.outputs[coarsest]
    middle = y.shape[3] // 2
    seen = depends_on(y, x, [(y.shape[2] // 2, middle), (y.shape[2] // 2, middle - 1)]).any(1)
    here, before = (np.flatnonzero(row)[[0, -1]] for row in seen)
    if size == math.inf:
        assert tuple(here) == (0, shape[3] - 1)
    else:  # what lies between the ends that are not cut off by the border
        assert before[1] - here[0] + 1 + stride == size
        assert before[0] == max(0, here[0] - stride)


# ---- modules of users ----


def space_to_depth(x):
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // 2, 2, w // 2, 2)
    return cells.permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def depth_to_space(x):
    n, c, h, w = x.shape
    cells = x.reshape(n, c // 4, 2, 2, h, w)
    return cells.permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


def branches(x):
    """Channels that were shuffled, times those of rows and columns at a distance."""
    x = F.conv2d(x, WEIGHT[:4, :, :, :3], None, 1, 1, 1, 2)
    shuffled = x.reshape(x.shape[0], 2, 2, *x.shape[2:]).permute(0, 2, 1, 3, 4).reshape(*x.shape)
    return (x + shuffled)[:, :, 3:, 3:] * x[:, :, :-3, :-3]


USERS = {
    "every other row and column": lambda x: x[:, :, ::2, ::2],
    "space to depth": space_to_depth,
    "depth to space": depth_to_space,
    "there and back": lambda x: depth_to_space(space_to_depth(x)),
    "half of the channels back": lambda x: depth_to_space(space_to_depth(x)[:, :8]),
    "a convolution of it": lambda x: F.conv2d(space_to_depth(x), positive(2, 16, 3, 3)),
    "a convolution after it": lambda x: F.conv2d(depth_to_space(x), positive(1, 1, 2, 4)),
    "swapped twice": lambda x: x.transpose(2, 3)[:, :, ::3].transpose(2, 3),
    "branches that differ": branches,
    "rows cut and joined": lambda x: F.cat([x[:, :, :8], x[:, :, 8:]], 2),
    "mirrored": lambda x: F.conv2d(x[:, :, ::-1, ::-2], positive(1, 4, 2, 2)),
    "a comparison": lambda x: x * (x > 0) + x * 0.5,
    "windows by hand": lambda x: x[:, :, :-5, 2:] + x[:, :, 3:-2, :-2] * x[:, :, 5:, 1:-1],
    "a mean of pairs": lambda x: x.reshape(x.shape[0], 4, x.shape[2] // 2, 2, -1).mean(3),
}


@pytest.mark.parametrize("name", USERS)
def test_modules_of_users(name):
    check(USERS[name])


def test_the_axes_of_the_image_are_meant_wherever_they_are():
    check(lambda x: x[:, :, ::2].transpose(2, 3), dims=(0, 1, 3, 2))
    check(lambda x: F.relu(x.permute(0, 2, 3, 1) @ positive(4, 3)), MANY, dims=(0, 3, 1, 2))


class Doubled(Function):
    """An op that nobody knows."""

    def forward(self, x):
        return x[:, :, ::-1]


def in_place(x):
    y = x * 2.0
    y.data[:, :, 1:] = x.data[:, :, :-1]
    return y


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, :, np.array([1, 5]), np.array([2, 0])],
        lambda x: Doubled()(x),
        lambda x: F.conv2d(x, x[:, :, :3, :3].sum(0, keepdim=True)),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: x + Tensor(x.data[:, :, ::-1]),
        lambda x: x * x[:, :, :1, :1],
        lambda x: x + F.interpolate(x[:, :, :36, :6], size=x.shape[2:]),
        in_place,
    ],
)
def test_what_cannot_be_told_is_nan(function):
    (layer,) = summary(Module(function), (4, 72, 12)).layers
    assert all(map(math.isnan, layer.receptive_field + layer.stride))


class Cubed(Elementwise):
    """A user's own op, element by element."""

    def forward(self, x):
        return x**3


class Cubes(Function):
    """The same, but what it is made of says it."""

    def forward(self, x):
        return x**3


@pytest.mark.parametrize("op", [Cubed, Cubes])
def test_ops_of_users_that_work_element_by_element(op):
    (layer,) = summary(Module(lambda x: op()(x[:, :, ::2])), (4, 8, 8)).layers
    assert (layer.receptive_field, layer.stride) == ((1, 1), (2, 1))


# ---- the table ----


def ops_of(kind):
    """All ops of tinyfcn.functional."""
    for op in kind.__subclasses__():
        if op.__module__.startswith("tinyfcn.functional."):
            yield op
        yield from ops_of(op)


def test_every_op_has_a_rule_or_needs_none():
    table = inspect.getsourcefile(ReceptiveFields)
    for op in ops_of(Function):
        assert op in RULES or issubclass(op, Elementwise), (
            f"{op.__name__} in {inspect.getsourcefile(op)}: make Elementwise its base class, or "
            f"add a rule to RULES in {table}"
        )
    for kind in vars(resampling).values():
        if isinstance(kind, type) and hasattr(kind, "matrix"):
            assert kind in {*RESAMPLING, resampling.Axis, resampling.Transposed}, (
                f"{kind.__name__} in {resampling.__file__}: add a rule to RESAMPLING in {table}"
            )


# ---- chains of ops ----

LINEAR = {
    "conv": lambda x, k, s: F.conv2d(x, positive(2, 2, 1, k), None, (1, s), (0, k // 2)),
    "dilated": lambda x, k, s: F.conv2d(x, positive(2, 2, 1, k), None, 1, 0, (1, s)),
    "up": lambda x, k, s: F.conv_transpose2d(x, positive(2, 2, 1, k), None, (1, s), (0, k // 3)),
    "mean": lambda x, k, s: F.avg_pool2d(x, (1, k), (1, s), (0, k // 2), ceil_mode=True),
    "slice": lambda x, k, s: x[..., k - 1 :: s],
    "repeat": lambda x, k, s: F.interpolate(x, scale_factor=(1, s)),
    "resize": lambda x, k, s: F.interpolate(x, scale_factor=(1, (s + 1) / 2), mode="bilinear"),
    "nails": lambda x, k, s: F.unpool_bed_of_nails(x, (1, s)),
    "cells": lambda x, k, s: cells(x, s),
    "pad": lambda x, k, s: F.pad(x, (k, s), "replicate"),
    "mirror": lambda x, k, s: x[..., ::-1],
    "channels": lambda x, k, s: F.cat([x[..., : -k or None], x[..., k:]], 1)[:, s - 1 : s + 1],
}


def cells(x, s):
    """Columns in groups of s as channels, of which one stays, with the next."""
    n, c, h, w = x.shape
    x = x[..., : w // s * s].reshape(n, c, h, w // s, s).permute(0, 1, 4, 2, 3)
    return x.reshape(n, c * s, h, w // s)[:, s - 1 : s + 1]


CHAINS = st.lists(
    st.tuples(st.sampled_from(sorted(LINEAR)), st.integers(1, 4), st.integers(1, 3)),
    min_size=1,
    max_size=4,
)


@given(CHAINS)
def test_chains_of_ops(chain):
    """Place by place the interval is that of the gradient, but near the border."""

    def function(x):
        for name, k, s in chain:
            x = LINEAR[name](x, k, s)
        return x

    shape = (2, 1, 150)
    try:
        size = function(positive(1, *shape)).shape[3]
    except ValueError:  # an image that is too small
        assume(False)
    with without_values(), ReceptiveFields() as fields:
        images = Tensor(empty((1, *shape), np.float64, ()))
        fields.start(images)
        field = fields.of(function(images))[1].reduced(1)
    numbers = np.arange(max(0, size // 2 - 12), min(size, size // 2 + 12))
    x = Tensor(RNG.uniform(0.5, 1.5, (len(numbers), *shape)), requires_grad=True)
    seen = depends_on(function(x), x, [(0, i) for i in numbers])[:, 0]
    firsts, lasts = (ends.ravel() for ends in field._at(3, numbers))
    inside = [n for n in range(len(numbers)) if not (firsts[n] < 25 or lasts[n] > shape[2] - 26)]
    assume(inside)
    for n in inside:
        pixels = np.flatnonzero(seen[n])
        expected = (firsts[n], lasts[n])
        assert (pixels[[0, -1]] if pixels.size else (math.inf, -math.inf)) == pytest.approx(
            expected
        )
