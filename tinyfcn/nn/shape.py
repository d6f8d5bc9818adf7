"""Layers that move or copy elements: upsampling, padding, flattening, nothing at all."""

from __future__ import annotations

from typing import Any

from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor

__all__ = ["Flatten", "Identity", "Upsample", "ZeroPad2d"]


class Upsample(Module):
    """Resize; see :func:`tinyfcn.functional.interpolate`.

    Args:
        size: output (height, width), or
        scale_factor: how many times larger.
        mode: "nearest" or "bilinear".
        align_corners: for bilinear, whether the corner pixels' centres coincide.
    """

    def __init__(
        self,
        size: int | Pair | None = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError("Upsample: give either size or scale_factor")
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, OH, OW)."""
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)


class ZeroPad2d(Module):
    """Zeros around the image.

    Args:
        padding: pixels on every side, or (left, right, top, bottom).
    """

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, top + H + bottom, left + W + right)."""
        return F.pad(x, self.padding)


class Flatten(Module):
    """Join the axes start_dim … end_dim: (N, C, H, W) → (N, C·H·W), in the order C, H, W."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """The same elements with fewer axes."""
        return x.flatten(self.start_dim, self.end_dim)


class Identity(Module):
    """Gives back what it gets."""

    def forward(self, x: Any) -> Any:
        """x itself."""
        return x
