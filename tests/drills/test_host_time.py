"""How often a training step bothers the device: figures that must not grow back."""

import host_time
import numpy as np
import pytest

from tinyfcn import backend
from tinyfcn.backend.cuda import CudaBackend


@pytest.fixture
def null():
    with backend.using(CudaBackend(host_time.NullEngine())) as used:
        yield used


@pytest.mark.parametrize(
    ("name", "size", "launches", "others"),
    [("fcn8s", 64, 65, 15), ("fcn8s", 500, 73, 21),
     ("fcn_resnet50", 64, 299, 97), ("fcn_resnet50", 500, 352, 97)],
)  # fmt: skip
def test_launches_of_a_step(null, name, size, launches, others):
    step = host_time.training_step(name, size, null)
    found, made, copies = host_time.counted(step, null)
    assert sum(found.values()) <= launches, found
    assert sum(made.values()) <= others, made
    assert all(shape[0] == 1 and shape[-1] == size for shape in copies)  # of no parameter


@pytest.mark.parametrize(("name", "most"), [("fcn8s", 200), ("fcn_resnet50", 546)])
def test_kernels_read_and_write_float16(null, monkeypatch, name, most):
    """A cast is a pass over memory of its own; those that are left are around convolutions."""
    step, casts = host_time.training_step(name, 64, null, "fp16"), []

    def cast(_, x, dtype):
        casts.append(x.shape)
        return host_time.new(x.shape, dtype)

    monkeypatch.setattr(CudaBackend, "cast", cast)
    step()
    assert len(casts) <= most


def test_what_lies_otherwise_is_counted(null):
    x = null.empty((2, 3, 4, 5), np.float32)
    launches, others, copies = host_time.counted(
        lambda: (null.relu(x.transpose(1, 0, 2, 3)), x + 1), null
    )
    assert launches == {"relu<float>": 1} and others["add"] == 1 and copies == [(3, 2, 4, 5)]
