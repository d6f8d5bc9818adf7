"""Each op of a forward pass as ONNX's operators; what is resampled has a file of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.functional import (
    activation,
    arithmetic,
    comparison,
    conv,
    normalization,
    padding,
    pooling,
    reduction,
    second_order,
    shape,
    unpooling,
)
from tinyfcn.functional.sizes import conv_transpose_size
from tinyfcn.onnx.graph import Graph, Value
from tinyfcn.onnx.rules import CannotExport, check_rounding_up, rule

LAST = np.iinfo(np.int64).max  # Slice: to the end

# ---- element by element ----

SAME = {
    arithmetic.Add: "Add", arithmetic.Sub: "Sub", arithmetic.Mul: "Mul", arithmetic.Div: "Div",
    arithmetic.Neg: "Neg", arithmetic.Pow: "Pow", arithmetic.Exp: "Exp", arithmetic.Log: "Log",
    arithmetic.Sqrt: "Sqrt", arithmetic.Tanh: "Tanh", arithmetic.MatMul: "MatMul",
    activation.ReLU: "Relu", activation.Sigmoid: "Sigmoid",
    comparison.Abs: "Abs", comparison.Less: "Less", comparison.Maximum: "Max",
    comparison.Where: "Where",
    second_order.Alias: "Identity",
}  # fmt: skip


@rule(*SAME)
def _same(graph: Graph, op: Any, *inputs: Value) -> str:
    return graph.node(SAME[type(op)], [x.name for x in inputs])


@rule(activation.LeakyReLU)
def _leaky_relu(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("LeakyRelu", [x.name], alpha=op.slope)


@rule(activation.ELU)
def _elu(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Elu", [x.name], alpha=op.alpha)


@rule(activation.Softmax, activation.LogSoftmax)
def _softmax(graph: Graph, op: Any, x: Value) -> str:
    return graph.node(type(op).__name__, [x.name], axis=op.dim)


# ---- convolution ----


@rule(conv.Conv2d)
def _conv2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    inputs = [x.name, weight.name, bias and bias.name]
    y = graph.node("Conv", inputs, **_window(op.window, weight))
    return graph.node("Relu", [y]) if op.relu else y


@rule(conv.Conv2dInputGrad)
def _conv_transpose2d(graph: Graph, op: Any, x: Value, weight: Value, bias: Value | None) -> str:
    stride, pad, dilation, _ = op.window
    axes = zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, op.size, strict=True)
    extra = [
        int(size) - int(conv_transpose_size(n, k, s, p, d, output_padding=0))
        for n, k, s, p, d, size in axes
    ]
    inputs = [x.name, weight.name, bias and bias.name]
    options = _window(op.window, weight)
    return graph.node("ConvTranspose", inputs, output_padding=extra, **options)


def _window(window: conv.ConvWindow, weight: Value) -> dict[str, Any]:
    return {
        "kernel_shape": [int(k) for k in weight.shape[2:]],
        "strides": window.stride,
        "pads": window.padding * 2,
        "dilations": window.dilation,
        "group": window.groups,
    }


# ---- pooling and unpooling ----


@rule(pooling.MaxPool2d)
def _max_pool2d(graph: Graph, op: Any, x: Value) -> Any:
    kernel, stride, pad, dilation = op.window
    check_rounding_up("max_pool2d", op.ceil_mode, kernel, stride, pad)
    options = {
        "kernel_shape": kernel, "strides": stride, "pads": pad * 2, "dilations": dilation,
        "ceil_mode": int(op.ceil_mode),
    }  # fmt: skip
    if not op.return_indices:
        return graph.node("MaxPool", [x.name], **options)
    y, where = graph.node("MaxPool", [x.name], outputs=2, **options)
    # ONNX counts through the whole array, we through the plane of each channel: h · W + w.
    return y, graph.node("Mod", [where, graph.whole([x.shape[2] * x.shape[3]])])


@rule(unpooling.ScatterPlane)
def _max_unpool2d(graph: Graph, op: Any, x: Value, indices: Value) -> str:
    # Not MaxUnpool: onnxruntime refuses to give a map of odd sides back with it, and where windows
    # overlap it keeps one value instead of adding them up.
    (batch, channels), (height, width) = x.shape[:2], op.size
    flat = graph.whole([batch, channels, -1])
    plane = graph.whole([batch, channels, height * width])
    zeros = graph.node("Expand", [graph.constant(0, np.float32), plane])
    where, values = (graph.node("Reshape", [name, flat]) for name in (indices.name, x.name))
    sums = graph.node("ScatterElements", [zeros, where, values], axis=2, reduction="add")
    return graph.node("Reshape", [sums, graph.whole([batch, channels, height, width])])


# ---- normalization ----


@rule(normalization.BatchNorm)
def _batch_norm(graph: Graph, op: Any, x: Value, weight: Value | None, bias: Value | None) -> str:
    mean, var = graph.value(op.mean), graph.value(op.var)
    scale = weight.name if weight else graph.constant(np.ones(mean.shape, np.float32))
    shift = bias.name if bias else graph.constant(np.zeros(mean.shape, np.float32))
    inputs = [x.name, scale, shift, mean.name, var.name]
    y = graph.node("BatchNormalization", inputs, epsilon=op.eps)
    return graph.node("Relu", [y]) if op.relu else y


@rule(normalization.LocalResponseNorm)
def _local_response_norm(graph: Graph, op: Any, x: Value) -> str:
    size, alpha, beta, k = op.options
    if size % 2 == 0:
        raise CannotExport(
            f"onnx: local_response_norm of size {size}, which is even, has other windows in ONNX"
        )
    return graph.node("LRN", [x.name], size=size, alpha=alpha, beta=beta, bias=k)


# ---- shapes ----


@rule(shape.Reshape)
def _reshape(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Reshape", [x.name, graph.whole(op.shape)])


@rule(shape.Permute)
def _permute(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Transpose", [x.name], perm=op.dims)


@rule(shape.Cat)
def _cat(graph: Graph, op: Any, *xs: Value) -> str:
    return graph.node("Concat", [x.name for x in xs], axis=op.dim)


@rule(shape.GetItem)
def _getitem(graph: Graph, op: Any, x: Value) -> str:
    parts = list(op.index)
    if not all(p is None or p is Ellipsis or isinstance(p, int | slice) for p in parts):
        raise CannotExport("onnx: indexing with arrays; numbers and slices can be exported")
    if Ellipsis in parts:
        given = sum(p is not None and p is not Ellipsis for p in parts)
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(x.shape) - given)
    old = [p for p in parts if p is not None]
    numbers = [axis for axis, p in enumerate(old) if isinstance(p, int)]
    slices = [slice(p, p + 1 or None) if isinstance(p, int) else p for p in old]
    cuts = [(axis, p) for axis, p in enumerate(slices) if p != slice(None)]
    if any((p.step or 1) < 1 for _, p in cuts):
        raise CannotExport("onnx: indexing backwards; steps above 0 can be exported")
    name = x.name
    if cuts:
        name = graph.node("Slice", [
            name,
            graph.whole([0 if p.start is None else p.start for _, p in cuts]),
            graph.whole([LAST if p.stop is None else p.stop for _, p in cuts]),
            graph.whole([axis for axis, _ in cuts]),
            graph.whole([1 if p.step is None else p.step for _, p in cuts]),
        ])  # fmt: skip
    if numbers:
        name = graph.node("Squeeze", [name, graph.whole(numbers)])
    rest = [p for p in parts if not isinstance(p, int)]
    new = [axis for axis, p in enumerate(rest) if p is None]
    return graph.node("Unsqueeze", [name, graph.whole(new)]) if new else name


@rule(padding.PadConstant)
def _pad(graph: Graph, op: Any, x: Value) -> str:
    pads = graph.whole([0, 0, *op.before, 0, 0, *op.after])
    return graph.node("Pad", [x.name, pads, graph.constant(op.value, np.float32)])


# ---- over axes ----


@rule(reduction.Sum)
def _sum(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("ReduceSum", [x.name, graph.whole(op.dims)], keepdims=1)


@rule(reduction.Max)
def _max(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("ReduceMax", [x.name, graph.whole([op.dim])], keepdims=1)


@rule(reduction.BroadcastTo)
def _broadcast_to(graph: Graph, op: Any, x: Value) -> str:
    return graph.node("Expand", [x.name, graph.whole(op.shape)])
