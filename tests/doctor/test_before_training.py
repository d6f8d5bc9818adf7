"""The quick check of masks: what must go wrong ends in one sentence, and all else goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli
from tinyfcn.data import (
    VOC_CLASSES,
    VOC_PALETTE,
    DataError,
    FolderSegmentation,
    SegmentationDataset,
    write_mask,
)
from tinyfcn.doctor import before_training

TWO = ("background", "cell")
Values = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., SegmentationDataset]:
    """A data set of masks 40 × 40: a square of each value on a ground of the first."""

    def make(
        *masks: list[int] | Values, classes: object = TWO, void: int = 255, mode: str = "L"
    ) -> SegmentationDataset:
        for name in ("images", "masks"):
            (tmp_path / name).mkdir()
        for number, values in enumerate(masks):
            mask = np.asarray(values, np.uint8)
            if mask.ndim == 1:
                mask = np.full((40, 40), values[0], np.uint8)
                for place, value in enumerate(values[1:]):
                    row, column = divmod(place, 3)
                    mask[13 * row + 1 : 13 * row + 11, 13 * column + 1 : 13 * column + 11] = value
            Image.new("RGB", mask.shape[::-1]).save(tmp_path / "images" / f"{number}.png")
            Image.fromarray(mask).convert(mode).save(tmp_path / "masks" / f"{number}.png")
        return FolderSegmentation(tmp_path, None, classes, void=void)  # type: ignore[arg-type]

    return make


def ring(ground: int, disc: int, void: int = 255) -> Values:
    """A disc in an outline of void five pixels wide."""
    y, x = np.mgrid[:60, :60] - 30
    distance = np.hypot(y, x)
    return np.select([distance < 15, distance < 20], [disc, void], ground).astype(np.uint8)


@pytest.mark.parametrize(
    ("masks", "classes", "words"),
    [
        ([[0, 255]], TWO, "hold 0 and 255, and 255 is void, and there is nothing of cell: "
         "--mask-values 0:background,255:cell names them"),
        ([[0, 255]], VOC_CLASSES, "--mask-values 0:background,255:NAME names them"),
        ([[0, 1, 255]], ("a", "b", "c"), "0, 1 and 255, and 255 is void, and "
         "there is nothing of c: --mask-values 0:a,1:b,255:c names them, or"),
        ([[0, 1]], {0: "background", 255: "cell"}, "0 and 1, and 1 is void, and there is "
         "nothing of cell: --mask-values 0:background,1:cell names them"),
        ([[255]], TWO, "and 255 is void, and there is nothing of background and cell: are"),
        ([[0]], TWO, "hold 0, and there is nothing of cell: are these the masks?"),
        ([[7, 24]], TWO, "hold 7 and 24, but the 2 classes (background, cell) are 0 and 1, and "
         "255 is void; --mask-values 7:background,24:cell names them"),
        ([[1, 2, 255]], TWO, "--mask-values 1:background,2:cell names them"),
        ([[0, 128, 255]], ("a", "b", "c"), "--mask-values 0:a,128:b,255:c names them"),
        ([[0, 3, 9]], TWO, "--mask-values 0:background,3:NAME1,9:NAME2 names them"),
        ([[0, 1], [0, 11]], TWO, "; --void 11 says that 11 is void too"),
        ([[0, 1, 2]], TWO, "--void 2 says that 2 is void too; if it is a class, --classes lacks"),
        ([ring(0, 255, 128)], TWO, "--mask-values 0:background,255:cell names them"),
        ([ring(0, 1, 11)], VOC_CLASSES, "11 lies only along the borders of others in"),
        ([[0]], ("one",), "hold 0, and there is one class alone: are these the masks?"),
        ([[0, 9]], {9: "cell"}, "0 is void, and there is one class alone: "
         "--mask-values 0:background,9:cell names them"),
        ([np.arange(14).repeat(90).reshape(126, 10)], TWO, "; if each object has a number"),
        ([[0, 1]], ("cell",), "but the 1 classes (cell) are 0, and 255 is void; --void 1"),
    ],
)  # fmt: skip
def test_masks_that_cannot_be_meant_so(
    made: Callable[..., SegmentationDataset], masks: list[list[int]], classes: object, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        before_training(made(*masks, classes=classes))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("masks", "classes"),
    [
        ([[0, 1, 255]], TWO),
        ([[0, 255], [0], [1]], TWO),
        ([[0, 255]], {0: "background", 255: "cell"}),
        ([ring(0, 1)], TWO),
    ],
)
def test_masks_that_are_right(
    made: Callable[..., SegmentationDataset], masks: list[list[int]], classes: object
) -> None:
    assert before_training(made(*masks, classes=classes)) == []


def test_a_mask_of_another_size_stops_before_anything_is_learned(
    made: Callable[..., SegmentationDataset], tmp_path: Path
) -> None:
    """Also where it is of those that are scored."""
    dataset = made([0, 1], [0, 1])
    Image.new("RGB", (30, 40)).save(tmp_path / "images/1.png")
    for some in ((dataset,), (dataset.only({"0"}), dataset.only({"1"}))):
        with pytest.raises(DataError, match=r"1\.png, 40 high by 30 wide, got 40 high by 40 wide"):
            before_training(*some)


def test_a_class_that_is_rare_or_missing_is_no_reason_to_stop(
    made: Callable[..., SegmentationDataset], tmp_path: Path
) -> None:
    """Void is outlines, or somebody said that it is void, or all names are VOC's."""
    said = ["there is nothing of c in the masks"]
    assert before_training(made(ring(0, 1), classes=[*"abc"])) == said
    for part in ("images", "masks"):
        for path in (tmp_path / part).iterdir():
            path.unlink()
        (tmp_path / part).rmdir()
    dataset = made(*[[0, 1, 255]] * 3, classes=[*"abc"])
    with pytest.raises(DataError, match="if 255 is void indeed, --void 255 says so"):
        before_training(dataset)
    assert before_training(dataset, sure=True) == said
    (note,) = before_training(FolderSegmentation(tmp_path, classes=VOC_CLASSES))
    assert "of bicycle, bird, boat, bottle, bus, … and tvmonitor in the masks; the n" in note


