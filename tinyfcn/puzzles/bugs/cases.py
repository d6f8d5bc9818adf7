"""What each mended file is asked, and what tinyfcn answers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.puzzles.kernels.cases import blocks, exact, single
from tinyfcn.puzzles.layers import cases as layers
from tinyfcn.puzzles.puzzle import Array, Case, Draw, Ladder, Limit

bug = Ladder("bugs", 23)


@bug((1, 1, 3, 3, 2), (2, 3, 6, 5, 3), (1, 2, 4, 4, 4), (1, 1, 5, 7, 1))
def box_mean(draw: Draw, n: int, c: int, h: int, w: int, k: int) -> Case:
    """Average pooling by running sums."""
    x = draw(n, c, h, w)
    return Case({"x": x, "k": k}, {"y": F.avg_pool2d(tinyfcn.tensor(x), k, 1).numpy()})


@bug((1, 3, 1, 3, 1, 1.0), (2, 4, 3, 5, 0, 1.0), (2, 4, 3, 5, 7, 1.0), (1, 3, 2, 2, 4, 1.0))
def cross_entropy_grad(draw: Draw, *size: Any) -> Case:
    """The gradient of cross-entropy."""
    whole = layers.cross_entropy(draw, *size)
    return whole._replace(expected={"gscores": whole.expected["gscores"]})


@bug(
    (1, 1, 2, 2, 1, (3, 3), 1, 1), (2, 3, 5, 4, 2, (3, 3), 1, 0), (2, 3, 5, 4, 2, (3, 3), 1, 1),
    (1, 2, 7, 8, 3, (5, 3), 2, 2),
)  # fmt: skip
def conv2d_input_grad(draw: Draw, *size: Any) -> Case:
    """The input gradient of convolution."""
    whole = layers.conv2d_backward(draw, *size)
    arguments = {n: v for n, v in whole.arguments.items() if n != "x"}
    arguments["size"] = whole.arguments["x"].shape[2:]
    return Case(arguments, {"gx": whole.expected["gx"]})


def relu(x: Array) -> Array:
    """relu"""
    return F.relu(tinyfcn.tensor(x)).numpy()


def leaky_relu(x: Array) -> Array:
    """leaky relu"""
    return F.leaky_relu(tinyfcn.tensor(x), 0.2).numpy()


def magnitude(x: Array) -> Array:
    """abs"""
    return F.abs(tinyfcn.tensor(x)).numpy()


def tanh(x: Array) -> Array:
    """tanh"""
    return F.tanh(tinyfcn.tensor(x)).numpy()


OPS = {relu: F.relu, leaky_relu: lambda x: F.leaky_relu(x, 0.2), magnitude: F.abs, tanh: F.tanh}


@bug((relu, 6, 2), (relu, 50, 0), (leaky_relu, 50, 5), (magnitude, 50, 5), (tanh, 50, 5),
     names=("wrong_places",))  # fmt: skip
def gradient_check(draw: Draw, f: Any, n: int, planted: int) -> Case:
    """A check that accuses right gradients."""
    x = draw(n, most=4) - 2 * draw.is_example
    x[::3] = 0  # the kink
    (tensor,) = layers.needing(x)
    OPS[f](tensor).backward(np.ones(n))
    (gradient,) = layers.gradients([tensor])
    wrong = np.isin(np.arange(n), draw.random.permutation(n)[:planted])
    gradient = gradient + np.where(wrong, 1.5 - 3 * (gradient < 0), 0)
    return Case({"f": f, "x": x, "gradient": gradient}, {"wrong": wrong})


@bug((2, 3), (3, 64), (4, 100), (1, 1))
def bias_relu(draw: Draw, c: int, pixels: int) -> Case:
    """A kernel that is right for some sizes."""
    x, bias = draw(c, pixels), draw(c) - 4 * draw.is_example
    y = single(F.relu(exact(x) + exact(bias[:, None])))
    arguments = {"x": x, "bias": bias, "pixels": pixels}
    return Case(arguments, {"y": y}, (blocks(pixels, 64), c), 64)


@bug((2, 4), (3, 128), (2, 500), (4, 77))
def channel_stats(draw: Draw, c: int, pixels: int) -> Case:
    """A kernel that is right, nearly always."""
    x = draw(c, pixels)
    tensor = exact(x)
    mean = tensor.mean(1, keepdim=True)
    centred = tensor - mean
    expected = {"mean": single(mean.reshape(c)), "var": single((centred * centred).mean(1))}
    return Case({"x": x, "pixels": pixels}, expected, c, 128)


@bug((2, 3), (32, 32), (64, 96), (40, 33))
def transpose(draw: Draw, h: int, w: int) -> Case:
    """A kernel that is right, and slow."""
    x = draw(h, w)
    tall, wide = blocks(h, 32), blocks(w, 32)
    limits = (
        Limit("shared", "reads", "cost", 32 * tall * wide,
              "32 threads that read 32 different banks take one turn"),
        Limit("global", "reads", "cost", 8 * h * wide,
              "neighbouring threads read neighbouring elements, in few sectors"),
        Limit("global", "writes", "cost", 8 * w * tall,
              "neighbouring threads write neighbouring elements, in few sectors"),
    )  # fmt: skip
    y = single(exact(x).transpose(0, 1))
    return Case({"x": x, "H": h, "W": w}, {"y": y}, (wide, tall), (32, 8), limits)


@bug(
    (5, (4, 5, 6, 7)), (100, (8, 64, 32, 32)), (100, (64, 512, 512, 512)), (5, (1, 1, 70000, 70000))
)
def offsets(draw: Draw, count: int, sizes: tuple[int, int, int, int]) -> Case:
    """A kernel that is right for small arrays."""
    places = np.stack([draw.random.integers(0, size, count, np.int32) for size in sizes])
    n, c, h, w = (exact(row) for row in places)
    at = ((n * sizes[1] + c) * sizes[2] + h) * sizes[3] + w  # whole numbers, exact in float64
    numbers = dict(zip(("C", "H", "W"), sizes[1:], strict=True))
    arguments = {"places": places, **numbers, "count": count}
    return Case(arguments, {"at": at.numpy().astype(np.int64)}, blocks(count, 64), 64)
