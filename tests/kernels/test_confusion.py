"""kernels/confusion.cu against the NumPy confusion matrix."""

import numpy as np
import pytest

from tinyfcn.metrics import ConfusionMatrix


@pytest.mark.parametrize("shape", [(1,), (255,), (256,), (257,), (2, 60, 70), (0,)])
@pytest.mark.parametrize("classes", [1, 21, 110])
def test_counts(cuda, rng, shape, classes):
    truth = rng.integers(0, classes, shape).astype("int32")
    truth[rng.random(shape) < 0.2] = 255
    prediction = rng.integers(0, classes, shape).astype("int32")
    expected = ConfusionMatrix(classes)
    expected.update(prediction, truth)
    counts = cuda.confusion(truth, prediction, classes, 255)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected.counts)


@pytest.mark.parametrize(("truth", "prediction"), [(3, 0), (-1, 0), (0, 3), (0, -1)])
def test_labels_outside_are_refused(cuda, truth, prediction):
    arrays = np.array([0, truth], "int32"), np.array([0, prediction], "int32")
    with pytest.raises(ValueError, match=r"confusion: 1 pixels have a label outside 0 … 2"):
        cuda.confusion(*arrays, 3, 255)


def test_too_many_classes_are_refused(cuda):
    labels = np.zeros(1, "int32")
    with pytest.raises(ValueError, match="confusion: expected at most 110 classes, got 111"):
        cuda.confusion(labels, labels, 111, 255)


def test_every_access_is_allowed(checked, rng):
    """Counts are added with atomics, in the block and for all blocks."""
    truth, prediction = rng.integers(0, 3, (2, 5000)).astype("int32")  # two blocks
    counts = checked.confusion(truth, prediction, 3, 2)
    expected = ConfusionMatrix(3)
    expected.update(prediction[truth != 2], truth[truth != 2])
    np.testing.assert_array_equal(counts, expected.counts)
