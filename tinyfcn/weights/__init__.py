"""Read weights from files, each format by its own reader, recognised by what is in the file.

A reader is a module with ``recognises(start)``, given the first bytes of the file, and
``read(path)``, which gives a :class:`WeightFile`: a dict of names to NumPy arrays, and how images
have to be prepared for them. A new format is a new module in ``READERS``.

Files come from strangers. Nothing in them is executed, sizes are checked before memory is taken,
and what does not hold together is rejected with a :class:`WeightsError`, never read by half.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinyfcn.weights import caffe, matconvnet, npz, pytorch, safetensors
from tinyfcn.weights.file import LONGEST_MESSAGE, WeightFile, WeightsError, first_bytes
from tinyfcn.weights.match_names import Matched, count_classes, match_names

READERS = (npz, pytorch, safetensors, matconvnet, caffe)


def load(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """The arrays of a file of weights by name, in the order of the file.

    Args:
        path: a file of any format in ``READERS``; its name does not matter.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if no reader knows the format, or the file is damaged; a ValueError.

    Example:
        >>> import tempfile, numpy
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "weights.npz"
        >>> numpy.savez(path, weight=numpy.ones((2, 3)))
        >>> load(path)["weight"].shape
        (2, 3)
        >>> folder.cleanup()
    """
    return read(path).arrays


def read(path: str | os.PathLike[str]) -> WeightFile:
    """What :func:`load` gives, with the preprocessing that belongs to it; raises the same."""
    path = Path(path)
    try:
        start = first_bytes(path)
        for reader in READERS:
            if reader.recognises(start):
                return reader.read(path)
        known = ", ".join(reader.__name__.rpartition(".")[2] for reader in READERS)
        raise WeightsError(
            f"not a format of weights that can be read ({known}); it starts with {start[:16]!r}"
        )
    except WeightsError as error:
        raise WeightsError(f"{path}: {str(error)[:LONGEST_MESSAGE]}") from error


__all__ = ["Matched", "WeightFile", "WeightsError", "count_classes", "load", "match_names", "read"]
