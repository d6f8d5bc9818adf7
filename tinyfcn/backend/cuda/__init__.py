"""The CUDA backend: primitives made of launches of ``kernels/*.cu``, one file a family.

The same primitives run on a GPU through CuPy and on any machine through the emulator: the engine
(``Engine`` in launcher.py) is all that differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.cuda.activation import Activation
from tinyfcn.backend.cuda.batch_norm import BatchNorm
from tinyfcn.backend.cuda.channel_sums import ChannelSums
from tinyfcn.backend.cuda.convolution import Convolution
from tinyfcn.backend.cuda.dropout import Dropout
from tinyfcn.backend.cuda.launcher import Engine
from tinyfcn.backend.cuda.local_response_norm import LocalResponseNorm
from tinyfcn.backend.cuda.loss import Loss
from tinyfcn.backend.cuda.optimizer import Optimizer
from tinyfcn.backend.cuda.pooling import Pooling
from tinyfcn.backend.cuda.resample import Resample
from tinyfcn.backend.cuda.softmax import Softmax
from tinyfcn.backend.cuda.unpooling import Unpooling


class CudaBackend(
    Activation,
    BatchNorm,
    ChannelSums,
    Convolution,
    Dropout,
    LocalResponseNorm,
    Loss,
    Optimizer,
    Pooling,
    Resample,
    Softmax,
    Unpooling,
):
    """Computes with hand-written kernels; see ``tinyfcn.backend.base`` for the contract."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.name = engine.name
        self.eager = engine.eager

    def as_array(self, data: Any) -> Any:
        """An array of this backend; Python floats become float32."""
        array = self.xp.asarray(data)
        if array.dtype == np.float64 and not hasattr(data, "dtype"):
            array = array.astype(np.float32)
        return array

    def upload(self, data: Any) -> Any:
        """The array with the values of a NumPy array, ready when this returns."""
        return self.engine.upload(data)

    def synchronize(self) -> None:
        """Wait until all work that was given to the device is done."""
        self.engine.synchronize()

    def to_numpy(self, array: Any) -> Any:
        """A NumPy array with the same values."""
        return np.asarray(array) if self.xp is np else self.xp.asnumpy(array)
