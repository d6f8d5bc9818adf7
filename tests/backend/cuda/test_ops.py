"""Every op once, forward and backward: on the plain bodies, in the emulator, and on a device whose
arrays do not mix with those of the host."""

from __future__ import annotations

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend
from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator

IMAGE, LABELS = (2, 4, 7, 6), np.array([[0, 3, 255], [2, 1, 1]])


def pooled_and_unpooled(x):
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(y, indices, 2, output_size=x.shape)


def trained_batch_norm(x, weight, bias, dtype="f8"):
    statistics = tinyfcn.tensor(np.zeros(4, dtype)), tinyfcn.tensor(np.ones(4, dtype))
    return F.batch_norm(x, *statistics, weight, bias, training=True)


# The shapes of the inputs that get a gradient, and the op on them.
CASES = {
    "adaptive_avg_pool2d": ([IMAGE], lambda x: F.adaptive_avg_pool2d(x, (3, 4))),
    "add": ([IMAGE, (4, 1, 1)], F.add),
    "amax": ([IMAGE], lambda x: F.amax(x, 1)),
    "avg_pool2d": ([IMAGE], lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "batch_norm": ([IMAGE, (4,), (4,)], trained_batch_norm),
    "batch_norm, of other statistics": (
        [IMAGE, (4,), (4,)], lambda *t: trained_batch_norm(*t, "f4")
    ),
    "cat": ([IMAGE, IMAGE], lambda x, y: F.cat((x, y), 1)),
    "conv2d": (
        [IMAGE, (6, 2, 3, 2), (6,)], lambda *t: F.conv2d(*t, stride=2, padding=1, groups=2)
    ),
    "conv2d and relu": (
        [IMAGE, (6, 4, 3, 2), (6,)], lambda *t: F.conv2d(*t, padding=1, relu=True)
    ),
    "conv_transpose2d": (
        [IMAGE, (4, 3, 3, 3), (3,)], lambda *t: F.conv_transpose2d(*t, stride=2, output_padding=1)
    ),
    "crop": ([IMAGE], lambda x: F.crop(x, (1, 2), (4, 3))),
    "cross_entropy": ([(2, 4, 3)], lambda x: F.cross_entropy(x, LABELS, ignore_index=255)),
    "dice_loss": ([(2, 4, 3)], lambda x: F.dice_loss(x, LABELS, ignore_index=255)),
    "div": ([IMAGE, IMAGE], F.div),
    "dropout": ([IMAGE], lambda x: F.dropout(x, 0.4)),
    "dropout2d": ([IMAGE], lambda x: F.dropout2d(x, 0.4)),
    "elu": ([IMAGE], F.elu),
    "exp": ([IMAGE], F.exp),
    "flatten": ([IMAGE], lambda x: F.flatten(x, 1)),
    "focal_loss": ([(2, 4, 3)], lambda x: F.focal_loss(x, LABELS, ignore_index=255)),
    "getitem": ([IMAGE], lambda x: F.getitem(x, np.array([1, 0, 1]))),
    "interpolate": ([IMAGE], lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear")),
    "leaky_relu": ([IMAGE], F.leaky_relu),
    "linear": ([(3, 5), (2, 5), (2,)], F.linear),
    "local_response_norm": ([IMAGE], lambda x: F.local_response_norm(x, 3, 0.5)),
    "log": ([IMAGE], lambda x: F.log(x * x + 1.0)),
    "log_softmax": ([IMAGE], lambda x: F.log_softmax(x, 1)),
    "matmul": ([(2, 3, 4), (4, 5)], F.matmul),
    "max_pool2d": ([IMAGE], lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    "max_unpool2d": ([IMAGE], pooled_and_unpooled),
    "mean": ([IMAGE], lambda x: F.mean(x, (0, 2))),
    "mul": ([IMAGE, (6,)], F.mul),
    "neg": ([IMAGE], F.neg),
    "nll_loss": ([(2, 4, 3)], lambda x: F.nll_loss(x, LABELS, ignore_index=255)),
    "pad": ([IMAGE], lambda x: F.pad(x, (1, 2, 0, 3), "reflect")),
    "permute": ([IMAGE], lambda x: F.permute(x, (2, 0, 3, 1))),
    "pow": ([IMAGE], lambda x: F.pow(x, 3.0)),
    "prelu": ([IMAGE, (4,)], F.prelu),
    "relu": ([IMAGE], F.relu),
    "reshape": ([IMAGE], lambda x: F.reshape(x, (8, -1))),
    "sigmoid": ([IMAGE], F.sigmoid),
    "softmax": ([IMAGE], lambda x: F.softmax(x, 1)),
    "sqrt": ([IMAGE], lambda x: F.sqrt(x * x + 1.0)),
    "sub": ([IMAGE, (1, 4, 1, 6)], F.sub),
    "sum": ([IMAGE], lambda x: F.sum(x, (0, 2, 3))),
    "tanh": ([IMAGE], F.tanh),
    "transpose": ([IMAGE], lambda x: F.transpose(x, 1, 3)),
    "unpool_bed_of_nails": ([IMAGE], lambda x: F.unpool_bed_of_nails(x, 2)),
    "unpool_nearest": ([IMAGE], lambda x: F.unpool_nearest(x, (2, 3))),
}  # fmt: skip


def test_every_primitive_that_has_kernels_is_run():
    """Ops of array functions alone need no line above; what CudaBackend overrides needs one."""
    used: set[str] = set()

    class Watched(CudaBackend):
        def __getattribute__(self, name):
            used.add(name)
            return super().__getattribute__(name)

    watched = Watched(Emulator())
    for name in CASES:
        run(watched, name, "f8")
    primitives = {n for n in dir(Backend) if callable(getattr(Backend, n)) and n[0] != "_"}
    overridden = {n for n in primitives if getattr(CudaBackend, n) is not getattr(Backend, n)}
    not_ops = {"empty", "upload", "synchronize", "to_numpy", "sgd_update", "adam_update",
               "all_finite"}  # fmt: skip
    left = ", ".join(sorted(overridden - not_ops - used))
    assert not left, f"tests/backend/cuda/test_ops.py: add an op that uses {left} to CASES"


def run(where, name, dtype):
    """The result, the gradients, and the gradients of the squared length of these."""
    shapes, op = CASES[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    with backend.using(where) as b:
        tinyfcn.manual_seed(0)
        inputs = [Tensor(b.as_array(array), requires_grad=True) for array in arrays]
        y = op(*inputs)
        g = Tensor(b.as_array(rng.standard_normal(y.shape).astype(dtype)), requires_grad=True)
        first = tinyfcn.grad(y, inputs, g, create_graph=True)
        squares = sum((t * t).sum() for t in first)
        second = tinyfcn.grad(squares, [*inputs, g], allow_unused=True)
        return [b.to_numpy(t.data) for t in (y, *first, *second) if t is not None]


@pytest.mark.parametrize("name", CASES)
def test_same_as_the_reference(name, device):
    expected = run("reference", name, "f8")
    for actual, wanted in zip(run(device, name, "f8"), expected, strict=True):
        assert actual.dtype == wanted.dtype
        np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_float32(name):
    expected = run("reference", name, "f8")
    for actual, wanted in zip(run("emulator", name, "f4"), expected, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
