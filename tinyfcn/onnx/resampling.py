"""Resampling (``tinyfcn/functional/resampling.py``) as ONNX's operators.

Where ONNX has one for what happens along both axes that is taken; else its matrix, or the positions
that it picks, are computed in the graph from the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.base import Pair
from tinyfcn.functional import resampling
from tinyfcn.onnx.graph import Graph, Value
from tinyfcn.onnx.trace import CannotExport


def resample2d(graph: Graph, op: Any, x: Value) -> Any:
    """The rule for all resampling."""
    kind = type(op.rows)
    if type(op.columns) is not kind or kind not in RESAMPLING:
        names = " and ".join(type(axis).__name__ for axis in (op.rows, op.columns))
        raise CannotExport(f"onnx: {names} have no operator in ONNX")
    return RESAMPLING[kind](graph, op.rows, op.columns, x)


def pooling(op: str, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> dict[str, Any]:
    """The attributes of ONNX's poolings.

    Where the last window might start behind the image we leave it out, as PyTorch does, ONNX does
    not.
    """
    if ceil_mode and any(k < s + p for k, s, p in zip(kernel, stride, padding, strict=True)):
        raise CannotExport(
            f"onnx: {op} with ceil_mode needs a kernel_size of at least stride + padding, got "
            f"kernel_size {kernel}, stride {stride}, padding {padding}"
        )
    return window(kernel, stride, padding, ceil_mode=int(ceil_mode))


def window(kernel: Sequence[int], stride: Pair, padding: Pair, **more: Any) -> dict[str, Any]:
    """The attributes of ONNX that say how a window slides."""
    return {"kernel_shape": [*map(int, kernel)], "strides": stride, "pads": padding * 2, **more}


def unpadded(graph: Graph, x: Value | str) -> Value | str:
    """What a pooling is given: no Pad, which onnxruntime 1.19 would make one of the pooling's own,
    where zeros do not count."""
    name = x if isinstance(x, str) else x.name
    return graph.node("Max", [x]) if name.startswith("Pad_") else x  # the maximum of one is itself


def _average(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    places = (rows.k, columns.k), (rows.s, columns.s), (rows.p, columns.p)
    options = pooling("avg_pool2d", *places, rows.ceil_mode)
    in_border = rows.count_include_pad and rows.p + columns.p > 0
    if in_border and rows.ceil_mode:
        # Older onnxruntimes count what sticks out beyond the padding too.
        x = graph.node("Pad", [x, graph.integers([0, 0, rows.p, columns.p] * 2)])
        in_border, options = False, {**options, "pads": [0] * 4}
    options["count_include_pad"] = int(in_border)
    return graph.node("AveragePool", [unpadded(graph, x)], **options)


def _adaptive(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    if rows.out == columns.out == 1:
        return graph.node("GlobalAveragePool", [x])
    y = graph.node("MatMul", [_means(graph, rows), x])  # (OH, H) · (N, C, H, W)
    across = graph.node("Transpose", [_means(graph, columns)], perm=[1, 0])
    return graph.node("MatMul", [y, across])  # (N, C, OH, W) · (W, OW)


def _means(graph: Graph, axis: Any) -> str:
    """The matrix of :class:`resampling.Adaptive` (OUT, IN), for an IN that nodes compute."""
    if graph.is_fixed(axis.n) and graph.is_fixed(axis.out):
        return graph.constant(axis.matrix().dense(), np.float32)
    # With both axes as long as n · out, output i covers i·n … (i + 1)·n and input j j·out …
    n, out, one = (graph.integers([size]) for size in (axis.n, axis.out, 1))
    column = graph.node("Unsqueeze", [_range(graph, axis.out), one])  # (OUT, 1)
    i, j = graph.node("Mul", [column, n]), graph.node("Mul", [_range(graph, axis.n), out])
    overlap = graph.node("And", [
        graph.node("Less", [i, graph.node("Add", [j, out])]),
        graph.node("Less", [j, graph.node("Add", [i, n])]),
    ])  # fmt: skip
    ones = graph.node("Cast", [overlap], to=np.dtype(np.float32))
    return graph.node("Div", [ones, graph.node("ReduceSum", [ones, one])])


def _bilinear(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    positions = "align_corners" if rows.align_corners else "half_pixel"
    return _resize(graph, rows, columns, x, "linear", positions)


def _nearest(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    if rows.scale is None and columns.scale is None:
        # Not Resize: it divides in float32, and is one pixel off where a quotient is whole.
        return _picked(graph, x, _scaled(graph, rows), _scaled(graph, columns))
    return _resize(graph, rows, columns, x, "nearest", "asymmetric")


def _resize(graph: Graph, rows: Any, columns: Any, x: Value, mode: str, positions: str) -> str:
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": positions}
    if mode == "nearest":
        options["nearest_mode"] = "floor"
    if rows.scale is None and columns.scale is None:
        sizes = graph.integers([*x.shape[:2], rows.out, columns.out])
        return graph.node("Resize", [x, None, None, sizes], **options)
    scales = [1 / (axis.scale or axis.n / axis.out) for axis in (rows, columns)]
    if any(float(np.float32(f)) != f for f in scales):
        raise CannotExport(
            f"onnx: interpolate with scale_factor {scales} is not exact in float32, so that sizes "
            "might differ by one; pass a size instead"
        )
    return graph.node("Resize", [x, None, graph.constant([1, 1, *scales], np.float32)], **options)


def _spread(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    (batch, channels, height, width), (down, across) = x.shape, (rows.factor, columns.factor)
    apart = graph.node("Reshape", [x, graph.integers([batch, channels, height, 1, width, 1])])
    pads = graph.integers([0] * 9 + [down - 1, 0, across - 1])
    cells = graph.node("Pad", [apart, pads])
    size = graph.integers([batch, channels, height * down, width * across])
    return graph.node("Reshape", [cells, size])


def _bordered(graph: Graph, rows: Any, columns: Any, x: Value) -> str:
    if rows.mode == "replicate":
        pads = [0, 0, rows.before, columns.before, 0, 0, rows.after, columns.after]
        return graph.node("Pad", [x, graph.integers(pads)], mode="edge")
    # Not Pad's own mode: it is not defined for borders larger than the image.
    return _picked(graph, x, _mirrored(graph, rows), _mirrored(graph, columns))


def _picked(graph: Graph, x: Value, rows: str, columns: str) -> str:
    """The pixels at these positions."""
    return graph.node("Gather", [graph.node("Gather", [x, rows], axis=2), columns], axis=3)


def _scaled(graph: Graph, axis: Any) -> str:
    """⌊i · n / out⌋ for every position i below out."""
    times_n = graph.node("Mul", [_range(graph, axis.out), graph.integers([axis.n])])
    return graph.node("Div", [times_n, graph.integers([axis.out])])


def _mirrored(graph: Graph, axis: Any) -> str:
    """min(j, 2(n − 1) − j), with j = i mod 2(n − 1), for every i from −before to n + after − 1."""
    period = graph.node("Max", [graph.integers([1]), graph.integers([2 * (axis.n - 1)])])
    i = _range(graph, axis.before + axis.n + axis.after), graph.integers([axis.before])
    j = graph.node("Mod", [graph.node("Sub", i), period])
    return graph.node("Min", [j, graph.node("Sub", [period, j])])


def _range(graph: Graph, n: int) -> str:
    """0 … n − 1, int64."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    return graph.node("Range", [zero, graph.scalar(n), one])


RESAMPLING: dict[type, Callable[..., Any]] = {
    resampling.Average: _average,
    resampling.Adaptive: _adaptive,
    resampling.Bilinear: _bilinear,
    resampling.Nearest: _nearest,
    resampling.Bordered: _bordered,
    resampling.Spread: _spread,
}
