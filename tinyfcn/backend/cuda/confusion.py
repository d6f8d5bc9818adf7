"""The confusion matrix of label maps: ``kernels/confusion.cu``."""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cuda.family import Array, Family
from tinyfcn.backend.cuda.launcher import LARGEST_GRID, THREADS

SHARED_MEMORY = 48 * 1024  # bytes that every GPU has for a block


class Confusion(Family):
    """Counting for ``tinyfcn.metrics``; not a part of the interface, which ops are made of."""

    def confusion(self, truth: Array, prediction: Array, classes: int, ignore_index: int) -> Array:
        """Pixels by (true class, predicted class): int32 arrays of one shape → int64 (C, C).

        Args:
            truth: labels; pixels with ``ignore_index`` are not counted.
            prediction: classes of the same pixels.
            classes: C, at most 110, for which the counts fit into the memory of a block.

        Raises:
            ValueError: if there are more classes, or a label that counts lies outside 0 … C − 1.
        """
        shared_mem = 4 * (classes**2 + 1)
        if shared_mem > SHARED_MEMORY:
            raise ValueError(f"confusion: expected at most 110 classes, got {classes}")
        truth, prediction = self.contiguous(truth), self.contiguous(prediction)
        counts = self.xp.zeros(classes**2 + 1, np.uint64)
        blocks = min(-(-truth.size // (16 * THREADS)), LARGEST_GRID)
        self.launch(
            "confusion", np.float32, blocks, THREADS,
            truth, prediction, counts, classes, ignore_index, truth.size, shared_mem=shared_mem,
        )  # fmt: skip
        if wrong := int(counts[-1]):
            raise ValueError(
                f"confusion: {wrong} pixels have a label outside 0 … {classes - 1} that is not "
                f"ignore_index {ignore_index}"
            )
        return counts[:-1].astype(np.int64).reshape(classes, classes)
