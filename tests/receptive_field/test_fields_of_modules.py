"""Receptive fields of what users write themselves; what cannot be told is NaN, never a number."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import Function, Tensor, nn, summary
from tinyfcn.function import Elementwise
from tinyfcn.functional import resampling
from tinyfcn.receptive_field_rules import RESAMPLING, RULES, ReceptiveFields

RNG = np.random.default_rng(0)


def positive(*shape):
    return Tensor(RNG.uniform(0.5, 1.5, shape))


class Module(nn.Module):
    """A function as a user's own module."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


WEIGHT = positive(4, 2, 3, 3)


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
    x = F.conv2d(x, WEIGHT, None, 1, 1, 1, 2)
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
    "channels apart": lambda x: F.cat([x[:, :1], x[:, 2:], x[:, :1]], 1)[:, :, 3:] + x[:, :, :-3],
    "channels moved": lambda x: F.cat([x[..., 1:], x[..., :-1]], 1)[:, 3:5] + x[:, :2, :, 1:],
    "mirrored": lambda x: F.conv2d(x[:, :, ::-1, ::-2], positive(1, 4, 2, 2)),
    "a comparison": lambda x: x * (x > 0) + x * 0.5,
    "windows by hand": lambda x: x[:, :, :-5, 2:] + x[:, :, 3:-2, :-2] * x[:, :, 5:, 1:-1],
    "a mean of pairs": lambda x: x.reshape(x.shape[0], 4, x.shape[2] // 2, 2, -1).mean(3),
}


@pytest.mark.parametrize("name", USERS)
def test_modules_of_users(name, check):
    check(USERS[name])


def test_the_axes_of_the_image_are_meant_wherever_they_are(check):
    check(lambda x: x[:, :, ::2].transpose(2, 3), dims=(0, 1, 3, 2))
    check(lambda x: F.relu(x.permute(0, 2, 3, 1) @ positive(4, 3)), 12, dims=(0, 3, 1, 2))


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
        lambda x: F.batch_norm(x, x.mean((0, 2, 3)), x.sum((0, 2, 3))),
        lambda x: x + Tensor(np.asarray(x.data)[:, :, ::-1] * 2.0),
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


def ops_of(kind):
    """All ops of tinyfcn.functional."""
    for op in kind.__subclasses__():
        if op.__module__.startswith("tinyfcn.functional."):
            yield op
        yield from ops_of(op)


# Nobody asks what gradients depend on.
OF_GRADIENTS = {
    "BatchNormGrad", "ChannelSums", "Conv2dWeightGrad", "CrossEntropyGrad", "GatherPlane",
    "LocalResponseNormGrad", "PutClass", "PutItem",
}  # fmt: skip


def test_every_op_has_a_rule_or_needs_none():
    table = inspect.getsourcefile(ReceptiveFields)
    for op in ops_of(Function):
        known = op in RULES or issubclass(op, Elementwise)
        assert known != (op.__name__ in OF_GRADIENTS), (
            f"{op.__name__} in {inspect.getsourcefile(op)}: make Elementwise its base class, add a "
            f"rule to RULES in {table}, or its name to OF_GRADIENTS in {__file__}"
        )
    for kind in vars(resampling).values():
        if isinstance(kind, type) and hasattr(kind, "matrix"):
            assert kind in {*RESAMPLING, resampling.Axis, resampling.Transposed}, (
                f"{kind.__name__} in {resampling.__file__}: add a rule to RESAMPLING in {table}"
            )
