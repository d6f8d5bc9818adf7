"""NumPy's ``.npz``, a zip of ``.npy`` files. Checkpoints of our own are such files too."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.training import checkpoint


def recognises(path: Path, start: bytes) -> bool:
    """Whether the file is a zip of nothing but arrays, or was meant to be one and is cut short."""
    if start[:4] != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile:
        return path.suffix == ".npz"


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays by name; from a checkpoint, the parameters and buffers of its model.

    Raises:
        ValueError: if the file is truncated or damaged, or holds Python objects.
    """
    try:
        with open(path, "rb") as file:
            npz = np.load(file, allow_pickle=False)
            if checkpoint.JSON not in npz.files:
                return dict(npz)
        model: dict[str, NDArray[Any]] = checkpoint.load(path)["model"]
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, checkpoint.CheckpointError) as error:
        raise ValueError(f"{path}: truncated or damaged .npz file ({error})") from error
    return model
