"""ParseNet: its count, its normalization, and what the global mean does."""

import numpy as np

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.parsenet import L2Norm

TINY = 1 / 64


def test_the_number_of_parameters(without_values):
    """DeepLab-LargeFOV's, and for 1024 more channels: 21 weights each, 2 factors each."""
    model = models.parsenet()
    assert nn.count_parameters(model) == 20_505_429 + 1024 * 21 + 2 * 1024 == 20_528_981


def test_every_pixel_has_the_length_that_was_asked_for(rng):
    norm = L2Norm(5, scale=7.0).double()
    x = rng.standard_normal((2, 5, 3, 4))
    y = norm(tinyfcn.tensor(x)).numpy()
    assert np.allclose(np.linalg.norm(y, axis=1), 7.0)
    assert np.allclose(y, 7.0 * x / np.linalg.norm(x, axis=1, keepdims=True))
    norm.weight.data[...] = [1.0, 2.0, 3.0, 4.0, 5.0]
    each = np.array([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 5, 1, 1)
    assert np.allclose(norm(tinyfcn.tensor(x)).numpy(), y / 7.0 * each)


def test_pixels_have_length_10_at_first():
    model = models.parsenet(width=TINY)
    for norm in (model.local_norm, model.global_norm):
        assert np.array_equal(norm.weight.numpy(), np.full(16, 10.0))


def test_gradients_of_the_normalization(rng):
    norm = L2Norm(4).double()
    x = tinyfcn.tensor(rng.standard_normal((2, 4, 3, 2)), requires_grad=True)
    assert tinyfcn.gradcheck(norm, (x,))
    zeros = tinyfcn.tensor(np.zeros((1, 4, 1, 1)), requires_grad=True)
    norm(zeros).sum().backward()
    assert np.isfinite(zeros.grad.numpy()).all()


def test_every_score_sees_the_whole_image(rng):
    """A change in one corner reaches all scores, and the same way: through the mean alone."""
    model = models.parsenet(num_classes=2, width=1 / 16).eval()
    x = rng.standard_normal((1, 3, 33, 601)).astype(np.float32)
    changed = x.copy()
    changed[:, :, :, :8] += 5.0
    with tinyfcn.no_grad():
        difference = model(tinyfcn.tensor(changed)).numpy() - model(tinyfcn.tensor(x)).numpy()
    far = difference[0, :, :, 500:]
    assert (np.abs(far) > 0).all()
    assert np.allclose(far, far[:, :1, :1], rtol=1e-3, atol=1e-5)