def test_values_without_a_name_are_told(made: Callable[..., SegmentationDataset]) -> None:
    dataset = made([0, 7, 8, 9], classes={0: "ground", 7: "road"})
    assert before_training(dataset) == ["void are the values 8 and 9, 12.5% of the pixels"]


@pytest.mark.parametrize("scale", [2, 3])
def test_masks_that_were_resized_with_smoothing(
    made: Callable[..., SegmentationDataset], scale: int
) -> None:
    mask = Image.fromarray(np.where(ring(0, 1) == 0, 0, 255).astype(np.uint8))
    small = np.asarray(mask.resize((60 // scale, 60 // scale), Image.Resampling.BILINEAR))
    assert len(np.unique(small)) > 4
    with pytest.raises(DataError, match=r"made smaller or turned with smoothing, or .* as JPEG"):
        before_training(made(small))


def test_a_rare_class_is_looked_for_in_every_mask(
    made: Callable[..., SegmentationDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = FolderSegmentation.read_mask
    monkeypatch.setattr(
        FolderSegmentation, "read_mask",
        lambda self, path: read.append(path.stem) or original(self, path),
    )  # fmt: skip
    masks = [[0, 1]] * 130
    last = np.random.default_rng(0).permutation(130)[-1]
    masks[int(sorted(map(str, range(130)))[last])] = [0, 2]
    assert before_training(made(*masks, classes=[*"abc"])) == []
    assert len(read) == len({*read}) == 130


def test_a_training_says_it_and_writes_no_scores(
    made: Callable[..., SegmentationDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of black and white it says what it takes them for, goes on, and keeps to it."""
    made(*[[0, 255]] * 4)
    run = ["train", str(tmp_path), "--width", "0.016", "--batch-size", "2", "--val-share", "0.5"]
    run += ["--epochs", "1", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        cli.main([*run, "--classes", "background,cell,other"])
    said = capsys.readouterr()
    assert stop.value.code == 2 and "--mask-values 0:background,255:NAME" in said.err
    assert said.err.count("\n") == 1 and not list((tmp_path / "run").glob("*.npz"))
    assert cli.main(run) == 0
    said = capsys.readouterr()
    taken = "0 and 255 alone, which are taken as background and foreground"
    assert f"{taken}, as by --mask-values 0:background,255:foreground" in said.out
    assert cli.main([*run, "--epochs", "2", "--resume"]) == 0
    assert cli.main(["evaluate", str(tmp_path / "run" / "best.npz")]) == 0
    assert "foreground 0" in capsys.readouterr().out


def test_palettes_that_contradict_each_other(
    made: Callable[..., SegmentationDataset], tmp_path: Path
) -> None:
    dataset = made([0, 1], [0, 1])
    black_and_red = np.zeros((256, 3), np.uint8)
    black_and_red[1, 0] = 200
    for name, colours in (("0", black_and_red), ("1", black_and_red[[1, 0, *range(2, 256)]])):
        write_mask(tmp_path / "masks" / f"{name}.png", dataset.values(0), colours)
    with pytest.raises(
        DataError,
        match=r"1 masks in .* have .* order than [01]'s: [01] has the colour of [01]\. If",
    ):
        before_training(dataset)
    write_mask(tmp_path / "masks" / "0.png", dataset.values(0), colours)
    (note,) = before_training(dataset)  # both begin with red
    assert note.endswith("if black is background, --mask-values 1:background,0:cell says so")


@pytest.mark.parametrize(
    ("colours", "wrong"),
    [
        ([0, 1], ""),
        ([1, 0], "1 masks in .* have palettes in another order than VOC's: 0 has the colour of 1"),
        ([0, 9], ""),  # a colour of their own
        ([0, 0], ""),  # which tells nothing
    ],
)
def test_palettes_in_another_order(
    made: Callable[..., SegmentationDataset], tmp_path: Path, colours: list[int], wrong: str
) -> None:
    dataset = made([0, 1], [0, 1])
    path = tmp_path / "masks" / "1.png"
    mask = np.asarray(Image.open(path))
    write_mask(path, mask, VOC_PALETTE[colours])
    if not wrong:
        assert before_training(dataset) == []
        return
    with pytest.raises(DataError, match=wrong + ".* save the masks as RGB"):
        before_training(dataset)
    named = FolderSegmentation(tmp_path, classes={0: "background", 1: "cell"})
    assert before_training(named) == []
    Image.open(path).convert("RGB").save(path)
    assert before_training(dataset) == []
    np.testing.assert_array_equal(dataset[1].mask, 1 - mask)
