"""Metrics against published golden values and a count pixel by pixel."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn.metrics import ConfusionMatrix, scores


def test_golden_values() -> None:
    # 10 pixels with the confusion [[3, 1], [1, 5]], fed in as labels.
    truth = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    prediction = [0, 0, 0, 1, 0, 1, 1, 1, 1, 1]
    matrix = ConfusionMatrix(2)
    matrix.update(prediction, truth)
    result = matrix.scores()
    assert matrix.counts.tolist() == [[3, 1], [1, 5]]
    assert result.pixel_accuracy == pytest.approx(0.8)
    assert result.mean_accuracy == pytest.approx((0.75 + 5 / 6) / 2)
    assert result.mean_iu == pytest.approx((3 / 5 + 5 / 7) / 2)
    assert result.fw_iu == pytest.approx(0.4 * 0.6 + 0.6 * 5 / 7)


def test_all_background_of_21_classes() -> None:
    """What a zero-initialised score layer gives: mean IU = background share / classes."""
    truth = np.repeat(np.arange(21), [730] + [13] * 19 + [23])
    matrix = ConfusionMatrix(21)
    matrix.update(np.zeros_like(truth), truth)
    result = matrix.scores()
    assert result.pixel_accuracy == pytest.approx(0.73)
    assert result.mean_iu == pytest.approx(0.73 / 21)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_against_counting_one_by_one(classes: int, seed: int, images: int) -> None:
    random = np.random.default_rng(seed)
    matrix = ConfusionMatrix(classes)
    inside = [0] * classes
    outside = [0] * classes
    true = [0] * classes
    for _ in range(images):
        truth = random.integers(0, classes, (3, 5)).astype(np.uint8)
        truth[random.random(truth.shape) < 0.2] = 255
        prediction = random.integers(0, classes, (3, 5))
        matrix.update(prediction, truth)
        for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
            if t == 255:
                continue
            true[t] += 1
            if t == p:
                inside[t] += 1
            else:
                outside[t] += 1
                outside[p] += 1
    pairs = list(zip(inside, outside, true, strict=True))
    ius = [a / (a + b) if a + b else np.nan for a, b, _ in pairs]
    accuracies = [a / t for a, _, t in pairs if t]
    result = matrix.scores()
    np.testing.assert_allclose(result.iu, ius, rtol=1e-12)
    if sum(true) == 0:
        assert np.isnan([result.pixel_accuracy, result.mean_accuracy, result.mean_iu]).all()
        return
    assert result.pixel_accuracy == pytest.approx(sum(inside) / sum(true))
    assert result.mean_accuracy == pytest.approx(sum(accuracies) / len(accuracies))
    known = [iu for iu in ius if not np.isnan(iu)]
    assert result.mean_iu == pytest.approx(sum(known) / len(known))
    weighted = sum(t * iu for t, iu in zip(true, ius, strict=True) if t)
    assert result.fw_iu == pytest.approx(weighted / sum(true))


def test_absent_class_is_nan_but_a_wrongly_predicted_one_counts() -> None:
    # Class 1 is predicted once and never true; class 2 is neither.
    result = scores([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert result.iu[:2].tolist() == [0.75, 0.0]
    assert np.isnan(result.iu[2])
    assert result.mean_iu == pytest.approx(0.375)
    assert result.mean_accuracy == pytest.approx(0.75)
    assert result.fw_iu == pytest.approx(0.75)


def test_one_matrix_over_the_set_is_not_the_mean_over_images() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update([0, 0, 0, 0], [0, 0, 0, 1])
    matrix.update([1], [1])
    assert matrix.scores().iu.tolist() == [0.75, 0.5]


def test_predictions_under_void_do_not_matter() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 200], np.uint8), np.array([0, 255], np.uint8))
    assert matrix.counts.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("prediction", "truth", "words"),
    [
        ([0, 1], [0, 2], "truth holds the label 2.*2 classes.*0 to 1"),
        ([0, 1], [0, -1], "truth holds the label -1"),
        ([0, 2], [0, 1], "prediction holds the label 2"),
        ([0, 1, 1], [0, 1], r"prediction \(3,\) and truth \(2,\)"),
        ([0.5, 1.0], [0, 1], "prediction must hold integer"),
    ],
)
def test_rejects(prediction: list[float], truth: list[int], words: str) -> None:
    matrix = ConfusionMatrix(2)
    with pytest.raises(ValueError, match=words):
        matrix.update(prediction, truth)
    assert matrix.counts.sum() == 0


def test_a_large_image_takes_little_memory() -> None:
    labels = np.zeros((3000, 2000), np.uint8)
    tracemalloc.start()
    ConfusionMatrix(2).update(labels, labels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * labels.size
