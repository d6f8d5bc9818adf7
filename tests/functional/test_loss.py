import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, gradcheck, gradgradcheck


def probabilities(x, n, pixel):
    logits = [float(x[(n, c, *pixel)]) for c in range(x.shape[1])]
    powers = [math.exp(v - max(logits)) for v in logits]
    return [power / math.fsum(powers) for power in powers]


def focal_by_loops(x, target, weight, ignore_index, reduction, gamma):
    """Pixel by pixel with Python's floats; cross-entropy for gamma 0."""
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


def nll_of_logits(x, target, *arguments):
    return F.nll_loss(F.log_softmax(x, 1), Tensor(target), *arguments)


LOSSES = [
    (F.cross_entropy, partial(focal_by_loops, gamma=0)),
    (nll_of_logits, partial(focal_by_loops, gamma=0)),
    (F.dice_loss, dice_by_loops),
    *((partial(F.focal_loss, gamma=gamma), partial(focal_by_loops, gamma=gamma))
      for gamma in (0, 0.5, 2, 3.5)),
]  # fmt: skip


@st.composite
def problems(draw):
    random = np.random.default_rng(draw(st.integers(0, 999)))
    pixels = draw(st.lists(st.integers(1, 4), max_size=3))
    n, classes = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    x = random.standard_normal((n, classes, *pixels)) * draw(st.sampled_from([1.0, 10.0]))
    x = x.astype(draw(st.sampled_from(["float32", "float64"])))
    ignore_index = draw(st.sampled_from([-100, 255, 0, classes - 1]))
    integers = ["int64", "int32"] + (["uint8"] if ignore_index >= 0 else [])
    target = random.integers(0, classes, (n, *pixels))
    target[random.random(target.shape) < draw(st.sampled_from([0.3, 0.9]))] = ignore_index
    weight = random.uniform(0.1, 3, classes) if draw(st.booleans()) else None
    return x, target.astype(draw(st.sampled_from(integers))), weight, ignore_index


@given(problems(), st.sampled_from(["mean", "sum", "none"]))
@settings(max_examples=40)
def test_against_loops(problem, reduction):
    x, target, weight, ignore_index = problem
    known = np.ones(x.shape[1]) if weight is None else weight
    close = 400 * np.finfo(x.dtype).eps
    backwards = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    layouts = x, np.moveaxis(backwards, -1, 1), np.repeat(x, 2, axis=0)[::2]
    for fn, loops in LOSSES:
        expected = loops(x, target, known, ignore_index, reduction)
        for lying in layouts:
            found = fn(Tensor(lying), target, weight, ignore_index, reduction)
            assert found.dtype == x.dtype
            np.testing.assert_allclose(found.numpy(), expected, close, close)


@pytest.mark.parametrize("op", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pixels", [(), (2, 2)])
def test_derivatives(op, reduction, weighted, pixels, rng):
    x = Tensor(rng.standard_normal((2, 3, *pixels)), requires_grad=True)
    target = rng.integers(0, 3, (2, *pixels))
    target.flat[1] = 255
    weight = rng.uniform(0.5, 2, 3) if weighted else None

    def loss(t):
        return op(t, target, weight, ignore_index=255, reduction=reduction)

    assert gradcheck(loss, x)
    assert gradgradcheck(loss, x)


def test_second_derivative_of_a_function_of_the_loss(rng):
    x = Tensor(rng.standard_normal((2, 3)), requires_grad=True)

    def squared(t):
        loss = F.cross_entropy(t, np.array([0, 2]), reduction="none")
        return (loss * loss * t.sum()).sum()

    assert gradgradcheck(squared, x)


def test_hessian_of_cross_entropy_is_diag_p_minus_p_pT(rng):
    x = Tensor(rng.standard_normal((1, 4)), requires_grad=True)
    (g,) = tinyfcn.grad(F.cross_entropy(x, np.array([1])), x, create_graph=True)
    p = np.exp(x.numpy()[0]) / np.exp(x.numpy()[0]).sum()
    for c in range(4):
        (row,) = tinyfcn.grad(g[0, c], x, retain_graph=True)
        np.testing.assert_allclose(row.numpy()[0], p * ((np.arange(4) == c) - p[c]), atol=1e-15)


def test_zero_logits_cost_log_of_the_number_of_classes():
    # The first loss of an FCN with zero scores: ln 21 a pixel, 570,848 over a 375 × 500 image.
    x = Tensor(np.zeros((1, 21, 375, 500), np.float32))
    target = np.zeros((1, 375, 500), np.uint8)
    step = float(np.finfo(np.float32).eps)
    assert F.cross_entropy(x, target).item() == pytest.approx(3.0445224377, rel=4 * step)
    total = F.cross_entropy(x, target, reduction="sum").item()
    assert total == pytest.approx(187_500 * math.log(21), rel=4 * step)
    assert round(total) == 570_848


def test_a_float32_sum_over_a_million_pixels_is_accurate(rng):
    x = rng.standard_normal((1, 2, 1000, 1000)).astype("float32")
    target = rng.integers(0, 2, (1, 1000, 1000), dtype=np.uint8)
    sign = np.where(target[0] == 0, 1.0, -1.0)
    exact = np.log1p(np.exp(sign * (x[0, 1].astype("float64") - x[0, 0]))).sum()
    loss = F.cross_entropy(Tensor(x), target, reduction="sum").item()
    assert loss == pytest.approx(exact, rel=5e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_ten_thousand(dtype):
    x = Tensor(np.array([[1e4, -1e4, 0], [1e4, 1e4, -1e4], [-1e4, 1e4, 0]], dtype), True)
    loss = F.cross_entropy(x, np.array([0, 1, 0]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [0, math.log(2), 2e4], rtol=1e-6, atol=0)
    loss.sum().backward()
    expected = [[0, 0, 0], [0.5, -0.5, 0], [-1, 1, 0]]
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-7)


def test_small_differences_of_large_logits_in_float32(rng):
    # Around 10⁴ float32 has steps of 0.001: log Σ exp(x), kept as one number, would lose the rest.
    near = (rng.integers(-8, 8, (50, 5)) / 8).astype("float32")
    target = rng.integers(0, 5, 50)
    results = []
    for shift in (0, 8192):
        x = Tensor(near + np.float32(shift), requires_grad=True)
        loss = F.cross_entropy(x, target, reduction="none")
        loss.sum().backward()
        results.append((loss.numpy(), x.grad.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("op", [F.cross_entropy, F.dice_loss, F.focal_loss])
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0])])
def test_every_pixel_ignored(op, weight):
    x = Tensor(np.ones((2, 2, 3, 3), np.float32), requires_grad=True)
    target = np.full((2, 3, 3), 255, np.uint8)
    for reduction in ("mean", "sum"):
        loss = op(x, target, weight, ignore_index=255, reduction=reduction)
        x.grad = None
        loss.backward()
        assert loss.item() == 0.0
        np.testing.assert_array_equal(x.grad.numpy(), 0.0)


