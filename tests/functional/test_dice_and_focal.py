"""What is known of Dice and focal loss; ``test_loss.py`` computes them pixel by pixel."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, gradcheck, gradgradcheck


@pytest.mark.parametrize("gamma", [0.5, 1, 2, 3.5])
def test_derivatives_of_the_focal_loss(gamma, rng):
    x = Tensor(rng.standard_normal((2, 3, 2)), requires_grad=True)
    target = np.array([[0, 255], [2, 1]])

    def loss(t):
        return F.focal_loss(t, target, ignore_index=255, gamma=gamma)

    assert gradcheck(loss, x)
    assert gradgradcheck(loss, x)


def test_gamma_0_is_cross_entropy(rng):
    x, target = Tensor(rng.standard_normal((2, 3, 4))), rng.integers(0, 3, (2, 4))
    expected = F.cross_entropy(x, target, reduction="none").numpy()
    found = F.focal_loss(x, target, reduction="none", gamma=0).numpy()
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="focal_loss: gamma must be a finite number of at least 0"):
        F.focal_loss(x, target, gamma=-1)


@pytest.mark.parametrize("gamma", [0.25, 1, 2])
def test_a_pixel_that_is_right_for_certain_gives_no_nan(gamma):
    x = Tensor(np.array([[200.0, 0.0], [0.0, 1.0]], "f4"), requires_grad=True)
    loss = F.focal_loss(x, np.array([0, 0]), gamma=gamma)
    (g,) = tinyfcn.grad(loss, x, create_graph=True)
    (gg,) = tinyfcn.grad((g * g).sum(), x)
    assert np.isfinite([loss.numpy(), *g.numpy().flat, *gg.numpy().flat]).all()
    assert not g.numpy()[0].any() and g.numpy()[1, 0] < 0


def test_the_batch_is_put_together_from_its_parts(rng):
    """The means of parts, each as heavy as its pixels that count: what ranks rely on."""
    x, weight = rng.standard_normal((4, 3, 5, 5)), np.array([0.5, 1.0, 3.0])
    target = rng.integers(0, 3, (4, 5, 5))
    target[rng.random(target.shape) < np.array([0, 0.3, 0.9, 1])[:, None, None]] = 255
    for fn in (F.cross_entropy, F.focal_loss, F.dice_loss):
        whole = fn(Tensor(x), target, weight, 255).item()
        heavy = [weight[part[part != 255]].sum() for part in (target[:1], target[1:])]
        parts = [
            fn(Tensor(x[:1]), target[:1], weight, 255),
            fn(Tensor(x[1:]), target[1:], weight, 255),
        ]
        total = sum(h * part.item() for h, part in zip(heavy, parts, strict=True)) / sum(heavy)
        assert whole == pytest.approx(total, rel=1e-12)


def test_dice_of_a_sure_answer_is_that_of_its_labels(rng):
    said, true = rng.integers(0, 3, (2, 3, 6, 6))
    logits = 1e4 * (said[:, None] == np.arange(3)[:, None, None])
    found = F.dice_loss(Tensor(logits), true, reduction="none").numpy()
    for n in range(3):
        dice = [
            2
            * ((said[n] == c) & (true[n] == c)).sum()
            / ((said[n] == c).sum() + (true[n] == c).sum())
            for c in range(3)
        ]
        assert found[n] == pytest.approx(1 - np.mean(dice), abs=1e-12)


@pytest.mark.parametrize("op", [F.dice_loss, F.focal_loss])
def test_shapes_alone(op):
    with backend.using("meta"):
        assert op(tinyfcn.tensor(np.zeros((1, 3, 2), "f4")), np.array([[0, 1]])).shape == ()
