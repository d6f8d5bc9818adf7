"""Half precision: activations are stored in 16 bits, and computed with in 32.

The dtype of an activation decides. A primitive that is given float16 computes in float32, sums
included, and rounds what it gives to float16; the gradients of weights, sums and statistics stay
float32, and weights are float32 and are rounded only where they are multiplied. This is written
once, around the primitives that a backend has; those that read and write float16 themselves, as
kernels do, are let through.

NumPy has no bfloat16. Inside ``products.using("bf16")`` what primitives give is rounded to it, and
so are the operands of products, but arrays are float32: the arithmetic of bfloat16, not its memory.

Source: Micikevicius et al., "Mixed precision training", ICLR 2018, sections 3.1 and 3.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Array, Backend
from tinyfcn.backend.setting import Setting

HALF = np.dtype(np.float16)

# How products of float32 arrays take their operands: as they are, or rounded. Kernels do that on
# tensor cores; what is said of bf16 above holds elsewhere.
products = Setting("TINYFCN_PRODUCTS", ("float32", "tf32", "bf16", "fp16"))

PRODUCTS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "matmul")
# Those that give activations, alone or first, and those that give none.
ACTIVATIONS = (
    "conv2d", "conv2d_input_grad", "matmul", "max_pool2d", "scatter_plane", "gather_plane",
    "resample2d", "relu", "relu_grad", "softmax", "log_softmax", "batch_norm",
    "batch_norm_train", "batch_norm_grad", "local_response_norm", "local_response_norm_grad",
    "dropout",
)  # fmt: skip
SUMS = ("conv2d_weight_grad", "sum", "sum_pixels", "batch_norm_stats")


class Half(Backend):
    """Stands before the classes that compute in float32, and hands them float32.

    Attributes:
        rounds: whether it rounds to bfloat16 itself.
        native: the primitives that take float16, and compute in float32. A class names its own.
    """

    rounds = True
    native: frozenset[str] = frozenset()

    def __init_subclass__(cls) -> None:
        cls.native = frozenset().union(*(vars(base).get("native", ()) for base in cls.__mro__))

    def cast(self, x: Array, dtype: Any) -> Array:
        """x as float32 or float16; what is too large for that becomes ∞."""
        with np.errstate(over="ignore"):
            return x.astype(dtype)

    def round_to_bfloat16(self, x: Array) -> None:
        """Round float32 numbers in place."""
        round_to_bfloat16(x)


def _primitive(name: str) -> Any:
    gives, multiplies = name in ACTIVATIONS, name in PRODUCTS

    def primitive(self: Half, *arguments: Any, **options: Any) -> Any:
        run = getattr(super(Half, self), name)
        first, second = arguments[0], arguments[min(1, len(arguments) - 1)]
        half = first.dtype == HALF or getattr(second, "dtype", None) == HALF
        rounds = self.rounds and products() == "bf16"
        if name in self.native if half else not rounds:
            return run(*arguments, **options)

        def taken(a: Any) -> Any:
            kind = getattr(a, "dtype", None)
            if kind == HALF:
                return self.cast(a, np.float32)
            if multiplies and kind == np.float32 and a.ndim > 1:
                return self.cast(self.cast(a, HALF), np.float32) if half else rounded(a.copy("K"))
            return a

        def rounded(y: Any) -> Any:
            if half:
                return self.cast(y, HALF)
            if y.dtype == np.float32:
                self.round_to_bfloat16(y)
            return y

        result = run(*map(taken, arguments), **options)
        if not gives or (name == "matmul" and not half):  # that may be the gradient of a weight
            return result
        return (rounded(result[0]), *result[1:]) if isinstance(result, tuple) else rounded(result)

    return primitive


for _name in (*ACTIVATIONS, *SUMS):
    setattr(Half, _name, _primitive(_name))


def wide(dtype: Any) -> Any:
    """What sums of an array of this dtype are, and what is computed with it."""
    return np.dtype(np.float32) if dtype == HALF else dtype


def alike(*arrays: Array) -> tuple[Array, ...]:
    """The activations that a native primitive takes: all float16 where one is; None stays."""
    if all(a is None or a.dtype != HALF for a in arrays):
        return arrays
    return tuple([a if a is None else narrow(a) for a in arrays])


def narrow(array: Array) -> Array:
    """As float16; what is too large for that becomes ∞."""
    with np.errstate(over="ignore"):
        return array.astype(HALF, copy=False)


def to_bfloat16(x: Array) -> Array:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; as uint16.

    Example:
        >>> from_bfloat16(to_bfloat16(np.array([1.0, 3.14159, np.inf], np.float32)))
        array([1.      , 3.140625,      inf], dtype=float32)
    """
    rounded = x.astype(np.float32)
    round_to_bfloat16(rounded)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def round_to_bfloat16(x: Array) -> None:
    """The same as float32 numbers, in place."""
    bits, is_nan = x.view(np.uint32), x != x
    odd = bits >> 16
    odd &= 1
    odd += 0x7FFF
    bits += odd
    bits &= 0xFFFF0000
    x[is_nan] = np.nan


def from_bfloat16(x: Array) -> Array:
    """float32 numbers, exactly."""
    whole = x.astype(np.uint32)
    whole <<= 16
    return whole.view(np.float32)
