"""The backend "meta": shapes without values."""

import copy
import itertools
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, models, nn, optim
from tinyfcn.backend.base import Backend
from tinyfcn.backend.meta import NoValues, empty
from tinyfcn.multiply_adds import MultiplyAdds


@pytest.fixture(autouse=True)
def _on_meta():
    with backend.using("meta"):
        yield


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
    with MultiplyAdds() as counted:
        loss = F.cross_entropy(model(x), np.zeros((2, 8, 8), np.int64))
        loss.backward()
        optimizer.step()
    first, second = 2 * 8 * 8 * 4 * 3 * 9, 2 * 4 * 4 * 4 * 2 * 4
    assert loss.shape == ()
    assert counted.total == 2 * first + 3 * second  # nobody wants the gradient of the image
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_counting_inside_counting():
    layer, x = nn.Linear(5, 7), tinyfcn.tensor(np.zeros((2, 5), np.float32))
    with MultiplyAdds() as outer:
        layer(x)
        with MultiplyAdds() as inner:
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


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(st.tuples(st.integers(7, 12), st.integers(7, 12)), pairs, pairs, pairs, pairs)
def test_windows_have_the_sizes_that_the_plain_body_gives(size, kernel, stride, padding, dilation):
    """Of convolution and both its adjoints, and of pooling with its indices."""
    plain, images = Backend(), np.zeros((2, 4, *size), np.float32)
    weight = np.zeros((6, 2, *kernel), np.float32)
    window = stride, padding, dilation, 2
    y = plain.conv2d(images, weight, None, *window)
    with backend.using("meta") as meta:
        assert meta.conv2d(images, weight, None, *window).shape == y.shape
        assert meta.conv2d_input_grad(y, weight, None, size, *window).shape == images.shape
        assert meta.conv2d_weight_grad(images, y, kernel, *window).shape == weight.shape
    halves = [k // 2 for k in kernel]
    for ceil_mode in (False, True):
        shapes = []
        for which in ("reference", "meta"):
            with backend.using(which):
                x = tinyfcn.Tensor(backend.active().as_array(images))
                pooled, at = F.max_pool2d(
                    x, kernel, stride, halves, dilation, ceil_mode, return_indices=True
                )
                means = F.avg_pool2d(x, kernel, stride, halves, ceil_mode)
                shapes.append((pooled.shape, at.shape, at.dtype, means.shape))
        assert shapes[0] == shapes[1]


def test_shapes_of_what_is_indexed_with_arrays_are_numpys():
    array, mask, rows = np.array([0, 2]), np.array([True, False, True]), np.array([[0], [1], [1]])
    kinds = slice(1, None), -1, None, ..., array, mask, rows, [1, 0], np.array([], int)
    compared = 0
    for index in itertools.chain.from_iterable(
        itertools.product(kinds, repeat=n) for n in (1, 2, 3)
    ):
        if any(isinstance(part, np.ndarray | list) for part in index):
            try:
                expected = np.zeros((3, 3, 3))[index].shape
            except IndexError:
                with pytest.raises(IndexError):
                    empty((3, 3, 3), np.float32)[index]
            else:
                assert empty((3, 3, 3), np.float32)[index].shape == expected
                compared += 1
    assert compared > 400
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1 with size 3"):
        empty((3, 3), np.float32)[:, [3]]
