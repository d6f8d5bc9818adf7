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
    ("name", "size", "precision", "launches", "others"),
    [("fcn8s", 64, "float32", 65, 18), ("fcn8s", 500, "float32", 73, 24),
     ("fcn_resnet50", 64, "float32", 299, 100), ("fcn_resnet50", 500, "float32", 352, 100),
     ("fcn8s", 64, "fp16", 129, 64), ("fcn_resnet50", 64, "fp16", 389, 212)],
)  # fmt: skip
def test_launches_of_a_step(null, name, size, precision, launches, others):
    step = host_time.training_step(name, size, null, precision)
    found, made, copies = host_time.counted(step, null)
    assert sum(found.values()) <= launches, found
    assert sum(made.values()) <= others, made
    assert all(shape[0] == 1 and shape[-1] == size for shape in copies)  # of no parameter


@pytest.mark.parametrize("name", ["fcn8s", "fcn_resnet50", "deconvnet", "deeplab_aspp", "parsenet"])
def test_kernels_read_and_write_float16(null, monkeypatch, name):
    """No primitive of a step is one in float32, with a pass over memory before and behind it."""
    monkeypatch.setattr(CudaBackend, "cast", lambda _, x, dtype: pytest.fail(f"cast {x.shape}"))
    host_time.training_step(name, 64, null, "fp16")()


def test_what_lies_otherwise_is_counted(null):
    x = null.empty((2, 3, 4, 5), np.float32)
    launches, others, copies = host_time.counted(
        lambda: (null.relu(x.transpose(1, 0, 2, 3)), x + 1), null
    )
    assert launches == {"relu<float>": 1} and others["add"] == 1 and copies == [(3, 2, 4, 5)]
