"""What a reader gives back, its error, and the checks that all readers share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.preprocessing import Preprocessing
from tinyfcn.files import nearest

MEBIBYTE = 1 << 20
LONGEST_MESSAGE = 500  # it may quote what is in the file
_MOST_VALUES = 300_000  # of a JSON text, beside one in 40 letters: a list takes 30 times its two


class WeightsError(ValueError):
    """A file of weights that is damaged, dangerous, of an unknown format, or does not fit."""


@contextlib.contextmanager
def reading(what: str, *more: type[Exception]) -> Iterator[None]:
    """In this block, what Python says of values that are not as they should be, and ``more``, is a
    WeightsError of the file: ``what`` is wrong with it."""
    wrong = AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError
    try:
        yield
    except WeightsError:
        raise
    except wrong + more as error:
        raise WeightsError(f"{what} ({error!r:.200})") from error


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
        if not isinstance(self.arrays, dict):
            raise WeightsError("damaged checkpoint: it holds no model")
        for name, array in self.arrays.items():
            numeric = isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
            if not isinstance(name, str) or not numeric:
                raise WeightsError(f"{name!r:.100} is not an array of numbers")
            with np.errstate(all="ignore"):  # as the float32 that they become
                ends = np.array([array.min(), array.max()] if array.size else [], np.float32)
            if not np.isfinite(ends).all():
                raise WeightsError(f"{name} holds NaN, or numbers beyond the range of float32")


def first_bytes(path: Path) -> bytes:
    """What a format is recognised by; FileNotFoundError, or WeightsError if there is nothing."""
    if not path.is_file():
        what = f"there is no such file{nearest(path)}"
        if path.is_dir():
            what = f"this is a folder; expected a file, such as {path / 'best.npz'}"
        raise FileNotFoundError(f"{path}: {what}")
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise WeightsError("the file is empty")
    return start


def numbers(name: str, data: bytes | bytearray | memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers in ``data``, a view of it; WeightsError if one is not whole."""
    if len(data) % dtype.itemsize:
        raise WeightsError(f"{name}: {len(data):,} bytes are not a row of {dtype}")
    return np.frombuffer(data, dtype)


def is_key(value: Any) -> bool:
    """Whether it may be the key of a large dict: of larger integers, all could have one hash."""
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 1 << 60)


def parse_json(text: str | bytes, what: str, **hooks: Any) -> Any:
    """The object in a JSON text; None for null.

    Raises:
        WeightsError: if it is damaged, nested too deeply, or of more values than any file needs.
    """
    with reading(f"truncated or damaged {what}"):
        text = text if isinstance(text, str) else text.decode()
        if sum(map(text.count, "[{,")) > _MOST_VALUES + len(text) // 40:
            raise ValueError("absurdly many values")
        value = json.loads(text, **hooks)
        return None if value is None else dict(value)


def shaped(
    name: str, flat: NDArray[Any], shape: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """The same numbers in a shape; WeightsError if they are not as many as it has places."""
    with reading(f"{name}: {flat.size:,} numbers are not of shape {shape[:8]}"):
        return flat.reshape(shape, order=order)


def preprocessing_of(description: Any) -> Preprocessing | None:
    """What the description of a model in a file of our own says of its images, if there is one.

    Raises:
        WeightsError: if the description is damaged.
    """
    if description is None:
        return None
    with reading("damaged description of the model"):
        return Preprocessing(**description["preprocessing"])


def allowance(path: Path) -> int:
    """How many bytes may be unpacked from a file: no bomb is worth more memory than this.

    Weights hardly shrink, unless they were stored with twice the digits that they have.
    """
    return 64 * MEBIBYTE + 2 * path.stat().st_size
