"""Images of other channels and more bits, from a folder to masks, by the commands as typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyfcn
from tinyfcn import cli
from tinyfcn.data import read_mask

SETS = {
    "I;16": "--channels 1 --range 0,4095",
    "RGBA": "--channels 4",
}


def write(folder: Path, mode: str) -> list[Path]:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for k in range(4):
        mask = np.zeros((20, 24), np.uint8)
        mask[3 : 12 + k, 4:15] = 1
        image = mask[..., None].astype(int) * 2000 + rng.integers(0, 2000, (20, 24, 4))
        deep = (image[..., 0] // (1 if k else 16)).astype(np.uint16)
        values = deep if mode == "I;16" else (image // 16).astype(np.uint8)
        Image.fromarray(values).save(folder / f"images/{k}.png")
        Image.fromarray(mask).save(folder / f"masks/{k}.png")
    return sorted((folder / "images").iterdir())


@pytest.mark.parametrize("mode", SETS)
def test_from_a_folder_to_masks(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images, options = write(tmp_path / "data", mode), f"--classes background,cell {SETS[mode]}"
    write(tmp_path / "other", "RGBA" if mode == "I;16" else "I;16")

    def typed(line: str) -> str:
        status = cli.main(line.split())
        said = capsys.readouterr()
        return f"{status or ''}{said.out}{said.err}"

    if mode == "I;16":  # the range is that of the largest of all, not of the first
        assert "--range=0,4095" in typed("check data --classes background,cell")
        assert "nothing is wrong" in typed(f"check data {options} --out page --augmented")
    small = "--model same_resolution --width 0.05 --batch-size 2 --workers 0 --out run"
    ways = "--colour-jitter 0.2 --augment rotate,elastic,turns,blur,noise --jitter 0.2 --crop 16"
    typed(f"train data {options} {small} {ways} --epochs 1")
    if mode == "I;16":
        assert "2/2" in typed("train data --resume --out run --epochs 2")
    assert "mean IU" in typed("evaluate run/best.npz --out scores")
    typed(f"predict run/best.npz {images[0]} --flip --scales 0.5,1")
    segmenter = tinyfcn.Segmenter("run/best.npz", flip=True, scales=(0.5, 1))
    result = segmenter(np.asarray(Image.open(images[0])))
    np.testing.assert_array_equal(result.mask, read_mask("predictions/0.png"))
    assert result.image.shape == (20, 24, 3) and result.image.dtype == np.uint8
    said = typed("predict run/best.npz other/images/0.png")
    wrong = "lay it on a background" if mode == "I;16" else "expected an image of 4 channels, got 1"
    assert said.startswith("2") and wrong in said
