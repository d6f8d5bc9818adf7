"""The fully connected layer: a matrix product and a bias."""

from __future__ import annotations

from tinyfcn.function import as_tensor
from tinyfcn.functional.arithmetic import matmul
from tinyfcn.functional.sizes import check_dtype, optional_bias
from tinyfcn.graph import cast
from tinyfcn.tensor import Tensor

__all__ = ["linear"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x Wᵀ + b along the last axis.

    Args:
        x: (…, IN).
        weight: (OUT, IN).
        bias: (OUT,) or None.

    Returns:
        (…, OUT).

    Raises:
        ValueError: if the shapes do not fit each other.
        TypeError: if the dtypes differ.

    Example:
        >>> import tinyfcn
        >>> x, weight = tinyfcn.tensor([[1.0, 2.0]]), tinyfcn.tensor([[1.0, 1.0], [0.0, 3.0]])
        >>> linear(x, weight, tinyfcn.tensor([10.0, 20.0]))
        Tensor([[13., 26.]], dtype=float32)
    """
    x, weight = as_tensor(x), as_tensor(weight)
    if weight.ndim != 2:
        raise ValueError(f"linear: weight must have 2 axes (OUT, IN), got shape {weight.shape}")
    outputs, inputs = weight.shape
    if x.ndim == 0 or x.shape[-1] != inputs:
        raise ValueError(
            f"linear: weight {weight.shape} expects {inputs} features in the last axis of x, "
            f"got x {x.shape}"
        )
    check_dtype("linear", x, "weight", weight)
    bias = optional_bias("linear", x, bias, outputs)
    y = matmul(x.reshape(-1, inputs), weight.transpose(0, 1))
    if bias is not None:
        y = cast(y + bias, y.dtype)
    return y.reshape(*x.shape[:-1], outputs)
