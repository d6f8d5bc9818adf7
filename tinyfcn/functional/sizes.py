"""Output sizes of windows that slide over an image, and the checks every op makes first.

One axis at a time, with n the input size, k the kernel, s the stride, p the padding, d the
dilation; a dilated kernel spans d·(k − 1) + 1 elements:

    convolution             ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1
    transposed convolution  (n − 1)·s − 2p + d(k − 1) + output_padding + 1
    pooling                 as convolution; in ceil mode ⌈…⌉ in place of ⌊…⌋, but the last window
                            must start before n + p
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from tinyfcn.backend.base import Pair
from tinyfcn.function import as_tensor
from tinyfcn.tensor import Tensor


def pair(op: str, name: str, value: Any, minimum: int) -> Pair:
    """``value`` as (height, width): one integer stands for both.

    Raises:
        TypeError: if it is neither an integer nor two of them.
        ValueError: if one is below ``minimum``.

    Example:
        >>> pair("conv2d", "stride", 2, minimum=1)
        (2, 2)
        >>> pair("conv2d", "stride", (2, 0), minimum=1)
        Traceback (most recent call last):
        ValueError: conv2d: stride must be at least 1, got (2, 0)
    """
    both = value if isinstance(value, tuple | list) else (value, value)
    try:
        numbers = tuple(v.__index__() for v in both)
    except AttributeError:
        numbers = ()
    if len(numbers) != 2:
        raise TypeError(f"{op}: {name} must be an integer or two of them, got {value!r}")
    if min(numbers) < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}, got {value!r}")
    return numbers[0], numbers[1]


def at_least_one(op: str, **counts: int) -> None:
    """Reject counts (of channels, of groups, of iterations) that are not integers of at least 1."""
    for name, n in counts.items():
        if not hasattr(n, "__index__") or n < 1:
            raise ValueError(f"{op}: {name} must be an integer of at least 1, got {n!r}")


def at_least_zero(op: str, **numbers: float) -> None:
    """Reject options that are not finite numbers of at least 0."""
    for name, x in numbers.items():
        if not isinstance(x, Real) or isinstance(x, bool) or not 0 <= x < float("inf"):
            raise ValueError(f"{op}: {name} must be a finite number of at least 0, got {x!r}")


def floating(op: str, x: Any) -> Tensor:
    """x as a tensor, which must have a floating dtype."""
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: x must have a floating dtype, got {x.dtype}")
    return x


def axis(op: str, x: Tensor, dim: int, name: str = "dim") -> int:
    """``dim`` counted from the front; a number without axes counts as a vector of one."""
    if not hasattr(dim, "__index__"):
        raise TypeError(f"{op}: {name} must be an integer, got {dim!r}")
    if not -max(1, x.ndim) <= dim < max(1, x.ndim):
        raise ValueError(f"{op}: {name} {dim} is out of range for shape {x.shape}")
    return dim % max(1, x.ndim)


def check_dtype(op: str, x: Tensor, name: str, other: Tensor) -> None:
    """Reject a weight or a bias of another dtype than x, which may be float16 beside float32."""
    if other.dtype not in (x.dtype, np.result_type(x.dtype, np.float32)):
        raise TypeError(f"{op}: x has dtype {x.dtype}, but {name} has {other.dtype}")


def optional_bias(op: str, x: Tensor, bias: Any, outputs: int) -> Tensor | None:
    """The bias as a tensor (OUTPUTS,), or None."""
    if bias is None:
        return None
    bias = as_tensor(bias)
    if bias.shape != (outputs,):
        raise ValueError(f"{op}: bias must have shape ({outputs},), got {bias.shape}")
    check_dtype(op, x, "bias", bias)
    return bias


def images(op: str, x: Any) -> Tensor:
    """``x`` as a Tensor, which must be floating with the axes N, C, H, W, the last three ≥ 1."""
    x = as_tensor(x)
    if x.ndim != 4:
        raise ValueError(f"{op}: x must have 4 axes (N, C, H, W), got shape {x.shape}")
    if 0 in x.shape[1:]:
        raise ValueError(f"{op}: x has an empty axis, shape {x.shape}")
    return floating(op, x)


def smaller(m: int, n: int) -> int:
    """The minimum. Without a comparison, so that it is the same formula for every image when it is
    written down (``tinyfcn.onnx``).

    Example:
        >>> smaller(3, 5), smaller(5, 4)
        (3, 4)
    """
    return (m + n - abs(m - n)) // 2


def conv_transpose_size(n: int, k: int, s: int, p: int, d: int, output_padding: int) -> int:
    """Output size of a transposed convolution along one axis.

    Example:
        >>> conv_transpose_size(3, k=4, s=2, p=1, d=1, output_padding=0)
        6
    """
    return (n - 1) * s - 2 * p + d * (k - 1) + output_padding + 1


def pool_size(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Output size of a pooling along one axis; below 1 where the window does not fit.

    Example:
        >>> pool_size(5, k=2, s=2, p=0, d=1, ceil_mode=False)
        2
        >>> pool_size(5, k=2, s=2, p=0, d=1, ceil_mode=True)
        3
    """
    out = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
    # A last window that starts beyond the left padding and the image would see nothing.
    return out - 1 if ceil_mode and (out - 1) * s >= n + p else out
