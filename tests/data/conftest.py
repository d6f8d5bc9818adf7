"""A small VOC tree on disk, to read and to break."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import SegmentationDataset, write_mask


class Tree:
    """A small VOC tree of random images, for tests to read and to break."""

    def __init__(self, root: Path, sizes: list[tuple[int, int]], classes: int = 3):
        self.root = root
        self.images, self.masks = [], []
        self.ids = [f"scene_{number}" for number in range(len(sizes))]
        rng = np.random.default_rng(0)
        for path in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (root / path).mkdir(parents=True)
        for name, size in zip(self.ids, sizes, strict=True):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
            image.save(self.image(name), quality=95)
            self.images.append(np.asarray(Image.open(self.image(name))))
            mask = rng.integers(0, classes, size).astype(np.uint8)
            mask[0, 0] = 255
            write_mask(self.mask(name), mask)
            self.masks.append(mask)
        self.write_list("train", self.ids)

    def image(self, name: str) -> Path:
        return self.root / "JPEGImages" / f"{name}.jpg"

    def mask(self, name: str) -> Path:
        return self.root / "SegmentationClass" / f"{name}.png"

    def write_list(self, split: str, ids: list[str], end: str = "\n") -> Path:
        path = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_bytes("".join(f"{name}{end}" for name in ids).encode())
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Seven images of odd and different sizes."""
    sizes = [(17, 23), (31, 20), (16, 16), (9, 40), (25, 25), (33, 12), (20, 31)]
    return Tree(tmp_path / "VOC2012", sizes)


class Folders:
    """Makes folders of small pictures as people have them, and reads them."""

    def make(self, root: Path, files: Mapping[str, object]) -> Path:
        """Write pictures of one value, where it is an integer or an array, and texts."""
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                content = np.full((3, 4), content, np.uint8)
            if isinstance(content, np.ndarray):
                Image.fromarray(content).save(path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
        return root

    def pairs(self, dataset: SegmentationDataset) -> dict[str, tuple[int, int]]:
        """The values of image and mask of each sample."""
        return {s.id: (int(s.image[0, 0, 0]), int(s.mask[0, 0])) for s in dataset}


@pytest.fixture
def folders() -> Folders:
    return Folders()
