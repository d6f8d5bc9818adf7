"""All declared kernels, and where their files are."""

from __future__ import annotations

import os
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
    """The folder of the .cu files.

    $TINYFCN_KERNELS where it is set, so that a changed copy can be tried; else ``kernels/``, which
    is beside the package in a checkout and inside it when installed.

    Raises:
        FileNotFoundError: if there is no common.cuh in it.
    """
    named = os.environ.get("TINYFCN_KERNELS")
    package = Path(__file__).resolve().parents[2]
    candidates = [Path(named)] if named else [package / "kernels", package.parent / "kernels"]
    for candidate in candidates:
        if (candidate / "common.cuh").is_file():
            return candidate
    raise FileNotFoundError(
        f"no folder of kernels with common.cuh: looked for {' and '.join(map(str, candidates))}"
        + (", as TINYFCN_KERNELS says" if named else "")
    )
