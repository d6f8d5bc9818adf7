"""All declared kernels, and where their files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyfcn.backend.cuda import (
    activation,
    batch_norm,
    confusion,
    convolution,
    dropout,
    gemm,
    local_response_norm,
    loss,
    optimizer,
    pooling,
    resample,
    softmax,
    unpooling,
)
from tinyfcn.backend.cuda.launcher import Kernel

FAMILIES: tuple[Any, ...] = (
    activation,
    batch_norm,
    confusion,
    convolution,
    dropout,
    gemm,
    local_response_norm,
    loss,
    optimizer,
    pooling,
    resample,
    softmax,
    unpooling,
)
KERNELS: dict[str, Kernel] = {
    name: kernel for family in FAMILIES for name, kernel in family.KERNELS.items()
}


def folder() -> Path:
    """The folder of the .cu files: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "kernels", package.parent / "kernels"):
        if (candidate / "common.cuh").is_file():
            return candidate
    raise FileNotFoundError(f"no folder kernels/ with common.cuh in {package} or {package.parent}")
