"""What a reader gives back, and how it rejects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def preprocessing_of(description: Any) -> Preprocessing | None:
    """What the description of a model in a file of our own says of its images, if there is one.

    Raises:
        WeightsError: if the description is damaged.
    """
    if description is None:
        return None
    try:
        return Preprocessing.from_dict(description["preprocessing"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(f"damaged description of the model ({error!r})") from error


def allowance(path: Path) -> int:
    """How many bytes may be unpacked from a file: no bomb is worth more memory than this.

    Weights hardly shrink; 16 times leaves room for files that are mostly zeros.
    """
    return max(64 * MEBIBYTE, 16 * path.stat().st_size)
