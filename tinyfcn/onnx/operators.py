"""Each op of a forward pass as ONNX's operators; what is resampled has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn.function import Function
from tinyfcn.functional import arithmetic as a
from tinyfcn.functional.activation import ELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax
from tinyfcn.functional.comparison import Abs, Less, Maximum, Where
from tinyfcn.functional.conv import Conv2d, Conv2dInputGrad
from tinyfcn.functional.normalization import BatchNorm, LocalResponseNorm
from tinyfcn.functional.padding import PadConstant
from tinyfcn.functional.pooling import MaxPool2d
from tinyfcn.functional.reduction import BroadcastTo, Max, Sum
from tinyfcn.functional.resampling import Resample2d
from tinyfcn.functional.shape import Cat, GetItem, Permute, Reshape, full_index
from tinyfcn.functional.sizes import conv_transpose_size
from tinyfcn.functional.unpooling import ScatterPlane
from tinyfcn.onnx.graph import Graph, Value
from tinyfcn.onnx.resampling import pooling, resample2d, unpadded, window
from tinyfcn.onnx.trace import CannotExport

Rule = Callable[..., Any]

LAST = np.iinfo(np.int64).max  # Slice: to the end


# ---- convolution ----


def _conv2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    y = graph.node("Conv", [x, weight, bias], **_window(op, weight))
    return graph.node("Relu", [y]) if op.relu else y


def _conv_transpose2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    stride, pad, dilation, _ = op.window
    axes = zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, op.size, strict=True)
    extra = [
        int(size) - int(conv_transpose_size(n, k, s, p, d, output_padding=0))
        for n, k, s, p, d, size in axes
    ]
    options, name = _window(op, weight), x.name
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        # More than onnxruntime adds (1.19 gives wrong numbers): less is cut off at the end instead,
        # behind rows and columns of zeros where that is not enough.
        cut = list(zip(extra, stride, pad, strict=True))
        zeros = [-(min(0, p - e) // s) for e, s, p in cut]
        name = graph.node("Pad", [x, graph.integers([*[0] * 6, *zeros])])
        ends = [p - e + m * s for (e, s, p), m in zip(cut, zeros, strict=True)]
        options, extra = {**options, "pads": (*pad, *ends)}, [0, 0]
    return graph.node("ConvTranspose", [name, weight, bias], output_padding=extra, **options)


def _window(op: Any, weight: Value) -> dict[str, Any]:
    stride, padding, dilation, groups = op.window
    return window(weight.shape[2:], stride, padding, dilations=dilation, group=groups)


# ---- pooling and unpooling ----


def _max_pool2d(graph: Graph, op: Any, x: Value) -> Any:
    kernel, stride, pad, dilation = op.window
    options = pooling("max_pool2d", kernel, stride, pad, op.ceil_mode) | {"dilations": dilation}
    if not op.return_indices:
        return graph.node("MaxPool", [unpadded(graph, x)], **options)
    y, where = graph.node("MaxPool", [unpadded(graph, x)], outputs=2, **options)
    # ONNX counts through the whole array, we through the plane of each channel: h · W + w.
    return y, graph.node("Mod", [where, graph.integers([x.shape[2] * x.shape[3]])])


def _max_unpool2d(graph: Graph, op: Any, x: Value, indices: Value) -> str:
    # Not MaxUnpool: onnxruntime gives no map of odd sides back with it, and where windows
    # overlap it keeps one value instead of adding them up.
    (batch, channels), (height, width) = x.shape[:2], op.size
    flat = graph.integers([batch, channels, x.shape[2] * x.shape[3]])
    plane = graph.integers([batch, channels, height * width])
    zeros = graph.node("Expand", [graph.constant(0, np.float32), plane])
    where, values = (graph.node("Reshape", [name, flat]) for name in (indices, x))
    sums = graph.node("ScatterElements", [zeros, where, values], axis=2, reduction="add")
    return graph.node("Reshape", [sums, graph.integers([batch, channels, height, width])])


# ---- normalization ----


def _batch_norm(graph: Graph, op: Any, x: Value, weight: Value | None, bias: Value | None) -> str:
    mean, var = map(graph.value, (op.running_mean, op.running_var))
    scale = weight or graph.constant(np.ones(mean.shape, np.float32))
    shift = bias or graph.constant(np.zeros(mean.shape, np.float32))
    y = graph.node("BatchNormalization", [x, scale, shift, mean, var], epsilon=op.eps)
    return graph.node("Relu", [y]) if op.relu else y


def _local_response_norm(graph: Graph, op: Any, x: Value) -> str:
    size, alpha, beta, k = op.options
    if size % 2 == 0:
        raise CannotExport(
            f"onnx: local_response_norm of size {size}, which is even, has other windows in ONNX"
        )
    return graph.node("LRN", [x], size=size, alpha=alpha, beta=beta, bias=k)


# ---- shapes ----


def _getitem(graph: Graph, op: Any, x: Value) -> str:
    parts = full_index(op.index, len(x.shape))
    if not all(p is None or isinstance(p, int | slice) for p in parts):
        raise CannotExport("onnx: indexing with arrays; numbers and slices can be exported")
    old = [p for p in parts if p is not None]
    numbers = [axis for axis, p in enumerate(old) if isinstance(p, int)]
    slices = [slice(p, p + 1 or None) if isinstance(p, int) else p for p in old]
    cuts = [
        (0 if p.start is None else p.start, LAST if p.stop is None else p.stop, axis, p.step or 1)
        for axis, p in enumerate(slices)
        if p != slice(None)
    ]
    if any(step < 1 for *_, step in cuts):
        raise CannotExport("onnx: indexing backwards; steps above 0 can be exported")
    name: Any = x
    if cuts:
        name = graph.node("Slice", [x, *map(graph.integers, zip(*cuts, strict=True))])
    if numbers:
        name = graph.node("Squeeze", [name, graph.integers(numbers)])
    rest = [p for p in parts if not isinstance(p, int)]
    new = [axis for axis, p in enumerate(rest) if p is None]
    return graph.node("Unsqueeze", [name, graph.integers(new)]) if new else name


def _pad(graph: Graph, op: Any, x: Value) -> str:
    pads = graph.integers([0, 0, *op.before, 0, 0, *op.after])
    return graph.node("Pad", [x, pads, graph.constant(op.value, np.float32)])


# ---- the table ----


def _same(kind: str, **attributes: str) -> Rule:
    """One operator, whose attributes have these names here."""

    def rule(graph: Graph, op: Any, *inputs: Value) -> str:
        own = {name: getattr(op, attribute) for name, attribute in attributes.items()}
        return str(graph.node(kind, inputs, **own))

    return rule


def _with(kind: str, numbers: Callable[[Any], Sequence[int]]) -> Rule:
    """One operator, whose second input are these integers of the op."""
    return lambda graph, op, x: graph.node(kind, [x, graph.integers(numbers(op))])


# A rule is given the graph, the op and its inputs as values; it adds nodes, and returns the names
# of what comes out. Operators are those of opset 18 (https://onnx.ai/onnx/operators).
RULES: dict[type[Function], Rule] = {
    a.Add: _same("Add"), a.Sub: _same("Sub"), a.Mul: _same("Mul"), a.Div: _same("Div"),
    a.Neg: _same("Neg"), a.Pow: _same("Pow"), a.Exp: _same("Exp"), a.Log: _same("Log"),
    a.Sqrt: _same("Sqrt"), a.Tanh: _same("Tanh"), a.MatMul: _same("MatMul"),
    Abs: _same("Abs"), Less: _same("Less"), Maximum: _same("Max"), Where: _same("Where"),
    ReLU: _same("Relu"), Sigmoid: _same("Sigmoid"),
    ELU: _same("Elu", alpha="alpha"), LeakyReLU: _same("LeakyRelu", alpha="slope"),
    Softmax: _same("Softmax", axis="dim"), LogSoftmax: _same("LogSoftmax", axis="dim"),
    Cat: _same("Concat", axis="dim"), Permute: _same("Transpose", perm="dims"),
    Reshape: _with("Reshape", lambda op: op.shape),
    BroadcastTo: _with("Expand", lambda op: op.shape),
    Sum: _with("ReduceSum", lambda op: op.dims), Max: _with("ReduceMax", lambda op: [op.dim]),
    Conv2d: _conv2d, Conv2dInputGrad: _conv_transpose2d, GetItem: _getitem, PadConstant: _pad,
    MaxPool2d: _max_pool2d, ScatterPlane: _max_unpool2d, Resample2d: resample2d,
    BatchNorm: _batch_norm, LocalResponseNorm: _local_response_norm,
}  # fmt: skip
