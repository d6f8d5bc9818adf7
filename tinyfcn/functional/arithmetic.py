"""Element-wise arithmetic with broadcasting, and matrix products.

Broadcasting repeats an input along axes; the adjoint of repeating is summing. So every binary op
below sums the gradient of an input back to that input's shape (``sum_to``).
"""

from __future__ import annotations

from typing import Any

from tinyfcn import backend
from tinyfcn.function import Elementwise, Function, as_tensor
from tinyfcn.functional.reduction import sum_to
from tinyfcn.functional.selection import Select
from tinyfcn.graph import cast
from tinyfcn.tensor import Tensor

__all__ = ["add", "div", "exp", "log", "matmul", "mul", "neg", "pow", "sqrt", "sub", "tanh"]


class Add(Elementwise):
    """a + b."""

    def forward(self, a, b):
        return a + b

    def backward(self, gy):
        return to_inputs(self, gy, gy)


class Sub(Elementwise):
    """a − b."""

    def forward(self, a, b):
        return a - b

    def backward(self, gy):
        return to_inputs(self, gy, -gy if self.needs_input_grad[1] else None)


class Mul(Elementwise):
    """a · b; d/da = b, d/db = a."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a * b

    def backward(self, gy):
        a, b = self.saved_tensors
        need_a, need_b = self.needs_input_grad
        return to_inputs(self, gy * b if need_a else None, gy * a if need_b else None)


class Div(Elementwise):
    """a / b; d/da = 1 / b, d/db = −a / b²."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a / b

    def backward(self, gy):
        a, b = self.saved_tensors
        need_a, need_b = self.needs_input_grad
        ga = gy / b if need_a else None
        gb = -gy * a / (b * b) if need_b else None
        return to_inputs(self, ga, gb)


class Neg(Elementwise):
    """−x."""

    def forward(self, x):
        return -x

    def backward(self, gy):
        return -gy


class Pow(Elementwise):
    """aᵇ; d/da = b aᵇ⁻¹, d/db = aᵇ log a."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a**b

    def backward(self, gy):
        a, b = self.saved_tensors
        ga = gb = None
        if self.needs_input_grad[0]:
            # b·a^(b−1); where b is 0 the result is 1 whatever a is, also for a = 0.
            nonzero = Tensor((b.data != 0).astype(a.dtype))
            ga = Select()(gy, b.data != 0) * b * a ** ((b - 1.0) * nonzero)
        if self.needs_input_grad[1]:
            # a^b·log a; the log is taken of 1 where a is 0, since 0^b stays 0 for every b > 0.
            is_zero = Tensor((a.data == 0).astype(a.dtype))
            gb = Select()(gy, a.data != 0) * a**b * log(a + is_zero)
        return to_inputs(self, ga, gb)


class Exp(Elementwise):
    """eˣ, its own derivative."""

    def forward(self, x):
        y = backend.active().xp.exp(x)
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return gy * y


class Log(Elementwise):
    """log x; the derivative is 1 / x."""

    def forward(self, x):
        self.save_for_backward(x)
        return backend.active().xp.log(x)

    def backward(self, gy):
        (x,) = self.saved_tensors
        return gy / x


class Sqrt(Elementwise):
    """√x; the derivative is 1 / (2 √x)."""

    def forward(self, x):
        y = backend.active().xp.sqrt(x)
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return gy / (y * 2.0)


class Tanh(Elementwise):
    """tanh x; the derivative is 1 − y²."""

    def forward(self, x):
        y = backend.active().xp.tanh(x)
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return gy * (1.0 - y * y)


class MatMul(Function):
    """Matrix product of the last two axes; leading axes broadcast."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return backend.active().matmul(a, b)

    def backward(self, gy):
        a, b = self.saved_tensors
        need_a, need_b = self.needs_input_grad
        # In the dtype of what it is for: that of a float32 weight is not rounded to float16.
        ga = matmul(cast(gy, a.dtype), cast(b.transpose(-2, -1), a.dtype)) if need_a else None
        gb = matmul(cast(a.transpose(-2, -1), b.dtype), cast(gy, b.dtype)) if need_b else None
        return to_inputs(self, ga, gb)


def add(a: Any, b: Any) -> Tensor:
    """a + b, element by element."""
    return Add()(*operands("add", a, b))


def sub(a: Any, b: Any) -> Tensor:
    """a − b, element by element."""
    return Sub()(*operands("sub", a, b))


def mul(a: Any, b: Any) -> Tensor:
    """a · b, element by element."""
    return Mul()(*operands("mul", a, b))


def div(a: Any, b: Any) -> Tensor:
    """a / b, element by element."""
    return Div()(*operands("div", a, b))


def neg(x: Tensor) -> Tensor:
    """−x."""
    return Neg()(x)


def pow(a: Any, b: Any) -> Tensor:
    """a to the power b, element by element.

    Example:
        >>> import tinyfcn
        >>> tinyfcn.tensor([1.0, 2.0, 3.0]) ** 2
        Tensor([1., 4., 9.], dtype=float32)
    """
    return Pow()(*operands("pow", a, b))


def exp(x: Tensor) -> Tensor:
    """e to the power x."""
    return Exp()(x)


def log(x: Tensor) -> Tensor:
    """Natural logarithm."""
    return Log()(x)


def sqrt(x: Tensor) -> Tensor:
    """Square root."""
    return Sqrt()(x)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)."""
    return Tanh()(x)


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product: (…, M, K) and (…, K, L) → (…, M, L); a 1-D operand counts as a vector.

    Raises:
        ValueError: if the inner sizes differ.

    Example:
        >>> import tinyfcn
        >>> a = tinyfcn.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> a @ tinyfcn.tensor([1.0, 1.0])
        Tensor([3., 7.], dtype=float32)
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: both operands need at least one axis")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(
            f"matmul: inner sizes differ: {a.shape[-1]} of a {a.shape} and {inner} of b {b.shape}"
        )
    left = a.reshape(1, -1) if a.ndim == 1 else a
    right = b.reshape(-1, 1) if b.ndim == 1 else b
    y = MatMul()(left, right)
    rows, columns = y.shape[-2:-1] if a.ndim > 1 else (), y.shape[-1:] if b.ndim > 1 else ()
    return y.reshape(y.shape[:-2] + rows + columns)


def operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors that broadcast. A Python number takes the dtype of the tensor beside it."""
    xp = backend.active().xp
    if isinstance(a, int | float) and isinstance(b, Tensor):
        a = Tensor(xp.asarray(a, xp.result_type(b.dtype, a)))
    if isinstance(b, int | float) and isinstance(a, Tensor):
        b = Tensor(xp.asarray(b, xp.result_type(a.dtype, b)))
    a, b = as_tensor(a), as_tensor(b)
    for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False):
        if m != n and 1 not in (m, n):
            raise ValueError(f"{op}: shapes {a.shape} and {b.shape} do not broadcast")
    return a, b


def to_inputs(op: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """Sum each gradient back to the shape of its input, where somebody wants it."""
    return tuple(
        sum_to(g, shape) if needed and g is not None else None
        for g, shape, needed in zip(grads, op.input_shapes, op.needs_input_grad, strict=True)
    )
