"""Folders as people bring them, each by its name: trained on right, or refused in one sentence.

``tinyfcn train`` is called as typed, up to its first step. What it would learn from is compared
with what was drawn; where it says what to type, that is typed, and compared as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli
from tinyfcn.cli import errors
from tinyfcn.data import VOC_PALETTE, DataError

page = cli.load("tinyfcn.examples.train_voc")
NAMES = "abcd"
SIZE = (20, 26)
Mask = np.ndarray[tuple[int, int], np.dtype[Any]]


def truth(k: int) -> Mask:
    """A square in the picture of the grey level 40 + 50 k."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2 : 11 + k, 4 : 16 - k] = 1
    return mask


def ring(k: int, void: int = 255) -> Mask:
    """The same, with an outline two pixels wide."""
    mask = truth(k)
    inside = np.zeros(SIZE, bool)
    inside[4 : 9 + k, 6 : 14 - k] = True
    return np.where((mask == 1) & ~inside, np.uint8(void), mask)


def picture(k: int) -> Image.Image:
    return Image.new("RGB", SIZE[::-1], (40 + 50 * k,) * 3)


def save(path: Path, what: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, str):
        path.write_bytes(what.encode())
    else:
        (Image.fromarray(what) if isinstance(what, np.ndarray) else what).save(path, **options)


def put(
    root: Path, images: str = "images/{}.jpg", masks: str = "masks/{}.png",
    mask: Callable[[int], Any] = truth, image: Callable[[int], Any] = picture, count: int = 4,
    **texts: str,
) -> None:  # fmt: skip
    """Images, masks, and texts whose names have ``__`` for a slash and end in .txt."""
    for k, name in enumerate(NAMES[:count]):
        save(root / images.format(name), image(k))
        save(root / masks.format(name), mask(k))
    for name, text in texts.items():
        save(root / f"{name.replace('__', '/')}.txt", text)


PNG = "images/{}.png"
VOC = {"images": "JPEGImages/{}.jpg", "masks": "SegmentationClass/{}.png"}
TWO = "--classes background,cell"
UPRIGHT = "store the image upright"
ALL = "a\nb\nc\nd\n"


class Case(NamedTuple):
    """What is in the folder, what is typed, and what is said; "" if all is read as drawn."""

    write: Callable[[Path], None]
    options: str = TWO
    says: str = ""
    labels: Callable[[int], Mask] = truth


def white(k: int) -> Mask:
    return 255 * truth(k)


def modes(root: Path, mode: str) -> None:
    kind = np.uint16 if mode == "I;16" else np.uint8
    put(root, mask=lambda k: Image.fromarray(white(k).astype(kind)).convert(mode))


def smooth(k: int) -> Image.Image:
    return Image.fromarray(np.kron(white(k), np.ones((3, 3), np.uint8))).resize(SIZE[::-1])


def labelme_voc(root: Path) -> None:
    put(root, "JPEGImages/{}.jpg", "SegmentationClassPNG/{}.png", ring,
        class_names="__ignore__\n_background_\ncell\n")  # fmt: skip
    for name in NAMES:
        save(root / f"SegmentationClassVisualization/{name}.jpg", picture(0))


def corners(k: int) -> list[list[int]]:
    return [[4, 2], [16 - k, 2], [16 - k, 11 + k], [4, 11 + k]]


