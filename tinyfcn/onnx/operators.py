"""Each op of a forward pass as ONNX's operators; what is resampled has a file of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.functional import arithmetic as a
from tinyfcn.functional.activation import ELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax
from tinyfcn.functional.comparison import Abs, Less, Maximum, Where
from tinyfcn.functional.conv import Conv2d, Conv2dInputGrad, ConvWindow
from tinyfcn.functional.normalization import BatchNorm, LocalResponseNorm
from tinyfcn.functional.padding import PadConstant
from tinyfcn.functional.pooling import MaxPool2d
from tinyfcn.functional.reduction import BroadcastTo, Max, Sum
from tinyfcn.functional.second_order import Alias
from tinyfcn.functional.shape import Cat, GetItem, Permute, Reshape, full_index
from tinyfcn.functional.sizes import conv_transpose_size
from tinyfcn.functional.unpooling import ScatterPlane
from tinyfcn.onnx.graph import Graph, Value
from tinyfcn.onnx.rules import CannotExport, check_rounding_up, rule

LAST = np.iinfo(np.int64).max  # Slice: to the end

# Ops that are one operator: its name, and its attributes by the names that they have here.
SAME: dict[Any, tuple[str, dict[str, str]]] = {
    a.Add: ("Add", {}), a.Sub: ("Sub", {}), a.Mul: ("Mul", {}), a.Div: ("Div", {}),
    a.Neg: ("Neg", {}), a.Pow: ("Pow", {}), a.Exp: ("Exp", {}), a.Log: ("Log", {}),
    a.Sqrt: ("Sqrt", {}), a.Tanh: ("Tanh", {}), a.MatMul: ("MatMul", {}),
    Abs: ("Abs", {}), Less: ("Less", {}), Maximum: ("Max", {}), Where: ("Where", {}),
    ReLU: ("Relu", {}), Sigmoid: ("Sigmoid", {}), Alias: ("Identity", {}),
    ELU: ("Elu", {"alpha": "alpha"}), LeakyReLU: ("LeakyRelu", {"alpha": "slope"}),
    Softmax: ("Softmax", {"axis": "dim"}), LogSoftmax: ("LogSoftmax", {"axis": "dim"}),
    Cat: ("Concat", {"axis": "dim"}), Permute: ("Transpose", {"perm": "dims"}),
}  # fmt: skip


@rule(*SAME)
def _same(graph: Graph, op: Any, *inputs: Value) -> str:
    kind, attributes = SAME[type(op)]
    return graph.node(kind, inputs, **{name: getattr(op, own) for name, own in attributes.items()})


# ---- convolution ----


@rule(Conv2d)
def _conv2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    y = graph.node("Conv", [x, weight, bias], **_window(op.window, weight))
    return graph.node("Relu", [y]) if op.relu else y


@rule(Conv2dInputGrad)
def _conv_transpose2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    stride, pad, dilation, _ = op.window
    axes = zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, op.size, strict=True)
    extra = [
        int(size) - int(conv_transpose_size(n, k, s, p, d, output_padding=0))
        for n, k, s, p, d, size in axes
    ]
    options = _window(op.window, weight)
    return graph.node("ConvTranspose", [x, weight, bias], output_padding=extra, **options)


def _window(window: ConvWindow, weight: Value) -> dict[str, Any]:
    return {
        "kernel_shape": [int(k) for k in weight.shape[2:]],
        "strides": window.stride,
        "pads": window.padding * 2,
        "dilations": window.dilation,
        "group": window.groups,
    }


# ---- pooling and unpooling ----


@rule(MaxPool2d)
def _max_pool2d(graph: Graph, op: Any, x: Value) -> Any:
    kernel, stride, pad, dilation = op.window
    check_rounding_up("max_pool2d", op.ceil_mode, kernel, stride, pad)
    options = {
        "kernel_shape": kernel, "strides": stride, "pads": pad * 2, "dilations": dilation,
        "ceil_mode": int(op.ceil_mode),
    }  # fmt: skip
    if not op.return_indices:
        return graph.node("MaxPool", [x], **options)
    y, where = graph.node("MaxPool", [x], outputs=2, **options)
    # ONNX counts through the whole array, we through the plane of each channel: h · W + w.
    return y, graph.node("Mod", [where, graph.integers([x.shape[2] * x.shape[3]])])


@rule(ScatterPlane)
def _max_unpool2d(graph: Graph, op: Any, x: Value, indices: Value) -> str:
    # Not MaxUnpool: onnxruntime gives no map of odd sides back with it, and where windows
    # overlap it keeps one value instead of adding them up.
    (batch, channels), (height, width) = x.shape[:2], op.size
    flat = graph.integers([batch, channels, -1])
    plane = graph.integers([batch, channels, height * width])
    zeros = graph.node("Expand", [graph.constant(0, np.float32), plane])
    where, values = (graph.node("Reshape", [name, flat]) for name in (indices, x))
    sums = graph.node("ScatterElements", [zeros, where, values], axis=2, reduction="add")
    return graph.node("Reshape", [sums, graph.integers([batch, channels, height, width])])


# ---- normalization ----


@rule(BatchNorm)
def _batch_norm(graph: Graph, op: Any, x: Value, weight: Value | None, bias: Value | None) -> str:
    mean, var = graph.value(op.mean), graph.value(op.var)
    scale = weight or graph.constant(np.ones(mean.shape, np.float32))
    shift = bias or graph.constant(np.zeros(mean.shape, np.float32))
    y = graph.node("BatchNormalization", [x, scale, shift, mean, var], epsilon=op.eps)
    return graph.node("Relu", [y]) if op.relu else y


@rule(LocalResponseNorm)
def _local_response_norm(graph: Graph, op: Any, x: Value) -> str:
    size, alpha, beta, k = op.options
    if size % 2 == 0:
        raise CannotExport(
            f"onnx: local_response_norm of size {size}, which is even, has other windows in ONNX"
        )
    return graph.node("LRN", [x], size=size, alpha=alpha, beta=beta, bias=k)


# ---- shapes ----


@rule(Reshape)
def _reshape(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Reshape", [x, graph.integers(op.shape)])


@rule(GetItem)
def _getitem(graph: Graph, op: Any, x: Value) -> str:
    parts = full_index(op.index, len(x.shape))
    if not all(p is None or isinstance(p, int | slice) for p in parts):
        raise CannotExport("onnx: indexing with arrays; numbers and slices can be exported")
    old = [p for p in parts if p is not None]
    numbers = [axis for axis, p in enumerate(old) if isinstance(p, int)]
    slices = [slice(p, p + 1 or None) if isinstance(p, int) else p for p in old]
    cuts = [(axis, p) for axis, p in enumerate(slices) if p != slice(None)]
    if any((p.step or 1) < 1 for _, p in cuts):
        raise CannotExport("onnx: indexing backwards; steps above 0 can be exported")
    name: Any = x
    if cuts:
        name = graph.node("Slice", [
            name,
            graph.integers([0 if p.start is None else p.start for _, p in cuts]),
            graph.integers([LAST if p.stop is None else p.stop for _, p in cuts]),
            graph.integers([axis for axis, _ in cuts]),
            graph.integers([1 if p.step is None else p.step for _, p in cuts]),
        ])  # fmt: skip
    if numbers:
        name = graph.node("Squeeze", [name, graph.integers(numbers)])
    rest = [p for p in parts if not isinstance(p, int)]
    new = [axis for axis, p in enumerate(rest) if p is None]
    return graph.node("Unsqueeze", [name, graph.integers(new)]) if new else name


@rule(PadConstant)
def _pad(graph: Graph, op: Any, x: Value) -> str:
    pads = graph.integers([0, 0, *op.before, 0, 0, *op.after])
    return graph.node("Pad", [x, pads, graph.constant(op.value, np.float32)])


# ---- over axes ----


@rule(Sum)
def _sum(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("ReduceSum", [x, graph.integers(op.dims)], keepdims=1)


@rule(Max)
def _max(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("ReduceMax", [x, graph.integers([op.dim])], keepdims=1)


@rule(BroadcastTo)
def _broadcast_to(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Expand", [x, graph.integers(op.shape)])
