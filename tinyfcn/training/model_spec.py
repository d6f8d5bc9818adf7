"""Rebuilds a model; stored in checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from tinyfcn import backend, models, nn, weights
from tinyfcn.data import Preprocessing
from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.training.checkpoint import CheckpointError


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
        """A new model of this kind, with new random weights.

        Raises:
            ValueError: if there is no such model or it does not take these arguments.
        """
        return models.create(self.model, num_classes=len(self.classes), **self.arguments)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays by name; takes no memory. Raises what :meth:`build` does."""
        with backend.using("meta"):
            return {name: array.shape for name, array in self.build().state_tensors().items()}

    def __str__(self) -> str:
        arguments = ", ".join(f"{name} {value}" for name, value in self.arguments.items())
        named = f"{self.model} for {len(self.classes)} classes"
        return f"{named} ({arguments})" if arguments else named

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; :meth:`from_dict` reads them back."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, OverflowError, TypeError, ValueError: if something is missing, or of a kind
                that no model has.
        """
        classes, arguments = tuple(values["classes"]), dict(values["arguments"])
        named = (values["model"], *classes)
        if not all(isinstance(one, str) and 0 < len(one.encode()) <= 1000 for one in named):
            raise ValueError("the name of the model or of a class is empty, too long, or no text")
        if not all(map(_is_argument, arguments.values())):
            raise ValueError("an argument is nothing that a model takes")
        preprocessing = Preprocessing(**values["preprocessing"])
        return cls(values["model"], classes, arguments, preprocessing)


def _is_argument(value: Any) -> bool:
    """Whether it is text, a number that costs no time, or a short list of them."""
    values = value if isinstance(value, list | tuple) else [value]
    return len(values) < 100 and all(
        one is None or isinstance(one, str) or (isinstance(one, int | float) and 0 <= one <= 1000)
        for one in values
    )


def spec_in(state: Mapping[str, Any], path: str | os.PathLike[str]) -> ModelSpec:
    """Which model a checkpoint is for.

    Raises:
        CheckpointError: if it does not say.
    """
    try:
        return ModelSpec.from_dict(state["description"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path}: it does not say which model it belongs to ({error!r:.200})"
        ) from error


def copy_matching(
    model: Module, arrays: Mapping[str, NDArray[Any]], bgr: bool = False
) -> weights.Matched:
    """Copy into a model every array that has a place in it; leave the rest as it is.

    This is how FCN-16s starts from FCN-32s and FCN-8s from FCN-16s: the backbone and the scores
    that are there already are copied, the new skip scores begin at zero (Long, Shelhamer, Darrell,
    CVPR 2015, section 4.2). It is also how a network starts from a published classifier, where all
    scores of an FCN begin at zero (section 4.3); what the names mean in other frameworks is said in
    :mod:`tinyfcn.weights.match_names`.

    Raises:
        WeightsError: if nothing at all matches, or a layer has another shape; a ValueError.
    """
    shapes = {name: array.shape for name, array in model.state_tensors().items()}
    matched = weights.match_names(shapes, arrays, bgr)
    model.load_state_dict(matched.arrays, strict=False)
    for name in as_network(model).scoring:
        if f"{name}.weight" in matched.new:
            nn.init.zeros_(model.state_tensors()[f"{name}.weight"])
    return matched


def class_list(classes: Sequence[str]) -> str:
    """How many they are, and the first few."""
    names = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes)} classes ({names})"
