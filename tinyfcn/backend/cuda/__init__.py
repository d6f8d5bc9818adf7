"""The CUDA backend: primitives made of launches of ``kernels/*.cu``, one file a family.

The same primitives run on a GPU through CuPy and on any machine through the emulator: the engine
(``Engine`` in launcher.py) is all that differs.
"""

from __future__ import annotations

from tinyfcn.backend.cuda.activation import Activation
from tinyfcn.backend.cuda.convolution import Convolution
from tinyfcn.backend.cuda.dropout import Dropout
from tinyfcn.backend.cuda.loss import Loss
from tinyfcn.backend.cuda.normalization import Normalization
from tinyfcn.backend.cuda.optimizer import Optimizer
from tinyfcn.backend.cuda.pooling import Pooling
from tinyfcn.backend.cuda.resample import Resample
from tinyfcn.backend.half import Half


class CudaBackend(
    Half, Activation, Convolution, Dropout, Loss, Normalization, Optimizer, Pooling, Resample
):
    """Computes with hand-written kernels what they are worth; the plain bodies do the rest."""

    rounds = False  # its products do


def on_cupy() -> CudaBackend:
    """On a GPU, through CuPy."""
    from tinyfcn.backend.cuda.cupy_engine import CupyEngine

    return CudaBackend(CupyEngine())


def on_emulator() -> CudaBackend:
    """On any machine that has g++."""
    from tinyfcn.backend.cuda.emulator import build, from_environment

    build.compiler_version()  # says now, and not at the first kernel, that there is none
    return CudaBackend(from_environment())
