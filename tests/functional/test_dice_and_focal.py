"""Dice and focal loss: pixel by pixel in Python's floats, and what is known of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, gradcheck, gradgradcheck


def probabilities(x, n, pixel):
    logits = [float(x[(n, c, *pixel)]) for c in range(x.shape[1])]
    powers = [math.exp(v - max(logits)) for v in logits]
    return [power / math.fsum(powers) for power in powers]


def focal_by_loops(x, target, weight, ignore_index, reduction, gamma):
    losses, total = np.zeros(target.shape), 0.0
    for (n, *pixel), label in np.ndenumerate(target):
        if label != ignore_index:
            p = probabilities(x, n, pixel)
            others = math.fsum(p[:label] + p[label + 1 :])  # 1 − p without cancellation
            losses[(n, *pixel)] = -weight[label] * others**gamma * math.log(p[label])
            total += weight[label]
    return reduced(losses, total, reduction)


def dice_by_loops(x, target, weight, ignore_index, reduction):
    losses, heavy = np.zeros(len(x)), np.zeros(len(x))
    for n in range(len(x)):
        both, said, there = np.zeros((3, x.shape[1]))
        for pixel, label in np.ndenumerate(target[n]):
            if label != ignore_index:
                p = probabilities(x, n, pixel)
                both[label] += p[label]
                said += p
                there[label] += 1
                heavy[n] += weight[label]
        present = [c for c in range(x.shape[1]) if there[c]]
        for c in present:
            dice = 2 * both[c] / (said[c] + there[c])
            losses[n] += weight[c] * (1 - dice) / sum(weight[k] for k in present)
    if reduction == "mean":
        return sum(losses * heavy) / (sum(heavy) or 1)
    return reduced(losses, 0, reduction)


def reduced(losses, total, reduction):
    if reduction == "none":
        return losses
    return math.fsum(losses.ravel()) / ((total or 1.0) if reduction == "mean" else 1.0)


@st.composite
def problems(draw):
    random = np.random.default_rng(draw(st.integers(0, 999)))
    pixels = draw(st.lists(st.integers(1, 4), max_size=3))
    n, classes = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    x = random.standard_normal((n, classes, *pixels)) * draw(st.sampled_from([1.0, 10.0]))
    target = random.integers(0, classes, (n, *pixels))
    target[random.random(target.shape) < draw(st.sampled_from([0.3, 0.9]))] = 255
    weight = random.uniform(0.1, 3, classes) if draw(st.booleans()) else None
    return x.astype(draw(st.sampled_from(["f4", "f8"]))), target.astype("u1"), weight


@given(problems(), st.sampled_from(["mean", "sum", "none"]), st.sampled_from([0, 0.5, 2, 3.5]))
def test_against_loops(problem, reduction, gamma):
    x, target, weight = problem
    known = np.ones(x.shape[1]) if weight is None else weight
    close = 400 * np.finfo(x.dtype).eps
    backwards = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for lying in (x, np.moveaxis(backwards, -1, 1), np.repeat(x, 2, axis=0)[::2]):
        loss = F.focal_loss(Tensor(lying), target, weight, 255, reduction, gamma)
        expected = focal_by_loops(x, target, known, 255, reduction, gamma)
        assert loss.dtype == x.dtype
        np.testing.assert_allclose(loss.numpy(), expected, close, close)
        loss = F.dice_loss(Tensor(lying), target, weight, 255, reduction)
        expected = dice_by_loops(x, target, known, 255, reduction)
        assert loss.dtype == x.dtype
        np.testing.assert_allclose(loss.numpy(), expected, close, close)


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


def test_nothing_that_counts():
    for fn in (F.dice_loss, F.focal_loss):
        x = Tensor(np.ones((2, 2, 3, 3), "f4"), requires_grad=True)
        loss = fn(x, np.full((2, 3, 3), 255, "u1"), ignore_index=255)
        loss.backward()
        assert loss.item() == 0.0 and not x.grad.numpy().any()


def test_the_same_bits_for_any_number_of_threads(monkeypatch, rng):
    x = rng.standard_normal((2, 21, 200, 210)).astype("f4")
    target = rng.integers(0, 21, (2, 200, 210))
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
        t = Tensor(x, requires_grad=True)
        loss = F.dice_loss(t, target) + F.focal_loss(t, target)
        loss.backward()
        results.append((loss.item(), t.grad.numpy().tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("op", [F.dice_loss, F.focal_loss])
def test_errors_name_the_op(op):
    x = Tensor(np.zeros((1, 3, 2), "f4"))
    with pytest.raises(ValueError, match=f"^{op.__name__}: target holds the label 7, outside"):
        op(x, np.array([[0, 7]]))
    with pytest.raises(ValueError, match=f"^{op.__name__}: reduction must be one of"):
        op(x, np.array([[0, 1]]), reduction="average")
    with backend.using("meta"):
        assert op(tinyfcn.tensor(np.zeros((1, 3, 2), "f4")), np.array([[0, 1]])).shape == ()
