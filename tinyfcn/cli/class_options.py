"""What the user says of the masks: names of the classes, and the values that stand for them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinyfcn.cli.parser import checked
from tinyfcn.data.class_files import as_value_pairs, read_class_file, value_pairs
from tinyfcn.data.conventions import check_classes
from tinyfcn.data.dataset import Classes, label_table, names_of

byte = checked(int, "a value in masks, 0 to 255", lambda value: 0 <= value <= 255)


def class_names(given: str | None) -> Classes | None:
    """``a,b,c``, or what a file of that name says (``class_files.py``); None lets the data set say.

    Raises:
        FileNotFoundError, DataError: if it is neither.
    """
    if given is None:
        return None
    path = Path(given)
    if path.is_file():
        return read_class_file(path)[0]
    if "," not in given and (path.suffix or path.name != given):
        raise FileNotFoundError(
            f"--classes {given}: no such file; expected names separated by commas, or a text file "
            "with one name a line"
        )
    return [name.strip() for name in given.split(",") if name.strip()]


def mask_values(text: str) -> str:
    """For the type of an option: ``7:road,8:sidewalk``, or the JSON file of that name in this form.

    The file says ``{"7": "road", "8": "sidewalk"}``, or ``{"road": 7, "vehicle": [26, 27]}``.

    Example:
        >>> mask_values("0: background, 255: cell")
        '0:background,255:cell'
    """
    try:
        pairs = _of_file(text) if text.endswith(".json") else value_pairs(text)
        values = {int(value): str(name).strip() for value, name in pairs}
        check_classes(names_of(values), text)
        label_table(values)
        if len(values) < len(pairs) or any({*",;"} & {*name} for name in values.values()):
            raise ValueError("a value is there twice, or a name has a comma or a semicolon")
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"expected 0:background,255:name or a file .json, got {text!r} ({error})"
        ) from error
    return as_value_pairs(values)


def classes_of(values: dict[str, Any]) -> Classes | None:
    """What the options ``classes`` and ``mask_values`` say, as data sets take it."""
    if values["mask_values"]:
        return {int(value): name for value, name in value_pairs(values["mask_values"])}
    return class_names(values["classes"])


def _of_file(path: str) -> list[tuple[Any, Any]]:
    said = json.loads(Path(path).read_text("utf-8-sig"))
    if not isinstance(said, dict):
        raise ValueError('no {"7": "road"} is in it')
    if all(key.strip().isdecimal() for key in said):
        return [*said.items()]
    return [(v, name) for name, vs in said.items() for v in (vs if isinstance(vs, list) else [vs])]
