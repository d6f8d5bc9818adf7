"""The NumPy backend: one file a family of primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.cpu import memory
from tinyfcn.backend.cpu.activation import (
    elu,
    leaky_relu,
    leaky_relu_grad,
    log_softmax,
    relu,
    relu_grad,
    sigmoid,
    softmax,
)
from tinyfcn.backend.cpu.conv import (
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
)
from tinyfcn.backend.cpu.dropout import dropout
from tinyfcn.backend.cpu.loss import cross_entropy, cross_entropy_grad, put_class, take_class
from tinyfcn.backend.cpu.normalization import (
    batch_norm,
    batch_norm_grad,
    batch_norm_stats,
    local_response_norm,
    local_response_norm_grad,
    sum_pixels,
)
from tinyfcn.backend.cpu.optimizer import adam_update, sgd_update
from tinyfcn.backend.cpu.pooling import gather_plane, max_pool2d, scatter_plane
from tinyfcn.backend.cpu.resample import resample2d
from tinyfcn.backend.cpu.unpooling import (
    unpool_bed_of_nails,
    unpool_bed_of_nails_adjoint,
    unpool_nearest,
    unpool_nearest_adjoint,
)


class NumpyBackend:
    """Computes on the CPU with NumPy alone; see ``tinyfcn.backend.interface`` for the contract."""

    name = "numpy"
    xp: Any = np
    eager = True

    def __init__(self) -> None:
        memory.keep()

    conv2d = staticmethod(conv2d)
    conv2d_input_grad = staticmethod(conv2d_input_grad)
    conv2d_weight_grad = staticmethod(conv2d_weight_grad)
    sum_pixels = staticmethod(sum_pixels)

    max_pool2d = staticmethod(max_pool2d)
    scatter_plane = staticmethod(scatter_plane)
    gather_plane = staticmethod(gather_plane)

    unpool_nearest = staticmethod(unpool_nearest)
    unpool_nearest_adjoint = staticmethod(unpool_nearest_adjoint)
    unpool_bed_of_nails = staticmethod(unpool_bed_of_nails)
    unpool_bed_of_nails_adjoint = staticmethod(unpool_bed_of_nails_adjoint)

    resample2d = staticmethod(resample2d)

    elu = staticmethod(elu)
    leaky_relu = staticmethod(leaky_relu)
    leaky_relu_grad = staticmethod(leaky_relu_grad)
    log_softmax = staticmethod(log_softmax)
    relu = staticmethod(relu)
    relu_grad = staticmethod(relu_grad)
    sigmoid = staticmethod(sigmoid)
    softmax = staticmethod(softmax)

    dropout = staticmethod(dropout)

    cross_entropy = staticmethod(cross_entropy)
    cross_entropy_grad = staticmethod(cross_entropy_grad)
    put_class = staticmethod(put_class)
    take_class = staticmethod(take_class)

    batch_norm = staticmethod(batch_norm)
    batch_norm_grad = staticmethod(batch_norm_grad)
    batch_norm_stats = staticmethod(batch_norm_stats)
    local_response_norm = staticmethod(local_response_norm)
    local_response_norm_grad = staticmethod(local_response_norm_grad)

    adam_update = staticmethod(adam_update)
    sgd_update = staticmethod(sgd_update)

    @staticmethod
    def as_array(data: Any) -> Any:
        """An ndarray; Python floats become float32."""
        array = np.asarray(data)
        if array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
            array = array.astype(np.float32)
        return array

    @staticmethod
    def to_numpy(array: Any) -> Any:
        """The array itself."""
        return np.asarray(array)

    upload = as_array

    def synchronize(self) -> None:
        """Nothing to wait for."""
