"""What the work needs of a library, from PyTorch: the same as in ``with_tinyfcn.py``.

Needs PyTorch and nothing else, tinyfcn included. It has three ways: "eager", as it is by default;
"channels_last", for the layout of memory; and "compiled", for ``torch.compile``. Optimizers are
fused in the last two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["F", "inference", "nn", "relu_layer"]
models = import_module(f"{__package__ or ''}.models_with_torch".lstrip("."))
inference = torch.inference_mode
relu_layer = functools.partial(nn.ReLU, inplace=True)
_way = "eager"


def setup(job: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the threads, the way, and the GPU if our side computes on one."""
    global _way
    _way = job["way"].removesuffix("+malloc")  # which the environment of this process has seen to
    torch.set_num_threads(job["threads"])
    if job["backend"] == "cupy":
        if not torch.cuda.is_available():
            raise ValueError("this PyTorch finds no GPU to compare with")
        torch.set_default_device("cuda")
    torch.manual_seed(0)
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def synchronize() -> None:
    """Wait for a GPU; what it was given is not done when a step returns."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def count_flops(step: Callable[[], object]) -> None:
    """Do the work once; tinyfcn's side counts."""
    step()


def normal(*shape: int, requires_grad: bool = False) -> Tensor:
    """Normal float32 numbers; those of images lie in memory as the way demands."""
    made = torch.randn(shape)
    if _way == "channels_last" and len(shape) == 4:
        made = made.contiguous(memory_format=torch.channels_last)
    return made.requires_grad_(requires_grad)


def ready(op: Callable[[Any], Any], *layers: nn.Module) -> Callable[[Any], Any]:
    """The op, which runs these layers, as it is done in this way."""
    if _way == "channels_last":
        for layer in layers:
            layer.to(memory_format=torch.channels_last)
    return torch.compile(op) if _way == "compiled" else op


def _fused(optimizer: Any) -> Callable[..., Any]:
    return lambda learned, **settings: optimizer(learned, fused=_way != "eager", **settings)


optim = SimpleNamespace(SGD=_fused(torch.optim.SGD), Adam=_fused(torch.optim.Adam))
