"""An ONNX graph while it is being written: nodes, constants, and sizes that nodes compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.onnx.sizes import Size
from tinyfcn.onnx.trace import Traced
from tinyfcn.tensor import Tensor

# The axes that are not the same for all images, as (name of a value, axis).
Dynamic = frozenset[tuple[str, int]]


class UnknownValue(Exception):
    """Something that no op made, and that is neither a parameter nor a constant."""


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
        layer: the name of the layer to which nodes are being added.
        nodes: in the order in which they were added.
        constants: arrays by name.
        result: the name of what the network gives.
    """

    result: str

    def __init__(self, known: dict[int, Any], dynamic: Dynamic) -> None:
        self.dynamic = dynamic
        self.layer = ""
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._known = known  # see Trace
        self._traced: dict[str, Traced] = {}
        self._names: dict[str, str] = {}  # those that traced values have here
        self._computed: dict[Any, str] = {}  # sizes and constants that are there already

    def add(self, traced: Traced, name: str) -> None:
        """Let a traced value be the graph's value ``name``."""
        self._traced[traced.name] = traced
        self._names[traced.name] = name
        self._known[id(traced.data)] = traced

    def value(self, x: Any) -> Any:
        """What an op was given, as a value of the graph; None stays None.

        Raises:
            UnknownValue: if nobody knows where it came from.
        """
        if x is None:
            return None
        data = x.data if isinstance(x, Tensor) else x
        known = self._known.get(id(x), self._known.get(id(data)))
        if known is None and type(data) in (np.ndarray, int, float):
            known = np.asarray(data, None if hasattr(data, "dtype") else np.float32)
        if known is None or (isinstance(known, np.ndarray) and np.isnan(known).any()):
            raise UnknownValue  # a number that is NaN comes from an array of the backend "meta"
        if isinstance(known, Traced):
            return Value(self._names[known.name], known.shape)
        if isinstance(known, str):
            return Value(known, data.shape)
        if isinstance(known, Size):
            return Value(self.node("Cast", [self.scalar(known)], to=data.dtype), ())
        return Value(self.constant(known), known.shape)

    def node(
        self, kind: str, inputs: Iterable[Value | str | None], outputs: int = 1, **attributes: Any
    ) -> Any:
        """Add an operator to values or their names; the name of its output, or several."""
        start = f"{kind}_{len(self.nodes)}"
        names = (start, *(f"{start}.{i}" for i in range(1, outputs)))
        given = [x.name if isinstance(x, Value) else x or "" for x in inputs]
        while given and not given[-1]:
            given.pop()
        self.nodes.append(Node(self.layer, kind, tuple(given), names, attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any, dtype: Any = None) -> str:
        """The name of an array that is part of the graph; equal ones are stored once."""
        array = np.asarray(values, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._computed:
            self._computed[key] = f"constant_{len(self.constants)}"
            self.constants[self._computed[key]] = array
        return self._computed[key]

    def integers(self, sizes: Sequence[int]) -> str:
        """Integers as one array, int64; those that depend on the image are computed."""
        if all(self.is_fixed(n) for n in sizes):
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
        sign, a, b = n.formula
        if sign == "axis":
            return (a, b) not in self.dynamic
        return self.is_fixed(a) and self.is_fixed(b)

    def _key(self, n: int) -> Any:
        if self.is_fixed(n) or not isinstance(n, Size):
            return int(n)
        sign, a, b = n.formula
        return n.formula if sign == "axis" else (sign, self._key(a), self._key(b))

    def _size(self, n: int) -> str:
        """One size, as an array of one number."""
        if self.is_fixed(n) or not isinstance(n, Size):
            return self.constant([int(n)], np.int64)
        key = self._key(n)
        if key not in self._computed:
            self._computed[key] = self._compute(n)
        return self._computed[key]

    def _compute(self, n: Size) -> str:
        sign, a, b = n.formula
        if sign == "axis":
            if a not in self._traced or self._traced[a].data.shape[b] != n:
                raise UnknownValue  # a size that the network remembers from another call
            return str(self.node("Shape", [self._names[a]], start=b, end=b + 1))
        a, b = self._size(a), self._size(b)
        if sign == "//":  # ONNX's Div rounds towards 0, but its Mod has the divisor's sign
            a, sign = self.node("Sub", [a, self.node("Mod", [a, b])]), "/"
        if sign == "abs":
            return str(self.node("Abs", [a]))
        kind = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "%": "Mod"}[sign]
        return str(self.node(kind, [a, b]))

    def without_unused(self, outputs: Sequence[str]) -> tuple[list[Node], dict[str, NDArray[Any]]]:
        """The nodes and constants that lead to the outputs."""
        used, kept = set(outputs), []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.outputs):
                used.update(node.inputs)
                kept.append(node)
        constants = {name: array for name, array in self.constants.items() if name in used}
        return kept[::-1], constants