def labelme(root: Path) -> None:
    for k, name in enumerate(NAMES):
        shape = {"label": "cell", "points": corners(k), "shape_type": "polygon"}
        about = {"imagePath": f"{name}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        save(root / f"{name}.jpg", picture(k))
        save(root / f"{name}.json", json.dumps({"shapes": [shape], "imageData": None, **about}))


def coco(root: Path, images: str, files: dict[str, str]) -> None:
    """JSON files, and the images in each."""
    for part, names in files.items():
        content: dict[str, list[Any]] = {"categories": [{"id": 5, "name": "cell"}]}
        content |= {"images": [], "annotations": []}
        for name in names:
            k = NAMES.index(name)
            about = {"file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
            content["images"].append({"id": k, **about})
            drawn: Any = [[x for corner in corners(k) for x in corner]]
            if k == 1:  # as runs, column by column
                flat = truth(k).T.ravel()
                ends = np.flatnonzero(np.diff(flat)) + 1
                runs = np.diff([0, *ends, flat.size]).tolist()
                drawn = {"size": SIZE, "counts": runs}
            thing = {"id": k, "image_id": k, "category_id": 5, "segmentation": drawn}
            content["annotations"].append({**thing, "area": int(truth(k).sum()), "iscrowd": 0})
            save(root / images.format(part=part.split("/")[0], name=name), picture(k))
        save(root / part, json.dumps(content))


def three(k: int) -> Mask:
    return truth(k) * np.uint8(k < 3)


def cvat(root: Path, names: str = "background cell", **lists: str) -> None:
    colours = {"background": (0, 0, 0), "cell": (51, 221, 255)}
    labels = "".join(f"{n}:{','.join(map(str, colours[n]))}::\n" for n in names.split())
    put(root, **VOC, mask=lambda k: np.array([*colours.values()], np.uint8)[three(k)],
        labelmap=f"# label:color_rgb:parts:actions\n{labels}",
        **{f"ImageSets__Segmentation__{name}": text for name, text in lists.items()})  # fmt: skip


def roboflow(root: Path) -> None:
    for k, name in enumerate(NAMES):
        part = "train" if k < 3 else "valid"
        save(root / part / f"{name}_jpg.rf.0.jpg", picture(k))
        save(root / part / f"{name}_jpg.rf.0_mask.png", truth(k))
        save(root / part / "_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n")


def listed(root: Path, line: str = "{}", end: str = "\n", **options: Any) -> None:
    parts = {"train": "abc", "val": "d"}.items()
    texts = {f"ImageSets__Segmentation__{part}": "".join(line.format(name) + end for name in names)
             for part, names in parts}  # fmt: skip
    put(root, **VOC, **texts, **options)


def coloured(k: int, first: list[int]) -> Image.Image:
    """A mask whose palette has VOC's colours, but for the first: those at these places."""
    image = Image.fromarray(ring(k))
    image.putpalette(VOC_PALETTE[[*first, *range(2, 256)]].tobytes())
    return image


def deep(k: int) -> Mask:
    return np.full(SIZE, 257 * (40 + 50 * k), np.uint16)


def alpha(k: int) -> Image.Image:
    return Image.new("RGBA", SIZE[::-1], (40 + 50 * k,) * 4)


def pages(root: Path) -> None:
    put(root, "images/{}.tif")
    for name in NAMES:
        save(root / f"images/{name}.tif", picture(0), save_all=True, append_images=[picture(1)])


FOLLOW: list[Callable[[Mask], Mask]] = [  # what an EXIF orientation turns a photo to, from 1
    np.asarray, np.asarray, np.fliplr, lambda m: np.rot90(m, 2), np.flipud, np.transpose,
    lambda m: np.rot90(m, -1), lambda m: np.rot90(m, 2).T, np.rot90,
]  # fmt: skip


def photos(root: Path, turn: int, upright: bool = False) -> None:
    """Photos as cameras store them, and masks that follow, or are of the upright photo."""
    put(root, mask=lambda k: np.ascontiguousarray(FOLLOW[turn if upright else 1](truth(k))))
    exif = Image.Exif()
    exif[0x0112] = turn
    for k, name in enumerate(NAMES):
        save(root / f"images/{name}.jpg", picture(k), exif=exif)


RED = np.array([[0, 0, 0], [220, 20, 60]], np.uint8)
SITUATIONS: dict[str, Case] = {
    # 0 and 255
    **{f"0/255, mode {mode}": Case(partial(modes, mode=mode), "" if mode == "1" else TWO)
       for mode in ("L", "P", "1", "RGB", "RGBA", "LA", "I;16")},
    "0/255, a VOC tree": Case(partial(listed, mask=white), ""),
    "0/255, no names": Case(partial(put, mask=white), ""),
    "0/255, three names": Case(partial(put, mask=white), "--classes a,b,c", "0:a,255:NAME"),
    "0/255, JPEG": Case(partial(put, masks="masks/{}.jpg", mask=white), TWO, "expected a PNG mask"),
    "0/255, made smaller": Case(partial(put, mask=smooth), TWO, "export .* as PNG and without smo"),
    # what annotation tools write
    "labelme's VOC export": Case(labelme_voc, "", labels=ring),
    "labelme's files": Case(labelme, ""),
    "COCO": Case(partial(coco, images="images/{name}.jpg", files={
        "annotations/instances_train.json": "abc", "annotations/instances_val.json": "d"}), ""),
    "COCO, of CVAT": Case(partial(coco, images="images/default/{name}.jpg", files={
        "annotations/instances_default.json": NAMES}), ""),
    "COCO, of Roboflow": Case(partial(coco, images="{part}/{name}.jpg", files={
        "train/_annotations.coco.json": "ab", "valid/_annotations.coco.json": "cd"}), ""),
    "CVAT": Case(partial(cvat, default=ALL), "", labels=three),
    "CVAT, subsets": Case(partial(cvat, Train=ALL[:6], Validation="d\n"), "", labels=three),
    "CVAT, in another order": Case(
        partial(cvat, names="cell background", default=ALL), TWO, labels=three),
    "CVAT, other names": Case(partial(cvat, default=ALL), "--classes rest,thing", labels=three),
    "Roboflow": Case(roboflow, ""),
    # lists
    "ids with endings": Case(partial(listed, line="{}.jpg")),
    "ids, CRLF": Case(partial(listed, end="\r\n")),
    "ids, a second column": Case(partial(listed, line="{} 1")),
    "ids, two paths": Case(partial(listed, line="JPEGImages/{0}.jpg SegmentationClass/{0}.png")),
    "no lists": Case(put),
    "a test list alone": Case(partial(put, test="a\nb\n"), TWO, "there: test.txt; .*--val-share"),
    "another list": Case(partial(put, mine="a\nb\n", val="c\n"), TWO, "mine.txt, val.txt; --tr"),
    "sub-folders": Case(partial(put, images="images/x/{}.jpg", masks="masks/x/{}.png")),
    # values
    "gaps": Case(partial(put, mask=lambda k: 7 + 17 * truth(k)), TWO, "7:background,24:cell"),
    "from 1": Case(partial(put, mask=lambda k: 1 + truth(k)), TWO, "1:background,2:cell"),
    "void 11": Case(partial(put, mask=partial(ring, void=11)), TWO, "--void 11", ring),
    # colours
    "own palettes": Case(partial(put, mask=partial(coloured, first=[9, 7])), labels=ring),
    "re-sorted palettes": Case(
        partial(put, mask=partial(coloured, first=[1, 0])), TWO, "in another order than VOC", ring),
    "own colours": Case(
        partial(put, mask=lambda k: RED[truth(k)]), TWO, r"RGB \(220, 20, 60\) .* a labelmap.txt"),
    # images
    "grey": Case(partial(put, image=lambda k: picture(k).convert("L"))),
    "16 bits": Case(partial(put, images=PNG, image=deep), TWO, "expected 8 bits .* to 10280; "),
    "4 bands": Case(partial(put, images=PNG, image=alpha), TWO, "got alpha .* or train with"),
    "several pages": Case(pages, TWO, "got several pages or frames; save the one that counts"),
    **{f"EXIF {turn}, mask as stored": Case(
        partial(photos, turn=turn), TWO, UPRIGHT * (1 < turn < 5))
       for turn in range(1, 9)},
    **{f"EXIF {turn}, mask upright": Case(
        partial(photos, turn=turn, upright=True), TWO, UPRIGHT * (turn < 5),
        lambda k, turn=turn: FOLLOW[turn](truth(k))) for turn in range(2, 9)},
    "one image": Case(partial(put, count=1), TWO, "one image, a: expected two at least"),
    "smaller than the crop": Case(put, f"{TWO} --crop 64"),
    # names
    "class names in any language": Case(partial(put, classes="背景\nZellkern (groß)\n"), ""),
    "no class names": Case(put, ""),
    "no class names, from 1": Case(partial(put, mask=lambda k: 1 + truth(k)), "", "no class names"),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = SITUATIONS[name]
    case.write(tmp_path / "data")
    monkeypatch.chdir(tmp_path)

    def train(options: str) -> tuple[dict[int, Mask], str]:
        """What would be learned from, by the picture; or what is said instead."""
        runs: list[Any] = []
        monkeypatch.setattr(page, "train", lambda run, loss: runs.append(run))
        small = "--model same_resolution --width 0.02 --workers 0 --out run"
        try:
            cli.main(["train", "data", *options.split(), *small.split()])
            return {round((s.image.mean() - 40) / 50): s.mask
                    for run in runs for part in (run.loader.dataset, run.validation)
                    for s in part}, ""  # fmt: skip
        except DataError as error:  # by a training, before its first step
            return {}, errors.typed(str(error))
        except SystemExit:
            return {}, capsys.readouterr().err.rstrip("\n")

    read, said = train(case.options)
    if case.says:
        assert re.search(case.says, said) and "\n" not in said
        if typed := re.search(
            r"--(mask-values|void) [\w:,]+|--val-share [\d.]+|--channels 4|--range=0,65535", said
        ):
            classes = "" if typed[1] == "mask-values" else case.options
            read, said = train(f"{classes} {typed[0]}")
        else:
            return
    assert said == "" and sorted(read) == [*range(len(NAMES))]
    for k, mask in read.items():
        np.testing.assert_array_equal(mask, case.labels(k))
