"""The backend "meta": shapes without values."""

import copy
import resource

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, models, nn, optim
from tinyfcn.backend.base import Backend
from tinyfcn.backend.meta import NoValues
from tinyfcn.multiply_adds import count_multiply_adds


@pytest.fixture(autouse=True)
def _on_meta():
    with backend.using("meta"):
        yield


def test_it_has_every_primitive():
    missing = [name for name in vars(Backend) if not hasattr(backend.active(), name)]
    assert [name for name in missing if not name.startswith("_")] == []


def test_a_large_network_takes_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = models.fcn8s()
    y = model(tinyfcn.tensor(np.zeros((1, 3, 500, 500), np.float32)))
    assert y.shape == (1, 21, 500, 500)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_no_random_numbers_are_drawn():
    before = tinyfcn.random.get_state()
    models.fcn8s()
    assert tinyfcn.random.get_state() == before


def test_a_training_step_counted_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters())
    x = tinyfcn.tensor(np.zeros((2, 3, 8, 8), np.float32))
    with count_multiply_adds() as counted:
        loss = F.cross_entropy(model(x), np.zeros((2, 8, 8), np.int64))
        loss.backward()
        optimizer.step()
    first, second = 2 * 8 * 8 * 4 * 3 * 9, 2 * 4 * 4 * 4 * 2 * 4
    assert loss.shape == ()
    assert counted.total == 2 * first + 3 * second  # nobody wants the gradient of the image
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_counting_inside_counting():
    layer, x = nn.Linear(5, 7), tinyfcn.tensor(np.zeros((2, 5), np.float32))
    with count_multiply_adds() as outer:
        layer(x)
        with count_multiply_adds() as inner:
            layer(x)
        layer(x)
    assert (inner.total, outer.total) == (70, 210)


def test_arrays_behave_as_those_of_numpy_in_their_shapes():
    a = backend.active().as_array(np.ones((2, 1, 4), np.float32))
    assert (a + np.ones((3, 1), np.float64)).shape == (2, 3, 4)
    assert (a + np.ones((3, 1), np.float64)).dtype == np.float64
    assert (a > 0).dtype == bool
    assert (a * 2).dtype == np.float32
    assert a.sum(axis=(0, 2), keepdims=True).shape == (1, 1, 1)
    assert a.transpose(2, 0, 1).reshape(-1, 2).shape == (4, 2)
    assert a[:, 0, 1:3].memory is a.memory
    assert a[:, [0, 0, 0], 1].memory.nbytes == 2 * 3 * 4
    assert (a @ np.ones((4, 6), np.float32)).shape == (2, 1, 6)
    assert copy.deepcopy(a).memory is not a.memory
    a[...] = 5
    a += 1
    assert np.isnan(np.asarray(a)).all() and a.memory.changes == 2
    assert (a.argmax(1).shape, a.argmax().shape, a[0, 0, 0].shape) == ((2, 4), (), ())
    assert repr(a) == "MetaArray((2, 1, 4), float32)"


@pytest.mark.parametrize(
    "look", [bool, float, int, lambda a: a.item(), lambda a: a.tolist(), lambda a: [0, 1][a]]
)
def test_nobody_is_told_a_value(look):
    count = backend.active().as_array(np.ones((), np.int64))
    with pytest.raises(NoValues, match=r"no values, but .* of shape \(\)"):
        look(count + 1)
