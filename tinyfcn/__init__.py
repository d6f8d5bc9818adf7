"""tinyfcn: fully convolutional networks from scratch, on NumPy and hand-written CUDA kernels."""

from tinyfcn import starting as starting  # isort: split

from tinyfcn import backend, data, functional, metrics, models, nn, optim, random, weights
from tinyfcn.anomaly import AnomalyError, detect_anomaly
from tinyfcn.function import Function, Hook
from tinyfcn.gradcheck import adjointcheck, gradcheck, gradgradcheck
from tinyfcn.graph import grad
from tinyfcn.random import manual_seed
from tinyfcn.summary import summary
from tinyfcn.tensor import Tensor, is_grad_enabled, no_grad, tensor
from tinyfcn.training.segmenter import Segmenter

__version__ = "0.1.0"

__all__ = [
    "AnomalyError", "Function", "Hook", "Segmenter", "Tensor", "adjointcheck", "backend", "data",
    "detect_anomaly", "functional", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled",
    "manual_seed", "metrics", "models", "nn", "no_grad", "optim", "random", "summary", "tensor",
    "weights",
]  # fmt: skip
