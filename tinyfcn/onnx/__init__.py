"""Networks as ONNX files, for programs that run those, such as onnxruntime.

    from tinyfcn import models, onnx
    onnx.export(models.fcn8s(), "fcn8s.onnx")

The network runs, without computing (``trace.py``), and its ops become ONNX's operators
(``operators.py``, ``resampling.py``). Sizes that depend on the image are computed in the graph
(``sizes.py``, ``graph.py``), so a file takes images of any height and width, as the network does.
Needs the package ``onnx``, the extra of that name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinyfcn.files import atomic_write
from tinyfcn.nn import Module
from tinyfcn.onnx.graph import Constants, Dynamic, Graph, Value
from tinyfcn.onnx.operators import RULES
from tinyfcn.onnx.trace import INPUT, CannotExport, Trace, trace
from tinyfcn.without_values import image_shape

EXAMPLE = (3, 257, 385)  # (C, H, W) of images that most networks take
ONE_SIZE = "with dynamic=False it can be exported for one size"


def export(
    model: Module,
    path: str | os.PathLike[str],
    input_size: Sequence[int] = EXAMPLE,
    *,
    dynamic: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``model``, in evaluation mode, as an ONNX file (opset 18).

    The file's input is called "images", its output "scores"; parameters keep their names, and nodes
    have those of their layers, such as "conv1_1/Conv_0". That it is the same for images of other
    sizes is checked: it is written down for several, larger and smaller, wide and high, odd and
    even, which must agree. Meanwhile no other thread may use the model. The file cannot reject
    what the model rejects, such as sizes that do not suit a U-Net without padding.

    Args:
        model: any module that is called on images (N, C, H, W) and gives one tensor; float32.
        path: the file; it is written whole or not at all.
        input_size: (C, H, W) or (N, C, H, W) of images that the model takes. The default suits
            networks for RGB images of any size.
        dynamic: whether the file takes any number of images and any height and width; if not, only
            ``input_size``. Classifiers with fully connected layers may need that.
        metadata: strings that are kept in the file, such as how images are prepared.

    Raises:
        CannotExport: if ONNX lacks an operator, the steps depend on the images' size or values, or
            the network changes its buffers; a ValueError.
        ImportError: if ``onnx`` is missing; names the extra to install.
        ValueError: what the model itself raises for images of this size.

    Example:
        >>> import tempfile, tinyfcn
        >>> from tinyfcn import onnx
        >>> folder = tempfile.TemporaryDirectory()
        >>> onnx.export(tinyfcn.models.fcn8s(width=1 / 64), folder.name + "/fcn8s.onnx")
        >>> folder.cleanup()
    """
    from tinyfcn.onnx.proto import serialize

    size = image_shape("onnx", input_size)
    first = trace(model, size)
    if first.images.dtype != np.float32:
        raise CannotExport(f"onnx: parameters must be float32, not {first.images.dtype}")
    others, differing = [], Dynamic()
    for other in _on_other_sizes(model, size) if dynamic else ():
        differing = Dynamic(differing | _differing(first, other))
        others.append(other)
    constants: Constants = {}
    graph = _written(first, differing, constants)
    for other in others:
        _check_equal(graph, _written(other, differing, constants))
    named = [*model.named_parameters(), *model.named_buffers()]
    arrays = {name: tensor.numpy() for name, tensor in named}
    with atomic_write(path) as file:
        file.writelines(serialize(graph, first, arrays, metadata or {}))


def _on_other_sizes(model: Module, size: tuple[int, ...]) -> Iterator[Trace]:
    """The network on images of other sizes: one of which it must take, and those it can.

    No size may be special, and a comparison of sizes should have every result in one of them.
    """
    n, c, h, w = size
    yield trace(model, (n + 1, c, h + 64, w + 128))
    for image in (
        (n, c, w + 64, h), (n + 2, c, h + 1, w + 1),
        (n, c, 1090, 1028), (n, c, 75, 52), (n, c, 22, 39), (n, c, 9, 5),
    ):  # fmt: skip
        try:
            traced = trace(model, image)
        except CannotExport:
            raise
        except Exception:  # whatever a model says to images that do not suit it
            continue
        yield traced


def _written(traced: Trace, dynamic: Dynamic, constants: Constants) -> Graph:
    """The graph of a trace."""
    graph = Graph(dynamic, constants)
    graph.values[traced.images] = Value(INPUT, traced.images.shape)
    for layer, op, inputs, outputs in traced.calls:
        graph.layer, graph.op = layer, type(op).__name__
        if type(op) not in RULES:
            raise CannotExport(f"onnx: {graph.op} has no operator in ONNX")
        made = RULES[type(op)](graph, op, *map(graph.value, inputs))
        names = made if isinstance(made, tuple) else (made,)
        for tensor, name in zip(outputs, names, strict=True):
            graph.values[tensor] = Value(name, tensor.shape)
    graph.result = graph.value(traced.scores.data).name
    if graph.result == INPUT:
        graph.result = graph.node("Identity", [INPUT])
    return graph


def _differing(first: Trace, second: Trace) -> Dynamic:
    """The axes of all values that depend on the image's size."""
    kinds = [[type(call.op) for call in one.calls] for one in (first, second)]
    if kinds[0] != kinds[1]:
        raise CannotExport(
            f"onnx: for images of other sizes the network takes other steps: {len(kinds[0])} ops "
            f"for {first.images.shape}, {len(kinds[1])} for {second.images.shape}; {ONE_SIZE}"
        )
    return frozenset(
        (a.name, axis)
        for a, b in zip(first.tensors, second.tensors, strict=True)
        for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True))
        if m != n
    )


def _check_equal(graph: Graph, other: Graph) -> None:
    """Reject a network of which something was written down that belongs to one size only."""
    for a, b in zip(graph.nodes, other.nodes, strict=False):
        if a != b:
            raise CannotExport(
                "onnx: the network computes something from the image's size that cannot be "
                f"followed (what {a.outputs[0]} needs); {ONE_SIZE}"
            )
    if graph.result != other.result or len(graph.nodes) != len(other.nodes):
        raise CannotExport(
            f"onnx: for images of other sizes the network gives another one of its tensors; "
            f"{ONE_SIZE}"
        )


__all__ = ["EXAMPLE", "CannotExport", "export"]
