"""The data doctor: says what is wrong with images and masks, before anything is learned from them.

``look.py`` sees what masks hold, ``masks.py`` judges it: that alone is what every training begins
with.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.data import DataError, SegmentationDataset
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import notes, what_must_go_wrong

__all__ = ["before_training"]

AT_ONCE = 64


def before_training(dataset: SegmentationDataset, sure: bool = False) -> list[str]:
    """Look at masks, in random order, until every class was seen; in the end at all of them.

    Args:
        dataset: what is to be trained on.
        sure: the user has said which value is void.

    Returns:
        Sentences that are worth to be read.

    Raises:
        DataError: if masks do not say what they must have been meant to, as where a class never
            occurs while its value is taken for void; with what to do.
        FileNotFoundError: for a mask that is gone.
    """
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    part = Part(dataset)
    for start in range(0, len(order), AT_ONCE):
        part.look(order[start : start + AT_ONCE])
        for error in part.errors.values():
            raise error
        if part.strange or not part.missing:
            break
    if wrong := what_must_go_wrong(part, sure):
        raise DataError(wrong)
    return notes(part)
