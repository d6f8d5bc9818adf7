"""What has to be known to build a model again: it lies in every checkpoint beside the weights."""

from __future__ import annotations

import argparse
import inspect
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn import backend, models, weights
from tinyfcn.data import CAFFE, TORCHVISION, VOC_CLASSES, Preprocessing
from tinyfcn.models.fcn import SKIPS
from tinyfcn.nn import Module
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import UsageError, usage_errors

# The options of a training script that are arguments of models, where a model has them.
MODEL_OPTIONS = ("backbone", "width", "batch_norm", "geometry", "at_once", "dropout", "recompute")


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
    return Description(
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
            option = f"--{name.replace('_', '-')}"
            try:
                print(f"{path}: {copy_matching(model, options.weights.arrays)}")
            except ValueError as error:
                width = description.arguments.get("width", 1)
                hint = "" if width == 1 else f"; published networks have --width 1, not {width:g}"
                raise UsageError(f"{option} {path}: {error}{hint}") from error
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


def copy_matching(model: Module, arrays: Mapping[str, NDArray[Any]]) -> weights.Fitted:
    """Copy into a model every array that has a place in it; leave the rest as it is.

    This is how FCN-16s starts from FCN-32s and FCN-8s from FCN-16s: the trunk and the scores that
    are there already are copied, the new skip scores begin at zero (Long, Shelhamer, Darrell,
    CVPR 2015, section 4.2). It is also how a network starts from a published classifier; what the
    names mean in other frameworks is said in :mod:`tinyfcn.weights.fit`.

    Raises:
        WeightsError: if nothing at all fits, or a layer has another shape; a ValueError.
    """
    fitted = weights.fit({name: array.shape for name, array in _arrays(model)}, arrays)
    model.load_state_dict(fitted.arrays, strict=False)
    return fitted


# Arguments that decide which arrays a network has, and values to be tried besides the default: a
# file is for that network which it fills.
VARIANTS: dict[str, tuple[Any, ...]] = {
    "batch_norm": (False, True),
    "aux_loss": (False, True),
    "aux_logits": (False, True),
    "form": ("torchvision", "bvlc"),
    "depth": (50, 101),
    "context": ("basic", "large", None),
}


def published_model(
    path: str | os.PathLike[str], name: str | None = None, **arguments: Any
) -> tuple[Module, Description]:
    """A model with all its weights from somebody else's file, such as a published FCN.

    The number of classes, and such arguments as ``batch_norm``, are those of the network that the
    file fills; 21 classes are taken to be VOC's. If the layers have Caffe's names, the network is
    made with ``geometry="reference"``, and ``at_once`` if the file has the scales that go with it.

    Args:
        path: a file that :func:`tinyfcn.weights.read` can read.
        name: name of a function in ``tinyfcn.models``; a file of our own knows it.
        arguments: more arguments of the function.

    Raises:
        FileNotFoundError, ValueError: if that cannot be done, or a layer would be left random.
    """
    if name is not None:
        _check_arguments(name, arguments)
    file = weights.read(path)
    if file.description is not None:
        about = Description.from_dict(file.description)
        if name not in (None, about.model):
            raise weights.WeightsError(f"{path} is for {about}, not for {name}")
    elif name is None:
        raise weights.WeightsError(f"{path} does not say which model it is for: give --model")
    else:
        try:
            about = _published(file, name, arguments)
        except weights.WeightsError as error:
            raise weights.WeightsError(f"{path} does not hold a {name}: {error}") from error
    model = about.build()
    fitted = copy_matching(model, _without_scales(file.arrays))
    if fitted.new:
        raise weights.WeightsError(f"{path}: not all of {about.model} is in the file: {fitted}")
    if fitted.unused:
        print(f"{path}: {fitted}")
    return model, about


def _check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse what no file can help, before one is read."""
    if name not in models.names():
        models.create(name)
    takes = inspect.signature(getattr(models, name)).parameters
    for key in arguments.keys() - takes.keys():
        raise ValueError(f"{name} does not take {key}")


def _published(file: weights.WeightFile, name: str, given: Mapping[str, Any]) -> Description:
    """The network that leaves the fewest arrays new, then the fewest of the file unused."""
    best: tuple[tuple[int, int], int, dict[str, Any]] | None = None
    refused: ValueError | None = None
    arrays = _without_scales(file.arrays)
    for arguments in _candidates(file, name, given):
        try:
            shapes = _shapes(name, 2, arguments)
            count = weights.count_classes(shapes, _shapes(name, 3, arguments), arrays)
            count = count or len(VOC_CLASSES)
            fitted = weights.fit(_shapes(name, count, arguments), arrays)
        except ValueError as error:
            refused = refused or error
            continue
        left = len(fitted.new), len(fitted.unused)
        if best is None or left < best[0]:
            best = left, count, arguments
    if best is None:
        assert refused is not None
        raise refused
    _, count, arguments = best
    classes = VOC_CLASSES if count == len(VOC_CLASSES) else [f"class {i}" for i in range(count)]
    return Description(name, tuple(classes), arguments, file.preprocessing or TORCHVISION)


def _candidates(
    file: weights.WeightFile, name: str, given: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The arguments with which a network may be the one that a file is for."""
    from_caffe = any(array.startswith("conv1") for array in file.arrays)
    values = {
        "geometry": ("reference", "aligned") if from_caffe else ("aligned",),
        "at_once": ("scale_pool4.weight" in file.arrays,),
        **VARIANTS,
        **{key: (value,) for key, value in given.items()},
    }
    takes = inspect.signature(getattr(models, name)).parameters
    chosen = {key: some for key, some in values.items() if key in takes}
    for key in VARIANTS.keys() & (chosen.keys() - given.keys()):
        chosen[key] = (*dict.fromkeys((takes[key].default, *chosen[key])),)
    for combination in itertools.product(*chosen.values()):
        yield dict(zip(chosen, combination, strict=True))


def _without_scales(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Leave out the fixed factors of an FCN-8s at once, which are constants here, if they agree."""
    known = {f"scale_pool{skip.pool}.weight": skip.scale for skip in SKIPS[8]}
    for name, factor in known.items():
        if name in arrays and not np.allclose(arrays[name], factor):
            raise weights.WeightsError(f"{name} is not {factor:g} everywhere, as at_once has it")
    return {name: array for name, array in arrays.items() if name not in known}


def _shapes(name: str, num_classes: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes of a network that takes no memory."""
    with backend.using("meta"):
        model = models.create(name, num_classes=num_classes, **arguments)
    return {key: array.shape for key, array in _arrays(model)}


def _arrays(model: Module) -> list[tuple[str, Any]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _listed(classes: Sequence[str]) -> str:
    names = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes)} classes ({names})"
