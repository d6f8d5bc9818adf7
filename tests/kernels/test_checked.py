"""Every kernel but those of convolution under the emulator's checks: no access out of bounds, no
race, no shared memory read before it is written, no barrier that a thread misses."""

import numpy as np
import pytest

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.functional.resampling import Adaptive, Bilinear

SHAPE = (2, 3, 9, 7)  # 378 elements: more than a block
RNG = np.random.default_rng(0)
X, GY, SQUARES = RNG.standard_normal((3, *SHAPE)).astype("float32")
SQUARES **= 2
LABELS = RNG.integers(-1, 3, (2, 9, 7)).astype("int32")
VECTOR = np.array([0.5, 1.0, 2.0], "float32")
TWO_PARTS = RNG.standard_normal((2, 1, 50, 45)).astype("float32")  # of its channel
POOL = (3, 3), (2, 2), (1, 1), (1, 1)
OUTPUT = (5, 4)
INDICES = RNG.integers(0, 63, (2, 3, *OUTPUT)).astype("int32")
SMALL = X[..., :5, :4].copy()


def unpooled(b):
    _, indices = b.max_pool2d(X, OUTPUT, *POOL, True)
    return b.scatter_plane(SMALL, indices, SHAPE[2:], *POOL)


CALLS = {
    "relu": lambda b: b.relu(X),
    "relu_grad": lambda b: b.relu_grad(GY, X),
    "sum_pixels": lambda b: b.sum_pixels(TWO_PARTS),
    "cross_entropy": lambda b: b.cross_entropy(X, LABELS),
    "cross_entropy_grad": lambda b: b.cross_entropy_grad(GY[:, 0], X, LABELS),
    "max_pool2d": lambda b: b.max_pool2d(X, OUTPUT, *POOL, True),
    "scatter_plane": unpooled,
    "scatter_plane, any": lambda b: b.scatter_plane(SMALL, INDICES, SHAPE[2:], *POOL),
    "gather_plane": lambda b: b.gather_plane(X, INDICES),
    "resample2d": lambda b: b.resample2d(
        X, Bilinear(9, 14).matrix(), Bilinear(7, 5, None, True).matrix()
    ),
    "resample2d, twice": lambda b: b.resample2d(
        X, Adaptive(9, 1).matrix(), Adaptive(7, 1).matrix()
    ),
    "batch_norm_stats": lambda b: b.batch_norm_stats(TWO_PARTS),
    "batch_norm": lambda b: b.batch_norm(X, VECTOR, VECTOR, VECTOR, VECTOR, True),
    "batch_norm_grad": lambda b: b.batch_norm_grad(
        TWO_PARTS, TWO_PARTS, VECTOR[:1], VECTOR[:1], VECTOR[:1], 0.1, TWO_PARTS
    ),
    "local_response_norm": lambda b: b.local_response_norm(X, 3, 0.5, 0.75, 1.0),
    "local_response_norm_grad": lambda b: b.local_response_norm_grad(GY, X, 3, 0.5, 0.75, 1.0),
    "dropout": lambda b: b.dropout(X, 0.5, 7),
    "sgd_update": lambda b: b.sgd_update(
        X.copy(), GY, SQUARES.copy(), 0.9, 1.0, 0.1, 0.01, True
    ),
    "adam_update": lambda b: b.adam_update(
        X.copy(), GY, GY.copy(), SQUARES.copy(), 0.1, 0.9, 0.99, 1.0, 1e-8, 0.01, 1.0
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=[None, 1], ids=["in order", "seed 1"])
def checked(request):
    return CudaBackend(Emulator("check", seed=request.param))


@pytest.mark.parametrize("name", CALLS)
def test_checks_find_nothing(checked, name):
    CALLS[name](checked)
