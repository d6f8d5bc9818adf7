"""An ONNX graph while it is being written: nodes, constants, and sizes that nodes compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.meta import has_values
from tinyfcn.onnx.sizes import Size
from tinyfcn.onnx.trace import CannotExport, Traced

# The axes that are not the same for all images, as (name of a traced tensor, axis).
Dynamic = frozenset[tuple[str, int]]

Constants = dict[Any, tuple[str, NDArray[Any]]]


class Value(NamedTuple):
    """An array of the graph: its name there, and its sizes."""

    name: str
    shape: tuple[int, ...]


class Node(NamedTuple):
    """One operator of a layer; an absent input has the name ""."""

    layer: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class Graph:
    """Nodes in order, and the constants that they use.

    Attributes:
        layer, op: the names of the layer and of the op for which nodes are being added.
        values: what the traced tensors are here.
        nodes: in the order in which they were added.
        constants: names and arrays, by what they are; graphs that are compared have them together.
        result: the name of what the network gives.
    """

    result: str

    def __init__(self, dynamic: Dynamic, constants: Constants) -> None:
        self.dynamic, self.constants = dynamic, constants
        self.layer = self.op = ""
        self.values: dict[Traced, Value] = {}
        self.nodes: list[Node] = []
        self._present: dict[Any, Any] = {}  # the names of what nodes give, by what they are

    def value(self, x: Any) -> Any:
        """What an op was given, as a value of the graph; None stays None."""
        source = getattr(x, "source", x)
        if source is None:
            return None
        if isinstance(source, Traced) and source in self.values:
            return self.values[source]
        if isinstance(source, str):
            return Value(source, x.shape)
        if isinstance(source, Size):
            return Value(self.node("Cast", [self.scalar(source)], to=x.dtype), ())
        if type(source) is not np.ndarray or not has_values(source):
            raise self._unknown()
        return Value(self.constant(source), source.shape)

    def _unknown(self) -> CannotExport:
        return CannotExport(
            f"onnx: {self.op} uses values that were computed outside the ops of "
            "tinyfcn.functional, so they would be the same for every image"
        )

    def node(
        self, kind: str, inputs: Iterable[Value | str | None], outputs: int = 1, **attributes: Any
    ) -> Any:
        """The name of an operator's output, or several; it is added unless it is there already.

        Its inputs are values or their names.
        """
        given = [x.name if isinstance(x, Value) else x or "" for x in inputs]
        while given and not given[-1]:
            given.pop()
        key = kind, *given, outputs, str(attributes)
        if key not in self._present:
            start = f"{kind}_{len(self.nodes)}"
            names = (start, *(f"{start}.{i}" for i in range(1, outputs)))
            self.nodes.append(Node(self.layer, kind, tuple(given), names, attributes))
            self._present[key] = names[0] if outputs == 1 else names
        return self._present[key]

    def constant(self, values: Any, dtype: Any = None) -> str:
        """The name of an array that is part of the graph; equal ones are stored once."""
        array = np.asarray(values, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        name, _ = self.constants.setdefault(key, (f"constant_{len(self.constants)}", array))
        return name

    def integers(self, sizes: Sequence[int]) -> str:
        """Integers as one array, int64; those that depend on the image are computed."""
        if all(map(self.is_fixed, sizes)):
            return self.constant([int(n) for n in sizes], np.int64)
        parts = [self._size(n) for n in sizes]
        return parts[0] if len(parts) == 1 else str(self.node("Concat", parts, axis=0))

    def scalar(self, n: int) -> str:
        """One integer as an array without axes, int64."""
        return str(self.node("Squeeze", [self.integers([n]), self.integers([0])]))

    def is_fixed(self, n: int) -> bool:
        """Whether a size is the same for all images."""
        if not isinstance(n, Size):
            return True
        kind, *operands = n.formula
        if kind == "axis":
            traced, axis = operands
            return (traced.name, axis) not in self.dynamic
        return all(map(self.is_fixed, operands))

    def _size(self, n: int) -> str:
        """One size, as an array of one number."""
        if self.is_fixed(n) or not isinstance(n, Size):
            return self.constant([int(n)], np.int64)
        kind, *operands = n.formula
        if kind == "axis":
            traced, axis = operands
            if traced not in self.values:  # a size that the network remembers from another call
                raise self._unknown()
            return str(self.node("Shape", [self.values[traced]], start=axis, end=axis + 1))
        inputs = list(map(self._size, operands))
        if kind == "Div":  # ONNX's rounds towards 0, but its Mod has the divisor's sign
            inputs[0] = self.node("Sub", [inputs[0], self.node("Mod", inputs)])
        return str(self.node(kind, inputs))

    def without_unused(self) -> tuple[list[Node], set[str]]:
        """The nodes that lead to the result, and the names of all that they use."""
        used, kept = {self.result}, []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.outputs):
                used.update(node.inputs)
                kept.append(node)
        return kept[::-1], used
