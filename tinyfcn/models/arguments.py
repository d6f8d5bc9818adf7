"""What every network refuses."""

from __future__ import annotations

from tinyfcn.tensor import Tensor


def check_images(name: str, x: Tensor, channels: int = 3) -> None:
    """Refuse what are not images of so many channels."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"{name}: expected images (N, {channels}, H, W), got shape {x.shape}")
