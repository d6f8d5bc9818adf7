"""Text files that come with images: names one a line, and what tools say of the classes' colours.

=============================  ====================================================================
classes.txt, labels.txt        class names, one a line, index 0 first
class_names.txt                the same, as labelme writes it; ``__ignore__`` before them is void
labelmap.txt                   CVAT: ``name:r,g,b:parts:actions``; a class ``void`` is void
_classes.csv                   Roboflow: ``Pixel Value, Class`` and a line for each
=============================  ====================================================================
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError, check_classes
from tinyfcn.data.dataset import Classes
from tinyfcn.data.palette import VOC_PALETTE, VOID
from tinyfcn.files import open_regular

CLASS_FILES = ("labelmap.txt", "class_names.txt", "classes.txt", "labels.txt", "_classes.csv")
VOID_NAMES = ("__ignore__", "ignore", "void")
MOST_BYTES = 16 << 20  # of a list: a million names of usual length
_NAME = "[^\0-\x1f\x7f-\x9f]{1,255}"


def read_lines(path: Path, columns: int = 1) -> tuple[str, ...]:
    """The lines of a text file without surrounding blanks and empty lines: ids, or class names.

    A line may have so many columns with tabs between them.
    """
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    try:
        coding = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        lines = tuple(filter(None, map(str.strip, data.decode(coding).splitlines())))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8 ({error})") from error
    line_of = f"{_NAME}(?:\t+{_NAME}){{,{columns - 1}}}"
    wrong = [line for line in lines if not re.fullmatch(line_of, line)]
    if wrong or len(data) > MOST_BYTES:
        raise DataError(
            f"{path}: expected a name of at most 255 characters a line, none of them a control "
            f"character, and {MOST_BYTES:,} bytes at most, got {(wrong or ['more'])[0][:40]!r}"
        )
    return lines


def read_class_file(folder: Path) -> tuple[Classes | None, NDArray[np.uint8]]:
    """Class names and colours, from the first of ``CLASS_FILES`` in a folder or one just below.

    None and VOC's colours if there is none. Raises DataError if it is damaged.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = (place / name for place in places for name in CLASS_FILES)
    path = next((path for path in found if path.exists()), None)
    if path is None:
        return None, VOC_PALETTE
    lines = read_lines(path)
    if path.name == "labelmap.txt":
        return _labelmap(lines, path)
    if path.suffix == ".csv":
        return _pixel_values(lines, path), VOC_PALETTE
    names = tuple("background" if name == "_background_" else name for name in lines)
    names = names[1:] if names[:1] == ("__ignore__",) else names
    check_classes(names, path)
    return names, VOC_PALETTE


def _labelmap(lines: Iterable[str], path: Path) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """The names and colours in a label map of CVAT; row 255 is the colour of void."""
    colours: dict[str, tuple[int, ...]] = {}
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"(.+?):(\d+),(\d+),(\d+)(:.*)?", line)
            colour = tuple(map(int, found.groups()[1:4])) if found else ()
            if not found or max(colour) > 255 or found[1] in colours or colour in colours.values():
                raise DataError(
                    f"{path}: expected name:r,g,b:parts:actions, and each name and colour once, "
                    f"got {line!r}"
                )
            colours[found[1]] = colour
    void = [name for name in colours if name.lower() in VOID_NAMES][:1]
    names = tuple(name for name in colours if name not in void)
    check_classes(names, path)
    rest = [colours[names[0]]] * (VOID - len(names))  # of two rows of a colour, the first counts
    rows = [*(colours[name] for name in names), *rest, colours[(*void, names[0])[0]]]
    return names, np.array(rows, np.uint8)


def _pixel_values(lines: Sequence[str], path: Path) -> dict[int, str]:
    """The values in masks and their names, in a table of Roboflow below a line of titles."""
    found = [re.fullmatch(r"(\d{1,3})\s*,\s*(.+)", line) for line in lines[1:]]
    values = {int(row[1]): row[2] for row in found if row}
    check_classes(tuple(values.values()), path)
    if len(values) < len(found) or max(values) > VOID:
        raise DataError(f"{path}: expected a value from 0 to 255 and a name a line, each once")
    return values
