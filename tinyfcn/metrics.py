"""The four scores of the FCN papers, from one confusion matrix over a whole data set.

Let n[i, j] be the number of pixels of true class i that were predicted as class j,
t[i] = Σ_j n[i, j] the pixels of class i, and C the number of classes. Then

    pixel accuracy          Σ_i n[i, i] / Σ_i t[i]
    mean accuracy           1/C Σ_i n[i, i] / t[i]
    mean IU                 1/C Σ_i n[i, i] / (t[i] + Σ_j n[j, i] − n[i, i])
    frequency-weighted IU   Σ_i t[i] IU[i] / Σ_i t[i]

(Long, Shelhamer, Darrell, CVPR 2015, section 5). Three things are easy to get wrong:

* The counts are added up over the whole set and divided once. A mean of per-image values is
  another, usually higher, number.
* Void pixels (255) take no part, neither as truth nor through what was predicted on them.
* A class that is neither in the truth nor predicted anywhere has IU 0/0. It is reported as NaN
  and left out of the mean. A class that was predicted but never true has IU 0 and does count.
  A class without true pixels has no accuracy and is left out of the mean accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The four by the names of their attributes, and what they are called in tables and pictures.
SCORES = {
    "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy",
    "mean_iu": "mean IU", "fw_iu": "f.w. IU",
}  # fmt: skip
AT_ONCE = 1 << 20  # pixels that are counted at a time: each takes some 40 bytes meanwhile


@dataclass(frozen=True)
class Scores:
    """The scores of one evaluation; each is a fraction between 0 and 1, or NaN where undefined.

    Attributes:
        pixel_accuracy: share of labelled pixels that were predicted right.
        mean_accuracy: mean over classes of the share of their pixels that were predicted right.
        mean_iu: mean over classes of intersection over union.
        fw_iu: intersection over union weighted by the classes' shares of the true pixels.
        iu: intersection over union of each class, float64 (C,).
        counts: the confusion matrix that they are of, (C, C).
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    fw_iu: float
    iu: NDArray[np.float64]
    counts: NDArray[np.float64]


class ConfusionMatrix:
    """Counts pixels by (true class, predicted class) over any number of images.

    Args:
        num_classes: C; labels run from 0 to C − 1.
        ignore_index: the label of void pixels, which are not counted.

    Attributes:
        counts: int64 (C, C); rows are true classes, columns predicted ones.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(prediction=[[0, 1], [1, 0]], truth=[[0, 1], [0, 255]])
        >>> matrix.counts.tolist()
        [[1, 1], [0, 1]]
        >>> matrix.scores().pixel_accuracy
        0.6666666666666666
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"ConfusionMatrix: num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, prediction: Any, truth: Any) -> None:
        """Add the pixels of one image or one batch.

        Args:
            prediction: integer array of predicted classes, of any shape.
            truth: integer array of true classes, of the same shape; may hold ``ignore_index``.

        Raises:
            ValueError: if the shapes differ, or a label that counts lies outside 0 … C − 1.
        """
        prediction, truth = np.asarray(prediction), np.asarray(truth)
        if prediction.shape != truth.shape:
            raise ValueError(
                f"ConfusionMatrix: prediction {prediction.shape} and truth {truth.shape} "
                "must have the same shape"
            )
        counts = np.zeros_like(self.counts)
        for start in range(0, truth.size, AT_ONCE):
            guess, true = (part.ravel()[start : start + AT_ONCE] for part in (prediction, truth))
            counted = true != self.ignore_index
            guess = self._labels("prediction", guess[counted])
            true = self._labels("truth", true[counted])
            # Each pair (true, predicted) is one cell of the flattened matrix.
            cells = np.bincount(true * self.num_classes + guess, minlength=counts.size)
            counts += cells.reshape(counts.shape)
        self.counts += counts

    def scores(self) -> Scores:
        """The scores of everything counted so far."""
        return scores(self.counts)

    def _labels(self, name: str, labels: NDArray[Any]) -> NDArray[np.intp]:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"ConfusionMatrix: {name} must hold integers, got {labels.dtype}")
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if wrong.size:
            raise ValueError(
                f"ConfusionMatrix: {name} holds the label {wrong[0]}, but with "
                f"{self.num_classes} classes labels run from 0 to {self.num_classes - 1}"
                + (f" (void is {self.ignore_index})" if name == "truth" else "")
            )
        return labels.astype(np.intp)


def scores(counts: Any) -> Scores:
    """Scores of a confusion matrix (C, C) whose rows are the true classes.

    Example:
        >>> result = scores([[3, 1], [1, 5]])
        >>> round(result.pixel_accuracy, 4), round(result.mean_accuracy, 4)
        (0.8, 0.7917)
        >>> round(result.mean_iu, 4), round(result.fw_iu, 4)
        (0.6571, 0.6686)
        >>> result.iu.round(4).tolist()
        [0.6, 0.7143]
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"scores: expected a confusion matrix (C, C), got shape {counts.shape}")
    right, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        iu = right / (true + predicted - right)
        return Scores(
            pixel_accuracy=float(right.sum() / true.sum()),
            mean_accuracy=_mean(right / true),
            mean_iu=_mean(iu),
            fw_iu=float(np.nansum(true * iu) / true.sum()),
            iu=iu,
            counts=counts,
        )


def _mean(values: NDArray[np.float64]) -> float:
    """The mean over the values that are not NaN; NaN where there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
