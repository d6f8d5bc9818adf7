"""Class weights: the published formulas by hand, and one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyfcn.data import DataError
from tinyfcn.training.class_weights import class_weights, enet_weights, median_frequency_weights


def test_median_frequency_weights() -> None:
    masks = [
        np.array([[0, 0, 0, 0], [0, 0, 1, 255]]),  # 8 pixels: 6 of class 0, 1 of class 1, 1 void
        np.array([[0, 2, 2, 2]]),
    ]
    # freq(0) = 7 / 12, freq(1) = 1 / 8, freq(2) = 3 / 4, class 3 is absent; the median is 7 / 12.
    weights = median_frequency_weights(masks, 4)
    np.testing.assert_allclose(weights, [1, 7 / 12 * 8, 7 / 12 / 0.75, 0], rtol=1e-6)
    assert weights.dtype == np.float32
    with pytest.raises(DataError, match="no pixel"):
        median_frequency_weights([np.full((2, 2), 255)], 3)


def test_enet_weights() -> None:
    masks = [np.array([[0, 0, 0, 255]]), np.array([[0, 1], [0, 0]])]  # 6 of 7, 1 of 7, none
    expected = [1 / math.log(1.02 + share) for share in (6 / 7, 1 / 7, 0)]
    np.testing.assert_allclose(enet_weights(masks, 3), expected, rtol=1e-6)
    with pytest.raises(DataError, match="no pixel"):
        enet_weights([np.full((2, 2), 255)], 3)


def test_what_is_asked_for() -> None:
    masks, names = [np.array([[0, 0, 1, 2]])], ["sky", "a=b", "sea"]
    assert class_weights("none", masks, names) is None
    for how, fn in (("median-frequency", median_frequency_weights), ("enet", enet_weights)):
        np.testing.assert_array_equal(class_weights(how, masks, names), fn(masks, 3))
    own = class_weights("a=b=3, sea = 0.5", [], names)
    assert own is not None and own.dtype == np.float32
    assert own.tolist() == [1.0, 3.0, 0.5]
    with pytest.raises(DataError, match=r"'see' is none of 3 classes \(sky, a=b, sea\)"):
        class_weights("see=2", [], names)
