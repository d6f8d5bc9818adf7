"""What every network refuses."""

from __future__ import annotations

from tinyfcn.tensor import Tensor


def check_classes(name: str, num_classes: int) -> None:
    """Refuse a network without classes."""
    if num_classes < 1:
        raise ValueError(f"{name}: num_classes must be at least 1, got {num_classes}")


def check_images(name: str, x: Tensor, channels: int = 3) -> None:
    """Refuse what are not images of so many channels."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"{name}: expected images (N, {channels}, H, W), got shape {x.shape}")
