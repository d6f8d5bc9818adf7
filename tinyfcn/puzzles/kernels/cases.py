"""What is asked of each kernel, how it is launched, and what tinyfcn answers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.puzzles.layers.cases import columns
from tinyfcn.puzzles.puzzle import Array, Case, Draw, Ladder, Limit

kernel = Ladder("kernels", 13)


def exact(array: Any) -> tinyfcn.Tensor:
    """The tensor of float64 from which an answer for float32 is computed."""
    return tinyfcn.tensor(array.astype(np.float64))


def single(tensor: tinyfcn.Tensor) -> Array:
    """An answer in float32."""
    return tensor.numpy().astype(np.float32)


@kernel((6, 2.0, 1.0), (1, -1.0, 0.5), (100, 0.25, -3.0), (1024, 3.0, 2.0))
def map_(draw: Draw, n: int, a: float, b: float) -> Case:
    """A thread for each element."""
    x = draw(n)
    return Case({"x": x, "a": a, "b": b}, {"y": single(exact(x) * a + b)}, 1, n)


def blocks(n: int, threads: int) -> int:
    """How many blocks of so many threads cover n elements."""
    return -(-n // threads)


@kernel((6,), (64,), (1,), (1000,))
def guard(draw: Draw, n: int) -> Case:
    """More threads than elements."""
    x = draw(n) - 4 * draw.is_example
    return Case({"x": x, "n": n}, {"y": single(F.relu(exact(x)))}, blocks(n, 64), 64)


@kernel((2, 3, 1), (8, 32, 0), (5, 40, 2), (33, 7, 3), (1, 1, 1))
def pad2d(draw: Draw, h: int, w: int, p: int) -> Case:
    """Blocks and threads in two dimensions."""
    x = draw(h, w)
    y = single(F.pad(exact(x[None, None]), (p, p, p, p)))[0, 0]
    oh, ow = y.shape
    rows = Limit("global", "writes", "cost", 8 * oh * blocks(ow, 32),
                 "neighbouring threads (x) write neighbouring columns, in few sectors")  # fmt: skip
    sizes = {"x": x, "H": h, "W": w, "P": p}
    return Case(sizes, {"y": y}, (blocks(ow, 32), blocks(oh, 4)), (32, 4), (rows,))


@kernel((10,), (64,), (200,), (67,), (1,))
def shared(draw: Draw, n: int) -> Case:
    """Shared memory: sums of seven neighbours."""
    x = draw(n)
    y = F.conv2d(exact(x[None, None, None]), exact(np.ones((1, 1, 1, 7))), padding=(0, 3))
    count = blocks(n, 64)
    once = Limit("global", "reads", "accesses", n + 6 * (count - 1),
                 "a block reads what its threads share once")  # fmt: skip
    return Case({"x": x, "n": n}, {"y": single(y)[0, 0, 0]}, count, 64, (once,))


@kernel((2, 5), (3, 128), (2, 1000), (4, 129), (1, 1))
def row_sums(draw: Draw, rows: int, columns: int) -> Case:
    """A reduction: a block sums a row."""
    x = draw(rows, columns)
    reads = Limit("global", "reads", "requests", rows * (blocks(columns, 32) + 4),
                  "the 32 threads of a warp read 32 neighbours at once")  # fmt: skip
    expected = {"y": single(exact(x).sum(1))}
    return Case({"x": x, "columns": columns}, expected, rows, 128, (reads,))


@kernel((2, 3, 1.0), (3, 128, 1.0), (2, 300, 30.0), (1, 1, 1.0), (5, 21, 1000.0))
def softmax(draw: Draw, rows: int, columns: int, scale: float) -> Case:
    """Softmax of each row, without overflow."""
    x = (draw(rows, columns, most=3) * scale).astype(np.float32)
    reads = Limit("global", "reads", "requests", 4 * rows * (blocks(columns, 32) + 4),
                  "the 32 threads of a warp read 32 neighbours at once")  # fmt: skip
    expected = {"y": single(F.softmax(exact(x), 1))}
    return Case({"x": x, "columns": columns}, expected, rows, 128, (reads,))


@kernel(
    (1, 3, 3, 2, 1, 0), (2, 5, 7, 3, 1, 1), (3, 8, 6, 2, 2, 0), (1, 9, 9, 5, 3, 2)
)  # fmt: skip
def im2col(draw: Draw, c: int, h: int, w: int, k: int, stride: int, padding: int) -> Case:
    """Every window of an image as a column."""
    x = draw(c, h, w)
    found = columns(x[None].astype(np.float64), (k, k), stride, padding)[0].astype(np.float32)
    oh, ow = ((size + 2 * padding - k) // stride + 1 for size in (h, w))
    numbers = {"C": c, "H": h, "W": w, "K": k, "S": stride, "P": padding, "OH": oh, "OW": ow}
    return Case({"x": x, **numbers}, {"columns": found}, blocks(found.size, 128), 128)


@kernel((2, 3, 2), (16, 16, 16), (32, 48, 64), (17, 33, 20), (5, 3, 40))
def gemm(draw: Draw, m: int, n: int, k: int) -> Case:
    """A matrix product in tiles."""
    a, b = draw(m, k), draw(k, n)
    tall, wide, deep = blocks(m, 16), blocks(n, 16), blocks(k, 16)
    once = Limit("global", "reads", "accesses", tall * wide * deep * 2 * 256,
                 "a block reads each element of its tiles once, into shared memory")  # fmt: skip
    arguments = {"a": a, "b": b, "M": m, "N": n, "K": k}
    expected = {"c": single(exact(a) @ exact(b))}
    return Case(arguments, expected, (wide, tall), (16, 16), (once,))


@kernel((1, 4, 4, 2, 2), (3, 7, 9, 2, 2), (2, 8, 8, 3, 2), (1, 40, 30, 3, 3), (5, 3, 3, 3, 1))
def max_pool2d(draw: Draw, c: int, h: int, w: int, k: int, stride: int) -> Case:
    """Max pooling, and where the maxima were."""
    x = (np.round(2 * draw(c, h, w, most=4)) / 2 - 9).astype(np.float32)
    y, indices = F.max_pool2d(exact(x[None]), k, stride, return_indices=True)
    oh, ow = y.shape[2:]
    numbers = {"C": c, "H": h, "W": w, "K": k, "S": stride, "OH": oh, "OW": ow}
    expected = {"y": single(y)[0], "indices": indices.numpy()[0]}
    return Case({"x": x, **numbers}, expected, blocks(c * oh * ow, 64), 64)


@kernel(
    (1, 1, 3, 3, 2, 1, 0), (2, 3, 5, 6, 3, 1, 1), (3, 2, 9, 7, 3, 2, 1), (1, 4, 8, 8, 2, 3, 0),
)  # fmt: skip
def input_grad(draw: Draw, c: int, oc: int, h: int, w: int, k: int, stride: int,
               padding: int) -> Case:  # fmt: skip
    """The input gradient, gathered tap by tap."""
    x = tinyfcn.tensor(np.zeros((1, c, h, w)), requires_grad=True)
    weight = draw(oc, c, k, k, most=3)
    y = F.conv2d(x, exact(weight), None, stride, padding)
    oh, ow = y.shape[2:]
    gy = draw(oc, oh, ow, most=3) + draw.is_example
    y.backward(gy[None].astype(np.float64))
    gx = x.grad.numpy()[0].astype(np.float32) if x.grad is not None else gy
    numbers = {"C": c, "H": h, "W": w, "OC": oc, "K": k, "S": stride, "P": padding, "OH": oh,
               "OW": ow}  # fmt: skip
    arguments = {"gy": gy, "weight": weight, **numbers}
    return Case(arguments, {"gx": gx}, blocks(c * h * w, 64), 64)
