"""What a reader gives back, its error, and the checks that all readers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.preprocessing import Preprocessing

MEBIBYTE = 1 << 20


class WeightsError(ValueError):
    """A file of weights that is damaged, dangerous, of an unknown format, or does not fit."""


@dataclass(frozen=True)
class WeightFile:
    """The contents of a file of weights.

    Attributes:
        arrays: the arrays by name, in the order of the file.
        preprocessing: what the images of these weights went through; None if nobody can know.
        description: which model they belong to, as ``ModelSpec.to_dict`` says it, where a file
            of our own does.
    """

    arrays: dict[str, NDArray[Any]]
    preprocessing: Preprocessing | None = None
    description: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
                raise WeightsError(f"{name} is not an array of numbers")


def first_bytes(path: Path) -> bytes:
    """What a format is recognised by; FileNotFoundError, or WeightsError if there is nothing."""
    if not path.is_file():
        what = "there is no such file"
        if path.is_dir():
            what = f"this is a folder; expected a file, such as {path / 'last.npz'}"
        raise FileNotFoundError(f"{path}: {what}")
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise WeightsError("the file is empty")
    return start


def numbers(name: str, data: bytes | memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers in ``data``, a view of it; WeightsError if one is not whole."""
    if len(data) % dtype.itemsize:
        raise WeightsError(f"{name}: {len(data):,} bytes are not a row of {dtype}")
    return np.frombuffer(data, dtype)


def shaped(
    name: str, flat: NDArray[Any], shape: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """The same numbers in a shape; WeightsError if they are not as many as it has places."""
    try:
        return flat.reshape(shape, order=order)
    except (OverflowError, ValueError) as error:
        raise WeightsError(f"{name}: {flat.size:,} numbers are not of shape {shape[:8]}") from error


def preprocessing_of(description: Any) -> Preprocessing | None:
    """What the description of a model in a file of our own says of its images, if there is one.

    Raises:
        WeightsError: if the description is damaged.
    """
    if description is None:
        return None
    try:
        return Preprocessing(**description["preprocessing"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(f"damaged description of the model ({error!r})") from error


def allowance(path: Path) -> int:
    """How many bytes may be unpacked from a file: no bomb is worth more memory than this.

    Weights hardly shrink; 16 times leaves room for files that are mostly zeros.
    """
    return max(64 * MEBIBYTE, 16 * path.stat().st_size)
