"""Comparisons and choices, element by element: abs, where, minimum, maximum, clamp."""

from __future__ import annotations

from typing import Any

from tinyfcn import backend
from tinyfcn.function import Elementwise, as_tensor
from tinyfcn.functional.arithmetic import neg, operands, to_inputs
from tinyfcn.functional.selection import Select
from tinyfcn.tensor import Tensor

__all__ = ["abs", "clamp", "maximum", "minimum", "where"]


class Abs(Elementwise):
    """|x|, whose slope is the sign of x: 0 at 0."""

    def forward(self, x):
        xp = backend.active().xp
        self.save_for_backward(xp.sign(x))
        return xp.abs(x)

    def backward(self, gy):
        (sign,) = self.saved_tensors
        return Select()(gy, sign.data != 0) * sign


class Less(Elementwise):
    """Whether a < b, as booleans without a gradient."""

    def forward(self, a, b):
        return a < b


class Where(Elementwise):
    """a where the condition holds, else b; each gradient is 0 where the other was chosen."""

    def forward(self, condition, a, b):
        self.save_for_backward(condition)
        return backend.active().xp.where(condition, a, b)

    def backward(self, gy):
        (condition,) = self.saved_tensors
        a, b = Select()(gy, condition.data), Select()(gy, ~condition.data)
        return to_inputs(self, None, a, b)


class Maximum(Elementwise):
    """The larger of two; where they are equal, each gets half of the gradient."""

    def forward(self, a, b):
        self.save_for_backward((a > b).astype(a.dtype) + (a == b) * a.dtype.type(0.5))
        return backend.active().xp.maximum(a, b)

    def backward(self, gy):
        (share,) = self.saved_tensors
        ga = Select()(gy, share.data > 0) * share
        gb = Select()(gy, share.data < 1) * (1.0 - share)
        return to_inputs(self, ga, gb)


def abs(x: Tensor) -> Tensor:
    """|x|, element by element; the slope at 0 is 0.

    Example:
        >>> import tinyfcn
        >>> abs(tinyfcn.tensor([-2.0, 3.0]))
        Tensor([2., 3.], dtype=float32)
    """
    return Abs()(x)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all three broadcast.

    Args:
        condition: booleans, a Tensor or an array.
        a, b: tensors or numbers; a number takes the dtype of the tensor beside it.

    Raises:
        TypeError: if the condition is not boolean.
        ValueError: if the shapes do not broadcast.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([-2.0, 3.0])
        >>> where(x > 0, x, 0.0)
        Tensor([0., 3.], dtype=float32)
    """
    condition = as_tensor(condition)
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition must be boolean, got {condition.dtype}")
    a, b = operands("where", a, b)
    for t in (a, b):
        operands("where", condition, t)  # must broadcast too
    return Where()(condition, a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two, element by element; equal ones share the gradient. NaN wins.

    Example:
        >>> import tinyfcn
        >>> maximum(tinyfcn.tensor([1.0, 5.0]), 3.0)
        Tensor([3., 5.], dtype=float32)
    """
    return Maximum()(*operands("maximum", a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two, element by element; equal ones share the gradient. NaN wins.

    Example:
        >>> import tinyfcn
        >>> minimum(tinyfcn.tensor([1.0, 5.0]), 3.0)
        Tensor([1., 3.], dtype=float32)
    """
    a, b = operands("minimum", a, b)
    return neg(maximum(neg(a), neg(b)))


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x, but at least ``min`` and at most ``max``; where min > max, max. NaN stays.

    The gradient passes where min ≤ x ≤ max; elsewhere it goes to the bound, if that is a tensor.

    Args:
        x: any shape.
        min, max: numbers or tensors that broadcast with x; one may be None.

    Raises:
        ValueError: if both are None.

    Example:
        >>> import tinyfcn
        >>> clamp(tinyfcn.tensor([-9.0, 0.5, 9.0]), 0, 6)
        Tensor([0. , 0.5, 6. ], dtype=float32)
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both, got neither")
    if min is not None:
        x = where(Less()(*operands("clamp", x, min)), min, x)
    if max is not None:
        x = where(Less()(*operands("clamp", max, x)), max, x)
    return x
