"""Receptive fields of every op of functional: those of the summary, and those that are measured."""

from __future__ import annotations

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import Tensor

RNG = np.random.default_rng(0)


def positive(*shape):
    return Tensor(RNG.uniform(0.5, 1.5, shape))


MANY = 12  # images: an op that picks one of several values looks at each of them in some
WEIGHT, UP = positive(6, 2, 3, 5), positive(4, 3, 4, 5)
CLASSES = np.zeros((1, 1), np.int64)


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
    "adaptive_avg_pool2d": [
        lambda x: x * F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_avg_pool2d(x, (2 * x.shape[2], 3 * x.shape[3] // 2)),
    ],
    "add": [lambda x: x[:, :, 1:, 1:] + x[:, :, :-1, :-1]],
    "amax": [
        lambda x: x * F.amax(x, 1, keepdim=True),
        (lambda x: F.amax(x.reshape(*x.shape[:2], x.shape[2] // 2, 2, -1), 3), MANY),
    ],
    "avg_pool2d": [
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, (2, 4), ceil_mode=True),
    ],
    "batch_norm": [lambda x: F.batch_norm(x, positive(4), positive(4), positive(4), positive(4))],
    "cat": [lambda x: F.cat([F.pad(x, (1, 1, 1, 1)), F.pad(x, (2, 0, 2, 0))], 1)],
    "clamp": [(lambda x: F.clamp(x, -1, 1), MANY)],
    "conv2d": [
        lambda x: F.conv2d(x, WEIGHT, None, (2, 3), 1, (3, 1), 2),
        lambda x: F.conv2d(x, WEIGHT[:, :, :, ::2], None, 1, 2, 2, 2),
    ],
    "conv_transpose2d": [
        lambda x: F.conv_transpose2d(x, UP, None, (2, 3), 1),
        lambda x: F.conv_transpose2d(x, UP, None, 1, 0, 0, 1, 2),
        lambda x: F.conv2d(
            F.conv_transpose2d(x, UP, None, 3), UP[:3, :3, :2, :2].permute(1, 0, 2, 3)
        ),
    ],
    "crop": [lambda x: F.crop(x, (3, 2), (x.shape[2] - 5, x.shape[3] - 3))],
    "cross_entropy": [loss(F.cross_entropy)],
    "div": [lambda x: x / (F.abs(x) + 1.0)],
    "dropout": [lambda x: F.dropout(x, 0.5, training=False) * 2.0],
    "dropout2d": [lambda x: F.dropout2d(x, 0.5, training=False) * 2.0],
    "elu": [F.elu],
    "exp": [F.exp],
    "flatten": [lambda x: F.flatten(F.flatten(x, 1, 2), 1, 2).reshape(*x.shape)],
    "focal_loss": [loss(F.focal_loss)],
    "getitem": [
        lambda x: x[:, :, 1::2, ::3],
        lambda x: x[:, [2, 0]],
        lambda x: x[..., ::-1, :],
        lambda x: x[:, 1][:, None],
    ],
    "interpolate": [
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=(3, 4)),
        lambda x: F.interpolate(x, scale_factor=1.5),
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
        lambda x: F.conv2d(F.interpolate(x, scale_factor=2), WEIGHT[:2, :, :2, :2], groups=2),
        lambda x: F.interpolate(
            x, (2 * x.shape[2] - 1, 2 * x.shape[3] - 1), mode="bilinear", align_corners=True
        ),
    ],
    "leaky_relu": [F.leaky_relu],
    "linear": [lambda x: F.linear(x.permute(0, 2, 3, 1), positive(3, 4)).permute(0, 3, 1, 2)],
    "local_response_norm": [lambda x: F.local_response_norm(x, 3)],
    "log": [lambda x: F.log(F.abs(x) + 1.0)],
    "log_softmax": [lambda x: F.log_softmax(x, 1), lambda x: F.log_softmax(F.log_softmax(x, 3), 2)],
    "matmul": [
        lambda x: (positive(3, 4) @ F.avg_pool2d(x, (2, 3)).permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
    ],
    "max_pool2d": [
        (lambda x: F.max_pool2d(x, 3, 2, 1), MANY),
        (lambda x: F.max_pool2d(x, 2, 1, 0, 2), MANY),
    ],
    "max_unpool2d": [(pooled_back, MANY)],
    "maximum": [(lambda x: F.maximum(x, 0.0), MANY)],
    "mean": [
        lambda x: x * F.mean(x, (2, 3), keepdim=True),
        lambda x: x + F.mean(x, 1, keepdim=True),
    ],
    "minimum": [(lambda x: F.minimum(x[:, :, 1:, 2:], x[:, :, :-1, :-2]), MANY)],
    "mul": [lambda x: x * x],
    "neg": [F.neg],
    "nll_loss": [loss(F.nll_loss)],
    "pad": [
        lambda x: F.pad(x, (1, 2, 3, 4), "reflect"),
        lambda x: F.pad(F.avg_pool2d(x, 2), (1, 1, 1, 1)),
        lambda x: F.pad(x, (-1, 2, 0, -3)),
    ],
    "permute": [lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2) * 1.0],
    "pow": [lambda x: x**2.0],
    "prelu": [lambda x: F.prelu(x, positive(4))],
    "relu": [(F.relu, MANY)],
    "reshape": [lambda x: x.reshape(x.shape[0], 2, 2, *x.shape[2:])[:, :, 0]],
    "sigmoid": [F.sigmoid],
    "softmax": [lambda x: F.softmax(x, 1)],
    "sqrt": [lambda x: F.sqrt(F.abs(x) + 1.0)],
    "sub": [lambda x: x[:, :, 2:, 2:] - x[:, :, :-2, :-2]],
    "sum": [
        lambda x: x * F.sum(x, (2, 3), keepdim=True),
        lambda x: x.reshape(x.shape[0], 4, x.shape[2] // 2, 2, x.shape[3]).sum(3),
    ],
    "tanh": [F.tanh],
    "transpose": [lambda x: x.transpose(2, 3).transpose(3, 2) * 1.0],
    "unpool_bed_of_nails": [
        lambda x: F.unpool_bed_of_nails(x, 2),
        lambda x: F.conv2d(F.unpool_bed_of_nails(x, 3), WEIGHT[:2, :, :, :2], groups=2),
    ],
    "unpool_nearest": [lambda x: F.unpool_nearest(x, (2, 3))],
    "where": [
        (lambda x: F.where(x > 0, x, x * 2.0), MANY),
        (lambda x: F.where(x[:, :, 1:] > 0.0, x[:, :, :-1], 2.0 * x[:, :, 1:]), MANY),
    ],
}


@pytest.mark.parametrize("name", OPS)
def test_every_op(name, check):
    for form in OPS[name]:
        check(*(form if isinstance(form, tuple) else (form,)))


def test_no_op_is_left_out():
    assert {*OPS, "dice_loss"} == set(F.__all__)  # whose result is of images, not of pixels
