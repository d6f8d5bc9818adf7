"""Fourteen pictures of things on a textured ground, to be checked and to be spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tinyfcn.data import write_mask
from tinyfcn.doctor.check import Problem, check
from tinyfcn.doctor.look import Part

CLASSES = ["ground", "thing"]
Labels = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
NAMES = [f"p{number:02}" for number in range(14)]


class Data:
    """Pictures 90 × 70 of three things on a textured ground, in two lists."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("images", "masks"):
            (root / part).mkdir()
        for number, name in enumerate(NAMES):
            rng = np.random.default_rng(number)
            mask = Image.new("L", (90, 70))
            for x, y in rng.integers(0, (75, 55), (3, 2)).tolist():
                ImageDraw.Draw(mask).ellipse((x, y, x + 14, y + 14), fill=1)
            picture = (
                rng.integers(0, 60, (70, 90, 1))
                + rng.integers(90, 190, 3) * np.asarray(mask)[..., None]
            )
            Image.fromarray(picture.astype(np.uint8)).save(self.image(name))
            self.label(name, np.asarray(mask))
        self.list("train", NAMES[:10])
        self.list("val", NAMES[10:])

    def image(self, name: str) -> Path:
        return self.root / "images" / f"{name}.png"

    def mask(self, name: str) -> Path:
        return self.root / "masks" / f"{name}.png"

    def list(self, split: str, names: list[str]) -> None:
        (self.root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))

    def labels(self, name: str) -> Labels:
        return np.asarray(Image.open(self.mask(name)))

    def label(self, name: str, mask: object) -> None:
        write_mask(self.mask(name), np.asarray(mask))

    def check(self, **options: int) -> tuple[list[Part], list[Problem]]:
        return check(self.root, classes=CLASSES, **options)  # type: ignore[arg-type]


def swap(data: Data) -> None:
    one, other = data.labels("p02"), data.labels("p07")
    data.label("p02", other)
    data.label("p07", one)
