"""The data doctor: nothing is said of what is right, and each thing that was planted is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import NAMES, Data, Labels, swap

from tinyfcn import cli
from tinyfcn.data import write_voc_tree
from tinyfcn.doctor.check import check
from tinyfcn.doctor.pairs import from_afar, swapped, turned


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


def test_nothing_is_said_of_what_is_right(data: Data, tmp_path: Path) -> None:
    (train, _), said = data.check(crop=32)
    assert said == []
    masks = np.stack([data.labels(name) for name in NAMES[:10]])
    assert [pixels for _, _, pixels, _ in train.shares()] == [(masks == 0).mean(), masks.mean(), 0]
    assert [images for _, _, _, images in train.shares()] == [1, 1, 0]
    scenes = write_voc_tree(tmp_path / "scenes", train=60, val=20, size=64, diameter=(20.0, 40.0))
    assert check(scenes)[1] == []


def turn_all(data: Data) -> None:
    for name in NAMES[:10]:
        data.label(name, data.labels(name)[:, ::-1])


def other_sizes(data: Data) -> None:
    for name in ("p01", "p05"):
        data.label(name, data.labels(name).T)


def copy(data: Data) -> None:
    """A picture of train comes in val under another name, enlarged."""
    image = Image.open(data.image("p03")).resize((180, 140), Image.Resampling.BOX)
    image.save(data.image("p12").with_suffix(".jpg"), quality=85)
    data.image("p12").unlink()
    data.label("p12", np.kron(data.labels("p03"), np.ones((2, 2), np.uint8)))


PLANTED: dict[str, tuple[Callable[[Data], object], str, list[str]]] = {
    "swapped": (swap, "masks that would fit better if they were swapped: look", ["p02 / p07"]),
    "all mirrored": (turn_all, "masks look mirrored left to right, as where", NAMES[:10]),
    "one turned": (lambda d: d.label("p04", d.labels("p04")[::-1, ::-1]),
                   "masks look turned upside down, as where an EXIF", ["p04"]),
    "other sizes": (other_sizes, "masks/p01.png: expected the size of", ["p01", "p05"]),
    "a copy": (copy, "the same pictures in train and in val", ["p03 / p12"]),
    "twice": (lambda d: d.list("train", [*NAMES[:10], "p02"]), "twice in the list train", ["p02"]),
    "in both": (lambda d: d.list("val", NAMES[9:]), "in both lists, train and val: 1 of 5", []),
    "void": (lambda d: d.label("p11", np.full((70, 90), 255, np.uint8)),
             "masks that are void all over: leave them out", ["p11"]),
    "strange": (lambda d: [d.label(f"p0{n}", n * d.labels(f"p0{n}")) for n in (8, 9)],
                "0, 1, 8 and 9, but the 2 classes (ground, thing) are 0 and 1", ["p08", "p09"]),
    "no thing": (lambda d: [d.label(name, 0 * d.labels(name)) for name in NAMES],
                 "masks hold 0, and there is nothing of thing: are these the masks?", []),
    "a JPEG": (lambda d: Image.open(d.mask("p06")).convert("L").save(d.mask("p06"), "JPEG"),
               "expected a PNG mask, got a JPEG", ["p06"]),
    "16 bits": (lambda d: Image.fromarray(d.labels("p06") * np.uint16(999)).save(d.mask("p06")),
                "'I;16' with values from 0 to 999; save ids of classes", ["p06"]),
    "damaged": (lambda d: d.image("p06").write_bytes(d.image("p06").read_bytes()[:200]),
                "damaged, truncated or not an image at all", ["p06"]),
    "missing": (lambda d: d.image("p06").unlink(), "1 of 10 ids have no image file: p06", []),
    "no list": (lambda d: (d.root / "val.txt").unlink(), "there is no such list", []),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_found_and_nothing_else(data: Data, name: str) -> None:
    plant, text, names = PLANTED[name]
    plant(data)
    (problem,) = data.check()[1]
    assert text in problem.text and problem.names == names


def test_all_problems_are_said_at_once(data: Data) -> None:
    for plant in (swap, other_sizes, copy):
        plant(data)
    assert len(data.check()[1]) == 3


HOW: dict[str, Callable[[Labels], Labels]] = {
    "turned upside down": lambda mask: np.rot90(mask, 2),
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "turned by a quarter to the right": lambda mask: np.rot90(mask, -1),
    "turned by a quarter to the left": np.rot90,
    "mirrored at a diagonal": np.transpose,
    "mirrored at the other diagonal": lambda mask: np.rot90(mask, 2).T,
}


def test_square_masks_turned_in_each_way(data: Data) -> None:
    """One mask among others is found too, and nobody else is named; with all of them, all are."""
    images = [np.asarray(Image.open(data.image(name)))[:, 10:80] for name in NAMES]
    masks = [data.labels(name)[:, 10:80] for name in NAMES]
    right = np.array([*map(from_afar, images, masks)])
    for how, turn in HOW.items():
        wrong = np.array([*map(from_afar, images, map(turn, masks))])
        assert {name: which.all() for name, which in turned(wrong).items()} == {how: True}
        one = np.array([*right[:5], wrong[5], *right[6:]])
        found = {name: np.flatnonzero(which).tolist() for name, which in turned(one).items()}
        assert found == {name: [5] * (name == how) for name in HOW}
    assert swapped(right) == [] and not any(which.any() for which in turned(right).values())


def test_masks_that_never_fit_give_no_reason_to_name_one() -> None:
    """Where outlines and changes have nothing in common, the best of many turns is chance."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)) for _ in range(240)]
    clouds = [np.asarray(cells.resize((64, 64), Image.Resampling.BICUBIC)) for cells in noise]
    masks = [cloud[..., 0] // 128 for cloud in clouds[1::2]]
    pairs = np.array([*map(from_afar, clouds[::2], masks)])
    assert swapped(pairs) == [] and not any(which.any() for which in turned(pairs).values())


def test_without_lists_a_share_is_looked_at_as_a_training_scores_it(data: Data) -> None:
    for split in ("train", "val"):
        (data.root / f"{split}.txt").unlink()
    parts, said = data.check()
    assert said == [("2 of 14 images are held out to score on, by a hash of their names", [], True)]
    train, val = (part.dataset.ids for part in parts)
    assert {*train, *val} == {*NAMES} and len(train) + len(val) == len(NAMES) and val


def test_values_are_told_to_somebody_who_gave_no_names(data: Data) -> None:
    (note,) = check(data.root)[1]
    assert note.text == (
        "the masks hold 0 and 1 alone, which are taken as background and foreground, as by "
        "--mask-values 0:background,1:foreground"
    )
    for name in (NAMES[0], NAMES[-1]):
        data.label(name, 2 * data.labels(name))
    parts, (problem,) = check(data.root)
    assert "; --mask-values 0:background,1:NAME1,2:NAME2 names what" in problem.text
    assert [images for _, _, _, images in parts[0].shares()][:3] == [1, 0.9, 0.1]


def test_what_is_worth_knowing(data: Data) -> None:
    few = np.zeros((70, 90), np.uint8)
    few[30, 40:42] = 1
    for name in NAMES[:10]:
        data.label(name, few)
    _, notes = data.check(crop=16)
    assert notes[0] == (
        "train: less than 0.1% of the pixels; --loss ce+dice helps",
        ["thing"],
        True,
    )
    more = "images of more than 4,096 pixels: make them smaller, or give a --crop that shows much"
    assert notes[1] == (f"{more} of them", NAMES, True)


def test_the_command(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", str(data.root), "--classes", "ground,thing"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert f"train: 10 images in {data.root}/images (Folder)" in said
    assert "  images: PNG RGB (10)\n  masks: PNG P (10)\n  size: 90 x 70 (10)\n" in said
    assert said.endswith("nothing is wrong\n")
    swap(data)
    for name in NAMES:
        data.label(name, np.full((70, 90), 255) if name in NAMES[:9] else data.labels(name))
    assert cli.main(command) == 1
    said = capsys.readouterr().out
    assert "  1. masks that are void all over: leave them out\n     9: p00, " in said
    assert "p04, … and p08\n" in said and "put right" in said
