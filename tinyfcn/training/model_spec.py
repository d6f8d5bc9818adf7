"""Rebuilds a model; stored in checkpoints."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from tinyfcn import models, weights
from tinyfcn.data import CAFFE, TORCHVISION, Preprocessing
from tinyfcn.nn import Module
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import UsageError, usage_errors

# The options of a training script that are arguments of models, where a model has them.
MODEL_OPTIONS = ("backbone", "width", "batch_norm", "geometry", "at_once", "dropout", "recompute")


@dataclass(frozen=True)
class ModelSpec:
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
        arguments = ", ".join(f"{name} {value}" for name, value in self.arguments.items())
        named = f"{self.model} for {len(self.classes)} classes"
        return f"{named} ({arguments})" if arguments else named

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; :meth:`from_dict` reads them back."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of :meth:`to_dict`."""
        return cls(
            model=values["model"],
            classes=tuple(values["classes"]),
            arguments=dict(values["arguments"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
        )


def describe(options: argparse.Namespace, classes: Sequence[str]) -> ModelSpec:
    """The model that the options of a training script ask for.

    The file of ``--pretrained`` or ``--init-from``, which knows how its images are prepared, is
    read on the way, see :func:`read_weights`.

    Raises:
        UsageError: if an option was given that this model does not take, or the file is refused.
    """
    takes = inspect.signature(getattr(models, options.model)).parameters
    for name in MODEL_OPTIONS:
        if name in options.given and name not in takes:
            raise UsageError(f"model {options.model} does not take --{name.replace('_', '-')}")
    read_weights(options)
    return ModelSpec(
        options.model,
        tuple(classes),
        {
            name: getattr(options, name)
            for name in MODEL_OPTIONS
            if name in takes and getattr(options, name) is not None
        },
        _preprocessing(options),
    )


def read_weights(options: argparse.Namespace) -> None:
    """Read the file of ``--pretrained`` or ``--init-from``, once, into ``options.weights``.

    A training script does so before it draws or reads its data, which takes longer.

    Raises:
        FileNotFoundError, UsageError: if the file is refused.
    """
    if "weights" in options:
        return
    options.weights = None
    for name in ("pretrained", "init_from"):
        if getattr(options, name) and options.state is None:
            with usage_errors(f"--{name.replace('_', '-')}"):
                options.weights = weights.read(getattr(options, name))


def _preprocessing(options: argparse.Namespace) -> Preprocessing:
    """What was asked for on the command line, else what the weights were made with."""
    named = CAFFE if options.preprocessing == "caffe" else TORCHVISION
    own = None
    if options.state is not None:
        own = described(options.state, options.resume or options.evaluate).preprocessing
    elif options.weights is not None:
        own = options.weights.preprocessing
    if own is None or own == named:
        return named
    if "preprocessing" in options.given:
        print(f"--preprocessing {options.preprocessing}, though the weights expect images {own}")
        return named
    if options.state is None:
        print(f"the weights expect images {own}")
    return own


def load_model(path: str | os.PathLike[str]) -> tuple[Module, ModelSpec]:
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


def build_model(description: ModelSpec, options: argparse.Namespace) -> Module:
    """A model with random weights, or those that the options name; says what was copied.

    Raises:
        CheckpointError, FileNotFoundError, UsageError: if that cannot be done.
    """
    with usage_errors(f"--model {description.model}"):
        model = description.build()
    source = options.resume or options.evaluate
    if source:
        found = described(options.state, source)
        check_same_classes(source, found.classes, description.classes)
        try:
            _load(model, options.state, source)
        except CheckpointError as error:
            if (found.model, found.arguments) == (description.model, description.arguments):
                raise
            raise UsageError(
                f"checkpoint {source} is for {found}, not for {description}"
            ) from error
        return model
    for name in ("pretrained", "init_from"):
        path = getattr(options, name)
        if path:
            option = f"--{name.replace('_', '-')}"
            try:
                print(f"{path}: {copy_matching(model, options.weights.arrays)}")
            except ValueError as error:
                raise UsageError(
                    f"{option} {path}: {error}{_hint(options, description)}"
                ) from error
    return model


def _hint(options: argparse.Namespace, description: ModelSpec) -> str:
    """What a file of other shapes is for."""
    if options.weights.description is not None:
        return f"; the file is for {ModelSpec.from_dict(options.weights.description)}"
    width = description.arguments.get("width", 1)
    return "" if width == 1 else f"; published networks have --width 1, not {width:g}"


def _load(model: Module, state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    try:
        model.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def described(state: Mapping[str, Any], path: str | os.PathLike[str]) -> ModelSpec:
    """The description in a checkpoint."""
    try:
        return ModelSpec.from_dict(state["description"])
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
            f"checkpoint {path} is for {class_list(found)}, but the data has {class_list(expected)}"
        )


def copy_matching(model: Module, arrays: Mapping[str, NDArray[Any]]) -> weights.Matched:
    """Copy into a model every array that has a place in it; leave the rest as it is.

    This is how FCN-16s starts from FCN-32s and FCN-8s from FCN-16s: the trunk and the scores that
    are there already are copied, the new skip scores begin at zero (Long, Shelhamer, Darrell,
    CVPR 2015, section 4.2). It is also how a network starts from a published classifier; what the
    names mean in other frameworks is said in :mod:`tinyfcn.weights.match_names`.

    Raises:
        WeightsError: if nothing at all matches, or a layer has another shape; a ValueError.
    """
    shapes = {name: array.shape for name, array in named_arrays(model)}
    matched = weights.match_names(shapes, arrays)
    model.load_state_dict(matched.arrays, strict=False)
    return matched


def named_arrays(model: Module) -> list[tuple[str, Any]]:
    """All that a file of its weights has."""
    return [*model.named_parameters(), *model.named_buffers()]


def class_list(classes: Sequence[str]) -> str:
    """How many they are, and the first few."""
    names = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes)} classes ({names})"
