"""Resizing by interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from tinyfcn.functional.resampling import Axis, Bilinear, Nearest, Resample2d
from tinyfcn.functional.sizes import Pair, images, pair
from tinyfcn.tensor import Tensor

__all__ = ["interpolate"]


def interpolate(
    x: Tensor,
    size: int | Pair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Tensor:
    """Resize an image to ``size`` or by ``scale_factor``.

    Output pixel i looks at position (i + ½) · scale − ½ of the input, along each axis, with scale =
    H / OH, or 1 / scale_factor where that was given. ``bilinear`` weights the two neighbours by
    their distance and repeats the image's edge beyond it; ``nearest`` takes pixel ⌊i · scale⌋.
    With ``align_corners`` the outermost pixels of input and output coincide instead: position
    i · (H − 1) / (OH − 1).

    Args:
        x: (N, C, H, W).
        size: OH = OW or (OH, OW); either this or scale_factor must be given.
        scale_factor: one number or (height, width); the size is then ⌊H · scale_factor⌋.
        mode: "nearest" or "bilinear".
        align_corners: for "bilinear" only.

    Returns:
        (N, C, OH, OW).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[[[0.0, 4.0]]]])
        >>> interpolate(x, size=(1, 4), mode="bilinear")
        Tensor([[[[0., 1., 3., 4.]]]], dtype=float32)
    """
    op = "interpolate"
    x = images(op, x)
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"{op}: mode must be 'nearest' or 'bilinear', got {mode!r}")
    if align_corners and mode == "nearest":
        raise ValueError(f"{op}: align_corners goes with mode 'bilinear' only")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{op}: give either size or scale_factor, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )
    scales: tuple[float | None, ...] = (None, None)
    if scale_factor is None:
        sizes: tuple[int, ...] = pair(op, "size", size, minimum=1)
    else:
        factors = _factors(op, scale_factor)
        sizes = tuple(_times(n, f) for n, f in zip(x.shape[2:], factors, strict=True))
        if min(sizes) < 1:
            raise ValueError(
                f"{op}: scale_factor {scale_factor!r} leaves an output of size {sizes}, x {x.shape}"
            )
        # As in PyTorch: an axis that keeps its size is copied, and one that doubles it by "nearest"
        # repeats each pixel twice, whatever the factor.
        exact = (1, 2) if mode == "nearest" else (1,)
        scales = tuple(
            None if out in (n * m for m in exact) else 1 / f
            for n, out, f in zip(x.shape[2:], sizes, factors, strict=True)
        )
    bilinear = partial(Bilinear, align_corners=bool(align_corners))
    axis: Callable[..., Axis] = Nearest if mode == "nearest" else bilinear
    rows, columns = map(axis, x.shape[2:], sizes, scales)
    return Resample2d(rows, columns)(x)


def _times(n: int, factor: float) -> int:
    return n * int(factor) if factor.is_integer() else math.floor(n * factor)


def _factors(op: str, scale_factor: Any) -> tuple[float, float]:
    both = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    try:
        numbers = tuple(float(f) for f in both)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 2:
        raise TypeError(f"{op}: scale_factor must be one number or two, got {scale_factor!r}")
    if not all(0 < f < math.inf for f in numbers):
        raise ValueError(f"{op}: scale_factor must be above 0 and finite, got {scale_factor!r}")
    return numbers[0], numbers[1]