def test_ignored_pixels_have_exactly_no_gradient(rng):
    x = Tensor(rng.standard_normal((2, 21, 80, 90)).astype("float32"), requires_grad=True)
    target = rng.integers(0, 21, (2, 80, 90))
    target[rng.random(target.shape) < 0.5] = 255
    F.cross_entropy(x, target, ignore_index=255, reduction="sum").backward()
    g = x.grad.numpy().transpose(0, 2, 3, 1)
    assert not g[target == 255].any()
    # Elsewhere softmax − one-hot: the sum is 0, and only the label's own entry is negative.
    np.testing.assert_allclose(g.sum(-1), 0, atol=1e-6)
    np.testing.assert_array_equal(g[target != 255].argmin(-1), target[target != 255])


def test_weighted_mean_divides_by_the_sum_of_weights():
    # caffe-segnet would divide by the number of pixels, 3, instead of 1 + 3 + 3.
    x, target, weight = np.zeros((3, 2)), np.array([0, 1, 1]), np.array([1.0, 3.0])
    assert F.cross_entropy(Tensor(x), target, weight).item() == pytest.approx(math.log(2))
    total = F.cross_entropy(Tensor(x), target, weight, reduction="sum").item()
    assert total == pytest.approx(7 * math.log(2))


def test_the_same_bits_for_any_number_of_threads(monkeypatch, rng):
    x = rng.standard_normal((2, 21, 200, 210)).astype("float32")
    target = rng.integers(0, 21, (2, 200, 210))
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
        t = Tensor(x, requires_grad=True)
        loss = F.cross_entropy(t, target) + F.dice_loss(t, target) + F.focal_loss(t, target)
        loss.backward()
        results.append((loss.item(), t.grad.numpy().tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("op", [F.cross_entropy, F.nll_loss, F.dice_loss, F.focal_loss])
def test_errors(op):
    name = op.__name__
    x = Tensor(np.zeros((1, 21, 2, 2), np.float32))
    for bad in (21, 255, -1):
        target = np.array([[[0, 20], [bad, 3]]])
        with pytest.raises(ValueError, match=rf"{name}: .*label {bad}, outside the range 0 … 20"):
            op(x, target)
    with pytest.raises(ValueError, match=r"label 22.*ignore_index is 255"):
        op(x, np.array([[[0, 20], [22, 255]]], np.uint8), ignore_index=255)
    with pytest.raises(TypeError, match=f"{name}: target must have an integer dtype, got float32"):
        op(x, np.zeros((1, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"x \(1, 21, 2, 2\), target \(1, 2, 3\)"):
        op(x, np.zeros((1, 2, 3), int))
    with pytest.raises(ValueError, match=r"weight must have shape \(21,\).*got \(20,\)"):
        op(x, np.zeros((1, 2, 2), int), weight=np.ones(20))
    with pytest.raises(ValueError, match=r"reduction must be one of .*got 'average'"):
        op(x, np.zeros((1, 2, 2), int), reduction="average")
