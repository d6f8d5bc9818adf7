"""What has to be known to build a model again: it lies in every checkpoint beside the weights."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn import models, weights
from tinyfcn.data import CAFFE, TORCHVISION, Preprocessing
from tinyfcn.nn import Module
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import UsageError, usage_errors

# The options of a training script that are arguments of models, where a model has them.
MODEL_OPTIONS = ("backbone", "width", "batch_norm", "geometry", "at_once", "recompute")


@dataclass(frozen=True)
class Description:
    """A model without its weights.

    Attributes:
        model: name of a function in ``tinyfcn.models``.
        classes: class names; their number is the model's ``num_classes``.
        arguments: the function's other arguments.
        preprocessing: how an image becomes the model's input.
    """

    model: str
    classes: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def build(self) -> Module:
        """A new model of this description, with new random weights.

        Raises:
            ValueError: if there is no such model or it does not take these arguments.
        """
        return models.create(self.model, num_classes=len(self.classes), **self.arguments)

    def __str__(self) -> str:
        arguments = (f"{name} {value}" for name, value in self.arguments.items())
        return f"{self.model} for {len(self.classes)} classes ({', '.join(arguments)})"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; :meth:`from_dict` reads them back."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Description:
        """The inverse of :meth:`to_dict`."""
        return cls(
            model=values["model"],
            classes=tuple(values["classes"]),
            arguments=dict(values["arguments"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
        )


def describe(options: argparse.Namespace, classes: Sequence[str]) -> Description:
    """The model that the options of a training script ask for.

    Raises:
        UsageError: if an option was given that this model does not take.
    """
    takes = inspect.signature(getattr(models, options.model)).parameters
    for name in MODEL_OPTIONS:
        if name in options.given and name not in takes:
            raise UsageError(f"model {options.model} does not take --{name.replace('_', '-')}")
    return Description(
        options.model,
        tuple(classes),
        {name: getattr(options, name) for name in MODEL_OPTIONS if name in takes},
        CAFFE if options.preprocessing == "caffe" else TORCHVISION,
    )


def load_model(path: str | os.PathLike[str]) -> tuple[Module, Description]:
    """Build the model of a checkpoint with its weights.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or does not hold a model that can be built here.
    """
    state = checkpoint.load(path)
    description = described(state, path)
    try:
        model = description.build()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    _load(model, state, path)
    return model, description


def build_model(description: Description, options: argparse.Namespace) -> Module:
    """A model with random weights, or those that the options name; says what was copied.

    Raises:
        CheckpointError, FileNotFoundError, UsageError: if that cannot be done.
    """
    with usage_errors(f"--model {description.model}"):
        model = description.build()
    source = options.resume or options.evaluate
    if source:
        check_same_classes(source, described(options.state, source).classes, description.classes)
        _load(model, options.state, source)
        return model
    for name in ("pretrained", "init_from"):
        path = getattr(options, name)
        if path:
            with usage_errors(f"--{name.replace('_', '-')}"):
                print(f"{path}: {copy_matching(model, weights.load(path))}")
    return model


def _load(model: Module, state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    try:
        model.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def described(state: Mapping[str, Any], path: str | os.PathLike[str]) -> Description:
    """The description in a checkpoint."""
    try:
        return Description.from_dict(state["description"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path}: it does not say which model it belongs to ({error!r})"
        ) from error


def check_same_classes(
    path: str | os.PathLike[str], found: Sequence[str], expected: Sequence[str]
) -> None:
    """Refuse a checkpoint whose classes are not those of the data.

    Raises:
        CheckpointError: naming both.
    """
    if tuple(found) != tuple(expected):
        raise CheckpointError(
            f"checkpoint {path} is for {_listed(found)}, but the data has {_listed(expected)}"
        )


@dataclass(frozen=True)
class Copied:
    """What :func:`copy_matching` did; lists of names."""

    copied: list[str]
    new: list[str]
    unused: list[str]

    def __str__(self) -> str:
        text = f"{len(self.copied)} of {len(self.copied) + len(self.new)} arrays copied"
        if self.new:
            text += f"; new: {', '.join(self.new)}"
        if self.unused:
            text += f"; not used: {', '.join(self.unused)}"
        return text


def copy_matching(model: Module, arrays: Mapping[str, NDArray[Any]]) -> Copied:
    """Copy into a model every array whose name and shape it has; leave the rest as it is.

    This is how FCN-16s starts from FCN-32s and FCN-8s from FCN-16s: the trunk and the scores that
    are there already are copied, the new skip scores begin at zero (Long, Shelhamer, Darrell,
    CVPR 2015, section 4.2).

    Raises:
        ValueError: if nothing at all fits.
    """
    mine = model.state_dict()
    fits = {
        name: array
        for name, array in arrays.items()
        if name in mine and np.shape(array) == mine[name].shape
    }
    if not fits:
        raise ValueError(
            "none of its arrays has the name and shape of one in the model; it holds "
            + ", ".join(f"{name} {np.shape(array)}" for name, array in list(arrays.items())[:3])
        )
    model.load_state_dict(fits, strict=False)
    return Copied(
        copied=list(fits),
        new=[name for name in mine if name not in fits],
        unused=[name for name in arrays if name not in fits],
    )


def _listed(classes: Sequence[str]) -> str:
    names = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes)} classes ({names})"
