"""Sums have the same bits in whatever order threads and blocks run."""

import numpy as np
import pytest

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator

X, GY = np.random.default_rng(0).standard_normal((2, 2, 3, 61, 47)).astype("float32")
VECTOR = np.array([0.5, 1.0, 2.0], "float32")
INDICES = np.random.default_rng(1).integers(0, 90, X.shape).astype("int32")
LABELS = np.random.default_rng(1).integers(-1, 3, (2, 61, 47)).astype("int32")
WINDOW = (3, 3), (1, 1), (1, 1), (1, 1)


def scatter(b):
    _, where = b.max_pool2d(X, X.shape[2:], *WINDOW, True)
    return b.scatter_plane(GY, where, X.shape[2:], *WINDOW)


SUMS = {
    "conv2d_grads": lambda b: b.conv2d_grads(
        GY, X, X, np.eye(3, dtype="f")[..., None, None], (True,) * 3, (1, 1), (0, 0), (1, 1), 1
    ),
    "batch_norm_stats": lambda b: b.batch_norm_stats(X),
    "batch_norm_grad": lambda b: b.batch_norm_grad(GY, X, VECTOR, VECTOR, VECTOR, 1e-3, X),
    "batch_norm_grad, float16": lambda b: b.batch_norm_grad(
        GY.astype("f2"), X.astype("f2"), VECTOR, VECTOR, VECTOR, 1e-3, X.astype("f2")
    ),
    "sum_pixels": lambda b: (b.sum_pixels(X),),
    "cross_entropy_grad": lambda b: (b.cross_entropy_grad(GY[:, 0], X, LABELS),),
    "scatter_plane": lambda b: (scatter(b),),
    "scatter_plane, any indices": lambda b: (
        b.scatter_plane(GY.astype("f2"), INDICES, (10, 9), (2, 2), (2, 2), (0, 0), (1, 1)),
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_same_bits(name):
    first, *others = (SUMS[name](CudaBackend(Emulator(seed=seed))) for seed in (None, 1, 2))
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
