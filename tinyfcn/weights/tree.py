"""A tree of dicts, lists, numbers, strings and arrays, written as named arrays and one JSON text.

Each array is named by the path that leads to it (``model/conv1_1.weight``); the rest becomes the
text, the array ``checkpoint.json``, where an array stands as its path. JSON has no tuples and no
integer keys, both of which occur in the state of an optimizer, so these are written as
``{"~tuple": [...]}`` and ``{"~dict": [[key, value], ...]}``. Python reads back the very float it
wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights.file import WeightsError, is_key, parse_json

FORMAT = "tinyfcn checkpoint"
VERSION = 1
JSON = "checkpoint.json"


def flatten(tree: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of a tree by path, its JSON text before them.

    Raises:
        TypeError: if it holds anything but dicts, lists, tuples, arrays, numbers, strings, bools
            and None.

    Example:
        >>> arrays = flatten({"model": {"weight": np.ones(3)}, "iteration": 7})
        >>> list(arrays)
        ['checkpoint.json', 'model/weight']
        >>> unflatten(arrays)
        {'model': {'weight': array([1., 1., 1.])}, 'iteration': 7}
    """
    arrays: dict[str, NDArray[Any]] = {}
    state = _encode(dict(tree), "", arrays)
    text = json.dumps({"format": FORMAT, "version": VERSION, "state": state})
    return {JSON: np.array(text), **arrays}


def unflatten(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The tree that :func:`flatten` took apart.

    Raises:
        WeightsError: if the arrays are of another version, or do not belong together.
    """
    if JSON not in arrays:
        raise WeightsError(f"not a {FORMAT}: it holds the arrays {', '.join([*arrays][:3])}")

    def restore(value: dict[str, Any]) -> Any:
        if "~array" in value:
            return arrays[value["~array"]]
        if "~tuple" in value:
            return tuple(value["~tuple"])
        if "~dict" not in value:
            return value
        pairs = value["~dict"]
        if len(pairs) > 100 and not all(is_key(key) for key, _ in pairs):
            raise ValueError("keys that are neither text nor numbers")
        return dict(pairs)

    tree = parse_json(str(arrays[JSON]), "checkpoint", object_hook=restore) or {}
    about, state = (tree.get("format"), tree.get("version")), tree.get("state")
    if about != (FORMAT, VERSION) or not isinstance(state, dict):
        raise WeightsError(
            f"expected a {FORMAT} of version {VERSION}, found {about[0]!r} of version {about[1]!r}"
        )
    return state


def _encode(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """The JSON form of ``value``; arrays are put into ``arrays`` on the way."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"checkpoint: {path} is an array of objects, which cannot be saved")
        arrays[path] = value
        return {"~array": path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        parts = {
            key: _encode(part, f"{path}/{key}" if path else str(key), arrays)
            for key, part in value.items()
        }
        if all(isinstance(key, str) and not key.startswith("~") for key in parts):
            return parts
        return {"~dict": [[key, part] for key, part in parts.items()]}
    if isinstance(value, list | tuple):
        items = [_encode(part, f"{path}/{index}", arrays) for index, part in enumerate(value)]
        return items if isinstance(value, list) else {"~tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"checkpoint: {path} is a {type(value).__name__}, which cannot be saved")
