"""Text files that come with images: names one a line, and what tools say of the classes' colours.

=============================  ====================================================================
classes.txt, labels.txt        class names, one a line, index 0 first
class_names.txt                the same, as labelme writes it; ``__ignore__`` before them is void
labelmap.txt                   CVAT: ``name:r,g,b:parts:actions``
class_dict.csv                 ``name,r,g,b``
label_colors.txt               CamVid: ``r g b name``
_classes.csv                   Roboflow: ``Pixel Value, Class``
=============================  ====================================================================

A table (CSV) may have a line of titles. A class ``void`` is void.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError, check_classes
from tinyfcn.data.dataset import Classes, names_of
from tinyfcn.data.palette import VOC_PALETTE, VOID
from tinyfcn.files import open_regular

# What files are called; of a line, the class and its value or colour; the same for a reader.
_NAMES = (r"(?P<name>[^\t]+)(?P<key>)", "a name")
CLASS_FILES = {
    "labelmap*.txt": (
        r"(?P<name>.+?):(?P<key> *\d+, *\d+, *\d+)(:.*)?", "name:r,g,b:parts:actions"
    ),
    "*class_dict*.csv": (r"(?P<name>.+?) *,(?P<key> *\d+ *, *\d+ *, *\d+)", "name,r,g,b"),
    "label_colors.txt": (r"(?P<key>\d+\s+\d+\s+\d+)\s+(?P<name>.+)", "r g b name"),
    "class_names.txt": _NAMES, "classes.txt": _NAMES, "labels.txt": _NAMES,
    "_classes.csv": (r"(?P<key>\d+) *, *(?P<name>.+)", "a value and a name"),
}  # fmt: skip
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


def value_pairs(text: str) -> list[tuple[str, str]]:
    """Values and names as they are typed, ``7:road,8:sidewalk``; :func:`as_value_pairs` writes it.

    >>> value_pairs("7:road, 8:a:b")
    [('7', 'road'), (' 8', 'a:b')]
    """
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    return [(value, name) for value, _, name in parts]


def as_value_pairs(names: Mapping[int, str]) -> str:
    """``7:road,8:sidewalk``."""
    return ",".join(f"{value}:{name}" for value, name in names.items())


def find_class_file(
    folder: Path, given: Classes | None = None
) -> tuple[Classes | None, NDArray[np.uint8], str]:
    """What the first of ``CLASS_FILES`` says, in a folder or one just below; VOC's colours if there
    is none. Classes that are given count instead; where they are its names in another order, each
    keeps its values, and where they are others, the last that is returned says so."""
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = (path for place in places for name in CLASS_FILES for path in place.glob(name))
    path = next(found, None)
    if path is None:
        return given, VOC_PALETTE, ""
    known, colours = read_class_file(path)
    if not given or isinstance(given, Mapping):
        return given or known, colours, ""
    if {*given} != {*(names := names_of(known))}:
        return given, colours, f"{path} names {', '.join(names)}; the names that were given count"
    values = known if isinstance(known, Mapping) else dict(enumerate(known))
    ordered = {v: name for name in given for v in values if values[v] == name}
    return known if [*ordered] == [*values] else ordered, colours, ""


def read_class_file(path: Path) -> tuple[Classes, NDArray[np.uint8]]:
    """Class names and colours; row 255 is the colour of void. Raises DataError if it is damaged."""
    pattern, form = next((CLASS_FILES[name] for name in CLASS_FILES if path.match(name)), _NAMES)
    lines = [line for line in read_lines(path, columns=4) if not line.startswith("#")]
    titles = path.suffix == ".csv" and lines and not re.fullmatch(pattern, lines[0])
    if titles or lines[:1] == ["__ignore__"]:
        del lines[0]
    names: dict[tuple[int, ...], str] = {}  # by colour or value
    for index, line in enumerate(lines):
        row = re.fullmatch(pattern, line)
        key = tuple(map(int, re.findall("[0-9]+", row["key"] if row else ""))) or (index,)
        if not row or max(key) > VOID or key in names:
            raise DataError(f"{path}: expected {form} a line, 0 to 255 and each once, got {line!r}")
        known = {"_background_": "background", **dict.fromkeys(VOID_NAMES, "void")}
        names[key] = known.get(row["name"].lower(), row["name"])
    void = [key for key, name in names.items() if name == "void"]
    rows = [key for key in names if key not in void]
    classes = tuple(names[key] for key in rows)
    check_classes(classes, path)
    if len(rows[0]) == 3:  # of two rows of a colour, the first counts
        rows += [rows[0]] * (VOID - len(rows)) + (void or rows)[:1]
        return classes, np.array(rows, np.uint8)
    in_order = (pattern, form) == _NAMES and not void
    return classes if in_order else {key[0]: name for key, name in names.items()}, VOC_PALETTE
