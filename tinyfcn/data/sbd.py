"""The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): masks for 11,355 VOC images.

It unpacks to ``benchmark_RELEASE/dataset`` with ``img/<id>.jpg``, ``cls/<id>.mat`` and the
lists ``train.txt`` and ``val.txt``. A .mat holds the struct ``GTcls``, whose field
``Segmentation`` is the mask: VOC's indices 0 to 20, without void.

Its splits are not VOC's: to train on SBD and score on VOC's val, pass val's ids as ``exclude``,
else most of val is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import SegmentationDataset, files_by_id, find_tree, read_ids
from tinyfcn.data.palette import VOC_CLASSES


class SBDSegmentation(SegmentationDataset):
    """The images of one SBD list and their masks.

    Args:
        root: the folder with ``img`` and ``cls``, or one above it (``dataset``,
            ``benchmark_RELEASE/dataset``).
        split: name of a list: train, val, or one of your own (``train_noval``).
        classes: class names; default VOC's 21.
        exclude: ids to leave out, such as those of VOC's val.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        classes: Sequence[str] | None = None,
        exclude: Iterable[str] = (),
    ):
        nestings = ("dataset", "benchmark_RELEASE/dataset")
        self.root = find_tree(root, "a tree of SBD", "cls", nestings)
        listing = self.root / f"{split}.txt"
        excluded = set(exclude)
        super().__init__(
            ids=[name for name in read_ids(listing) if name not in excluded],
            images=files_by_id(self.root / "img", "the images", (".jpg",)),
            masks=files_by_id(self.root / "cls", "the masks", (".mat",)),
            classes=classes or VOC_CLASSES,
            source=f"{listing} (excluded ids left out)" if excluded else listing,
        )

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """The field Segmentation of GTcls in a .mat file, uint8 (H, W)."""
        try:
            from scipy.io import loadmat  # here, because it is a third of `import tinyfcn`

            truth = loadmat(path, variable_names=["GTcls"])["GTcls"]
            return np.asarray(truth[0]["Segmentation"][0])
        except FileNotFoundError:
            raise
        except Exception as error:  # on damaged files scipy raises many kinds, zlib.error too
            raise DataError(
                f"{path}: expected a MATLAB file with GTcls.Segmentation "
                f"({type(error).__name__}: {error})"
            ) from error
