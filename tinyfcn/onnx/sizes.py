"""Sizes that remember how they came about.

A network computes with the sizes of its arrays: it crops a map to the size of another, or upsamples
scores to the size of the image. To write that down as it is meant, and not as the numbers of one
image, the sizes are integers that carry the formula they are the result of.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


def _followed(kind: str, compute: Callable[[int, int], int]) -> tuple[Any, Any]:
    """The operator that goes on with formulas, for a Size on the left and on the right."""

    def forward(a: int, b: Any) -> Any:
        is_integer = isinstance(b, int)
        return Size(compute(int(a), int(b)), kind, a, b) if is_integer else NotImplemented

    def reflected(b: int, a: Any) -> Any:
        return forward(a, b) if isinstance(a, int) else NotImplemented

    return forward, reflected


class Size(int):
    """An integer with its formula: + − · // % and abs go on with it, others see the number.

    Attributes:
        formula: "axis", a traced tensor and the number of its axis; or ONNX's name of an operator,
            of which "Div" rounds down here, and its operands.

    Example:
        >>> height = Size(7, "axis", "images", 2)
        >>> half = (height + 1) // 2
        >>> half, half.formula
        (4, ('Div', 8, 2))
    """

    formula: tuple[Any, ...]

    def __new__(cls, number: int, *formula: Any) -> Size:
        size = super().__new__(cls, number)
        size.formula = formula
        return size

    __add__, __radd__ = _followed("Add", operator.add)
    __sub__, __rsub__ = _followed("Sub", operator.sub)
    __mul__, __rmul__ = _followed("Mul", operator.mul)
    __floordiv__, __rfloordiv__ = _followed("Div", operator.floordiv)
    __mod__, __rmod__ = _followed("Mod", operator.mod)

    def __index__(self) -> Size:
        return self  # where the ops ask whether something is an integer

    def __neg__(self) -> Any:
        return 0 - self

    def __abs__(self) -> Any:
        return Size(abs(int(self)), "Abs", self)

    def __reduce__(self) -> Any:
        return int, (int(self),)
