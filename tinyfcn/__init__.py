"""tinyfcn: fully convolutional networks from scratch, on NumPy and hand-written CUDA kernels."""

# isort: off  (Tensor has to exist before the ops, which are written in terms of it)
from tinyfcn.tensor import Tensor, is_grad_enabled, no_grad, tensor

# isort: on
from tinyfcn import backend, functional
from tinyfcn.function import Function
from tinyfcn.gradcheck import adjointcheck, gradcheck, gradgradcheck
from tinyfcn.graph import grad
from tinyfcn.random import manual_seed

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Tensor",
    "adjointcheck",
    "backend",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "manual_seed",
    "no_grad",
    "tensor",
]
