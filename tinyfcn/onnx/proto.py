"""The graph as the bytes of an ONNX file; the only place that needs the package ``onnx``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.onnx.graph import Dynamic, Graph, Node
from tinyfcn.onnx.rules import OPSET, CannotExport
from tinyfcn.onnx.trace import INPUT, Trace, Traced

OUTPUT = "scores"
LARGEST = 2 << 30  # bytes that a protocol buffer may have
IR_VERSION = 8  # of the opset's time: older programs reject what is newer

# The numbers of the fields of onnx.proto that are written here.
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9


def serialize(
    graph: Graph,
    traced: Trace,
    dynamic: Dynamic,
    parameters: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
) -> Iterator[Any]:
    """The file, piece by piece.

    Raises:
        CannotExport: if it would be too large, or is not valid ONNX, which is a defect of ours.
    """
    onnx = _package()
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    last = graph.result
    nodes, constants = graph.without_unused([last])
    used = {name for node in nodes for name in node.inputs}
    arrays = {name: array for name, array in parameters.items() if name in used}
    total = sum(array.nbytes for array in arrays.values())
    if total >= LARGEST - (1 << 20):
        raise CannotExport(f"onnx: {total:,} bytes of weights are more than a file can hold")

    images, scores = (
        helper.make_tensor_value_info(name, floats, _sizes(value, traced, dynamic))
        for name, value in ((INPUT, traced.images), (OUTPUT, traced.scores))
    )
    # Helpers, checker and protobuf copy all that they are given, so for them parameters are inputs:
    # only shapes. The numbers are written one array after the other.
    shapes = [helper.make_tensor_value_info(name, floats, a.shape) for name, a in arrays.items()]
    model = helper.make_model(
        helper.make_graph(
            [_node(helper, node, {last: OUTPUT}) for node in nodes],
            "tinyfcn",
            [images, *shapes],
            [scores],
            [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="tinyfcn",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CannotExport(f"onnx: {error}") from error

    del model.graph.input[1:]
    parts: list[Any] = [model.graph.SerializeToString()]
    for name, array in arrays.items():
        tensor = onnx.TensorProto(name=name, dims=array.shape, data_type=floats)
        numbers = _field(TENSOR_RAW_DATA, [np.ascontiguousarray(array, "<f4").reshape(-1).data])
        parts += _field(GRAPH_INITIALIZER, [tensor.SerializeToString(), *numbers])
    model.ClearField("graph")
    yield model.SerializeToString()
    yield from _field(MODEL_GRAPH, parts)


def _field(number: int, parts: list[Any]) -> list[Any]:
    """A field of a protocol buffer that holds these bytes: its key, their length, and they.

    https://protobuf.dev/programming-guides/encoding, "length-delimited records"
    """
    return [_varint(number << 3 | 2) + _varint(sum(memoryview(p).nbytes for p in parts)), *parts]


def _varint(n: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth bit set."""
    low = bytearray()
    while n > 127:
        low.append(n & 127 | 128)
        n >>= 7
    return bytes([*low, n])


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "exporting needs the package onnx: install the extra with `pip install tinyfcn[onnx]`"
        ) from error
    return onnx


def _node(helper: Any, node: Node, renamed: Mapping[str, str]) -> Any:
    inputs, outputs = (
        [renamed.get(name, name) for name in names] for names in (node.inputs, node.outputs)
    )
    made = helper.make_node(node.kind, inputs, outputs, name=f"{node.layer}/{node.outputs[0]}")
    for name, value in node.attributes.items():
        if isinstance(value, np.dtype):
            value = helper.np_dtype_to_tensor_dtype(value)
        made.attribute.append(helper.make_attribute(name, value))
    return made


def _sizes(value: Traced, traced: Trace, dynamic: Dynamic) -> list[int | str | None]:
    """Those that depend on the images are called N, H and W where they equal theirs."""
    images = traced.images.data.shape
    return [
        n if (value.name, axis) not in dynamic
        else "NCHW"[axis] if images[axis : axis + 1] == (n,)
        else None
        for axis, n in enumerate(value.data.shape)
    ]  # fmt: skip
