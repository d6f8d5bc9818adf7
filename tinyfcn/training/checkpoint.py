"""Checkpoints: one ``.npz`` file, no pickle.

A checkpoint is a tree of dicts, lists, numbers, strings and arrays (the ``state_dict()`` of
everything that changes while training), flattened by :mod:`tinyfcn.weights.tree`: ``numpy.load``
alone can read the weights (``model/conv1_1.weight``). A ``.npz`` carries a CRC of every member, so
a damaged file is noticed; a run keeps the checkpoint before the last one too.
"""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfcn import backend
from tinyfcn.files import AnyPath, atomic_write
from tinyfcn.nn import Module
from tinyfcn.weights import WeightsError, npz, tree
from tinyfcn.weights.file import LONGEST_MESSAGE


@dataclass
class Progress:
    """How far a run is; part of the checkpoint.

    Attributes:
        epoch: epochs that are complete, evaluation included.
        iteration: optimizer steps taken.
        seconds: spent so far, all parts of an interrupted run together.
        trained: the steps of the running epoch are all taken, its evaluation is not complete.
        loss_sum, losses: of the batches since the last evaluation.
        best_mean_iu, best_epoch: the best evaluation so far; epoch 0 if there is none.
    """

    epoch: int = 0
    iteration: int = 0
    seconds: float = 0.0
    trained: bool = False
    loss_sum: float = 0.0
    losses: int = 0
    best_mean_iu: float = -math.inf
    best_epoch: int = 0


class CheckpointError(Exception):
    """A checkpoint that cannot be written, read, or used for this model."""


def save(path: AnyPath, state: Mapping[str, Any], previous: AnyPath | None = None) -> None:
    """Write ``state`` to ``path``; the file that was there stays until the new one is whole.

    Args:
        path: where to; by convention it ends in ``.npz``.
        state: a dict of dicts, lists, tuples, arrays, numbers, strings, bools and None.
        previous: the name that the file that was there gets then, instead of being replaced. At
            every instant one of the two is there, and whole.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; what was at ``path``
            before is untouched.
        TypeError: if the state holds anything else.

    Example:
        >>> import tempfile, numpy as np
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "last.npz"
        >>> save(path, {"model": {"weight": np.ones((2, 3), np.float32)}, "iteration": 7})
        >>> state = load(path)
        >>> state["iteration"], state["model"]["weight"].shape
        (7, (2, 3))
        >>> folder.cleanup()
    """
    arrays = tree.flatten(state)
    try:
        with atomic_write(path) as file:
            npz.write(file, arrays)
            if previous is not None and os.path.exists(path):
                file.flush()
                os.fsync(file.fileno())  # the new one is whole before the older one moves
                os.replace(path, previous)
    except OSError as error:
        kept = "; the checkpoint that was there before is untouched" if Path(path).exists() else ""
        raise CheckpointError(
            f"could not save the checkpoint {path}: {error.strerror or error}{kept}"
        ) from error


def load(path: AnyPath) -> dict[str, Any]:
    """Read the state that :func:`save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is truncated, damaged or something else; says what was found.
    """
    try:
        return tree.unflatten(npz.arrays(Path(path)))
    except WeightsError as error:
        reason = f"{error!s:.{LONGEST_MESSAGE}}"
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}") from error


def arrays_of(model: Module) -> dict[str, Any]:
    """A model's weights and buffers by name; on the CPU they are its own, not copies."""
    return {name: backend.to_numpy(x.data) for name, x in model.state_tensors().items()}


def check_like(own: Any, found: Any, where: str) -> None:
    """Check that a loaded value is of the kind of one's own: dicts of the same keys, lists of what
    is like the first element, the same text, numbers that are finite, integers of at least 0.

    Args:
        own: what the loaded one is compared with; a NaN in it is like any number.
        found: the loaded one.
        where: what it is, for the error.

    Raises:
        CheckpointError: naming the first value that differs.

    Example:
        >>> check_like({"epoch": 0, "loss": 0.0}, {"epoch": 3, "loss": "low"}, "progress")
        Traceback (most recent call last):
        tinyfcn.training.checkpoint.CheckpointError: progress loss is 'low', nothing like 0.0
    """
    if isinstance(own, dict) and isinstance(found, dict) and own.keys() == found.keys():
        for key, value in own.items():
            check_like(value, found[key], f"{where} {key}")
    elif isinstance(own, list) and isinstance(found, list):
        for value in found:
            check_like(own[0], value, where)
    elif not _is_like(own, found):
        shown, expected = reprlib.repr(found), reprlib.repr(own)
        raise CheckpointError(f"{where} is {shown}, nothing like {expected}")


def _is_like(own: Any, found: Any) -> bool:
    if isinstance(own, float) and type(found) is float:
        return found == own or math.isnan(own) or math.isfinite(found)
    if type(own) in (int, float) and type(found) is int:
        return 0 <= found < 1 << 128
    return type(own) is type(found) and (own == found or not isinstance(own, str | dict))
