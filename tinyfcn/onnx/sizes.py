"""Sizes that remember how they came about.

A network computes with the sizes of its arrays: it crops a map to the size of another, or upsamples
scores to the size of the image. To write that down as it is meant, and not as the numbers of one
image, the sizes are integers that carry the formula they are the result of.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

# ("axis", name of a value, axis of it), or (sign, operand, operand).
Formula = tuple[str, Any, Any]


class Size(int):
    """An integer with its formula: + − · // % and abs go on with it, others see the number.

    Example:
        >>> height = Size(7, ("axis", "images", 2))
        >>> half = (height + 1) // 2
        >>> half, half.formula[0], half.formula[2]
        (4, '//', 2)
    """

    formula: Formula

    def __new__(cls, number: int, formula: Formula) -> Size:
        size = super().__new__(cls, number)
        size.formula = formula
        return size

    def __index__(self) -> Size:
        return self  # where the ops ask whether something is an integer

    def __neg__(self) -> Any:
        return 0 - self

    def __abs__(self) -> Any:
        return Size(abs(int(self)), ("abs", self, 0))

    def __reduce__(self) -> Any:
        return int, (int(self),)


def _follows(name: str, sign: str, compute: Callable[[int, int], int]) -> None:
    """Give Size the operator of that sign, for a Size on either side."""

    def forward(a: int, b: Any) -> Any:
        return Size(compute(int(a), int(b)), (sign, a, b)) if isinstance(b, int) else NotImplemented

    def reflected(b: int, a: Any) -> Any:
        return forward(a, b) if isinstance(a, int) else NotImplemented

    setattr(Size, f"__{name}__", forward)
    setattr(Size, f"__r{name}__", reflected)


for _name, _sign, _compute in (
    ("add", "+", operator.add),
    ("sub", "-", operator.sub),
    ("mul", "*", operator.mul),
    ("floordiv", "//", operator.floordiv),
    ("mod", "%", operator.mod),
):
    _follows(_name, _sign, _compute)
