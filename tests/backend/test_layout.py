"""Memory stays channels-last from the image to the gradients: nothing is copied to make it so."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, models
from tinyfcn.backend.cpu import layout


def image(n, c, h, w):
    return layout.logical(np.random.default_rng(0).standard_normal((n, h, w, c)).astype("float32"))


@pytest.fixture
def copies(monkeypatch):
    """The shapes of arrays that had to be copied because they lay in another order."""
    made = []
    original = np.ascontiguousarray

    def counting(array, *args, **kwargs):
        result = original(array, *args, **kwargs)
        if np.ndim(array) == 4 and result.size > 1 and not np.shares_memory(result, array):
            made.append(np.shape(array))
        return result

    monkeypatch.setattr(np, "ascontiguousarray", counting)
    return made


@pytest.mark.parametrize("batch_norm", [False, True])
def test_no_layout_copies_in_a_training_step(copies, batch_norm):
    model = models.fcn8s(num_classes=5, width=1 / 8, batch_norm=batch_norm)
    labels = np.random.default_rng(1).integers(0, 5, (2, 64, 96))
    F.cross_entropy(model(Tensor(image(2, 3, 64, 96))), labels).backward()
    assert copies == []
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_counter_counts(copies):
    """An image in (C, H, W) order, as it should not lie, is copied by the first convolution."""
    model = models.fcn8s(num_classes=5, width=1 / 8)
    x = np.ascontiguousarray(image(2, 3, 64, 96))
    copies.clear()
    with tinyfcn.no_grad():
        model(Tensor(x))
    assert copies == [(2, 64, 96, 3)]


@pytest.mark.parametrize("count", ["2", "3", "7"])
def test_a_network_has_the_same_bits_for_any_number_of_threads(monkeypatch, count):
    labels = np.random.default_rng(1).integers(0, 5, (2, 67, 94))

    def gradients():
        tinyfcn.manual_seed(0)
        model = models.fcn8s(num_classes=5, width=1 / 8, batch_norm=True)
        y = model(Tensor(image(2, 3, 67, 94)))
        F.cross_entropy(y, labels).backward()
        return [y.numpy(), *(p.grad.numpy() for p in model.parameters() if p.requires_grad)]

    monkeypatch.setenv("TINYFCN_NUM_THREADS", "1")
    single = gradients()
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
    for a, b in zip(single, gradients(), strict=True):
        np.testing.assert_array_equal(a, b)
