"""The graph as the bytes of an ONNX file; the only place that needs the package ``onnx``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.onnx.graph import Graph, Node
from tinyfcn.onnx.trace import INPUT, CannotExport, Trace, Traced

OUTPUT = "scores"
LARGEST = 2 << 30  # bytes that a protocol buffer may have
OPSET, IR_VERSION = 18, 8  # the latter of the opset's time: older programs reject what is newer

# The numbers of the fields of onnx.proto that are written here.
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9


def serialize(
    graph: Graph,
    traced: Trace,
    parameters: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
) -> Iterator[Any]:
    """The file, piece by piece.

    Raises:
        CannotExport: if it would be too large, or is not valid ONNX, which is a defect of ours.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise ImportError(
            "exporting needs the package onnx: install the extra with `pip install tinyfcn[onnx]`"
        ) from error
    kept, used = graph.without_unused()
    arrays = {name: array for name, array in parameters.items() if name in used}
    total = sum(array.nbytes for array in arrays.values())
    if total >= LARGEST - (1 << 20):
        raise CannotExport(f"onnx: {total:,} bytes of weights are more than a file can hold")

    def declared(name: str, sizes: Sequence[Any]) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)

    # Helpers, checker and protobuf copy all that they are given, so for them parameters are inputs:
    # only shapes. The numbers are written one array after the other.
    images, scores = (_sizes(graph, traced, value) for value in (traced.images, traced.scores))
    constants = [(array, name) for name, array in graph.constants.values() if name in used]
    model = helper.make_model(
        helper.make_graph(
            [_node(helper, node, graph.result) for node in kept],
            "tinyfcn",
            [declared(INPUT, images), *(declared(name, a.shape) for name, a in arrays.items())],
            [declared(OUTPUT, scores)],
            [onnx.numpy_helper.from_array(*constant) for constant in constants],
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
        tensor = onnx.TensorProto(name=name, dims=array.shape, data_type=onnx.TensorProto.FLOAT)
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


def _node(helper: Any, node: Node, result: str) -> Any:
    layer, kind, *ends, attributes = node
    inputs, outputs = ([OUTPUT if name == result else name for name in names] for names in ends)
    if "to" in attributes:
        attributes = {"to": helper.np_dtype_to_tensor_dtype(attributes["to"])}
    return helper.make_node(kind, inputs, outputs, f"{layer}/{node.outputs[0]}", **attributes)


def _sizes(graph: Graph, traced: Trace, value: Traced) -> list[int | str | None]:
    """Those that depend on the images are called N, H and W where they equal theirs."""
    images = traced.images.data.shape
    return [
        n if (value.name, axis) not in graph.dynamic
        else "NCHW"[axis] if images[axis : axis + 1] == (n,)
        else None
        for axis, n in enumerate(value.data.shape)
    ]  # fmt: skip
