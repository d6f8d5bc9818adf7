"""All declared kernels, and where their files are."""

from __future__ import annotations

from pathlib import Path

from tinyfcn.backend.cuda import activation, convolution, gemm
from tinyfcn.backend.cuda.launcher import Kernel

KERNELS: dict[str, Kernel] = {
    name: kernel
    for family in (activation, convolution, gemm)
    for name, kernel in family.KERNELS.items()
}


def folder() -> Path:
    """The folder of the .cu files: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "kernels", package.parent / "kernels"):
        if (candidate / "common.cuh").is_file():
            return candidate
    raise FileNotFoundError(f"no folder kernels/ with common.cuh in {package} or {package.parent}")
