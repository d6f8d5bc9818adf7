"""What the work needs of a library, from tinyfcn; ``with_torch.py`` has the same of PyTorch."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, models, nn, optim
from tinyfcn.backend.cpu import threads as cpu_threads
from tinyfcn.multiply_adds import MultiplyAdds

__all__ = ["F", "inference", "models", "nn", "optim", "relu_layer"]
inference, relu_layer = tinyfcn.no_grad, nn.ReLU


def setup(job: Mapping[str, Any]) -> dict[str, Any]:
    """Choose threads and backend; says what computes, and on what."""
    os.environ["TINYFCN_NUM_THREADS"] = str(job["threads"])
    active = backend.use(job["backend"])
    tinyfcn.manual_seed(0)
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "tinyfcn": tinyfcn.__version__,
        "numpy": np.__version__,
        "backend": active.name,
        "threads": job["threads"],
        "cpu": cpu_name(),
        "blas": ", ".join(
            f"{pool['internal_api']} {pool['version']} with its {pool.get('architecture')} kernel"
            for pool in blas
        ),
    }


def synchronize() -> None:
    """Wait for a GPU; what it was given is not done when a step returns."""
    backend.active().synchronize()


def cpu_name() -> str:
    """As the vendor calls it, where the system tells; else its architecture."""
    cpus = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpus.read_text() if cpus.exists() else "")
    return found[1] if found else platform.processor() or platform.machine()


def count_flops(step: Callable[[], object]) -> int:
    """Do the work once; twice the multiply-adds of its convolutions, counted by their shapes."""
    with MultiplyAdds() as counted:
        step()
    return 2 * counted.total


def ready(op: Callable[[Any], Any], *layers: Any) -> Callable[[Any], Any]:
    """The op, which runs these layers, as this side does it: as it is."""
    return op


def normal(*shape: int, requires_grad: bool = False) -> Tensor:
    """Normal float32 numbers, which lie in memory as the backend likes them."""
    made = Tensor(backend.active().empty(shape, np.float32))
    return nn.init.normal_(made).requires_grad_(requires_grad)


def matrix_product(size: int) -> Callable[[], object]:
    """A matrix product, its rows shared out to the threads."""
    a, b, y = (normal(size, size).data for _ in range(3))
    return _shared_out(lambda piece: np.matmul(a[piece], b, out=y[piece]), size)


def copy(size: int) -> Callable[[], object]:
    """A copy, shared out to the threads."""
    x, y = (normal(size).data for _ in range(2))
    return _shared_out(lambda piece: y.__setitem__(piece, x[piece]), size)


def _shared_out(task: Callable[[slice], object], size: int) -> Callable[[], object]:
    pieces = cpu_threads.split(size, -(-size // cpu_threads.num_threads()))
    return lambda: cpu_threads.parallel_for(task, pieces)
