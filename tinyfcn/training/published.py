"""Builds the network of a file, with its weights: of a checkpoint, or of other people's weights."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn import weights
from tinyfcn.data import TORCHVISION, VOC_CLASSES
from tinyfcn.models.fcn import SKIPS
from tinyfcn.models.registry import entry
from tinyfcn.nn import Module
from tinyfcn.training.model_spec import ModelSpec, spec_in

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


_MOST_CLASSES = 100_000  # an array may have an axis of any length, if another has none


class UnknownModel(weights.WeightsError):
    """A file of weights that does not say which model it is for, nor does the caller."""


def best_of(path: str | os.PathLike[str]) -> Path:
    """The best checkpoint, where a path is the folder of a run; else the path."""
    best = Path(path, "best.npz")
    return best if best.is_file() else Path(path)


def load_model(
    path: str | os.PathLike[str], name: str | None = None, **arguments: Any
) -> tuple[Module, ModelSpec]:
    """The model of a file, with all its weights.

    A file of our own says which it is. For others, such as a published FCN, the number of classes,
    and such arguments as ``batch_norm``, are those of the network that the file fills; 21 classes
    are taken to be VOC's. If the layers have Caffe's names, the network is made with
    ``geometry="reference"``, and ``at_once`` if the file has the scales that go with it.

    Args:
        path: a file that :func:`tinyfcn.weights.read` can read, or the folder of a run.
        name: name of a function in ``tinyfcn.models``; a file of our own knows it.
        arguments: more arguments of the function.

    Raises:
        FileNotFoundError, ValueError, CheckpointError: if that cannot be done, or a layer would be
            left random.
    """
    if name is not None:  # What no file can help is told before one is read.
        for key in arguments.keys() - entry(name).takes.keys():
            raise ValueError(f"{name} does not take {key}")
    file = weights.read(path := best_of(path))
    if file.description is not None:
        spec = spec_in({"description": file.description}, path)
        if name not in (None, spec.model):
            raise weights.WeightsError(f"{path} is for {spec}, not for {name}")
    elif name is None:
        raise UnknownModel(f"{path} does not say which model it is for")
    else:
        spec = _published(path, file, name, arguments)
    try:  # before memory is taken
        matched = weights.match_names(spec.shapes(), _without_scales(file.arrays))
    except (TypeError, ValueError) as error:
        raise weights.WeightsError(f"{path} does not hold a {spec}: {error}") from error
    if matched.new:
        raise weights.WeightsError(f"{path}: not all of {spec.model} is in the file: {matched}")
    if matched.unused:
        print(f"{path}: {matched}")
    model = spec.build()
    model.load_state_dict(matched.arrays, strict=False)
    return model, spec


def _published(
    path: str | os.PathLike[str], file: weights.WeightFile, name: str, given: Mapping[str, Any]
) -> ModelSpec:
    """The network that leaves the fewest arrays new, then the fewest of the file unused."""
    found, errors = [], []
    for arguments in _candidates(file, name, given):
        try:
            arrays = _without_scales(file.arrays)
            two, three = (ModelSpec(name, ("",) * n, arguments).shapes() for n in (2, 3))
            count = weights.count_classes(two, three, arrays) or len(VOC_CLASSES)
            count = min(count, _MOST_CLASSES)
            shapes = ModelSpec(name, ("",) * count, arguments).shapes()
            matched = weights.match_names(shapes, arrays)
            found.append((len(matched.new), len(matched.unused), count, arguments))
        except ValueError as error:
            errors.append(error)
    if not found:
        raise weights.WeightsError(f"{path} does not hold a {name}: {errors[0]}") from errors[0]
    *_, count, arguments = min(found, key=lambda one: one[:2])
    classes = VOC_CLASSES if count == len(VOC_CLASSES) else [f"class {i}" for i in range(count)]
    return ModelSpec(name, tuple(classes), arguments, file.preprocessing or TORCHVISION)


def _candidates(
    file: weights.WeightFile, name: str, given: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The arguments with which a network may be the one that a file is for."""
    from_caffe = any(name.startswith("conv1") or ".conv1_1." in name for name in file.arrays)
    takes = entry(name).takes
    values: dict[str, Iterable[Any]] = {
        "geometry": ("reference", "aligned") if from_caffe else ("aligned",),
        "at_once": ("scale_pool4.weight" in file.arrays,),
        **{
            key: dict.fromkeys([takes[key].default, *some])  # the default first
            for key, some in VARIANTS.items()
            if key in takes
        },
        **{key: (value,) for key, value in given.items()},
    }
    names = [key for key in values if key in takes]
    for combination in itertools.product(*(values[key] for key in names)):
        yield dict(zip(names, combination, strict=True))


def _without_scales(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Leave out the fixed factors of an FCN-8s at once, which are constants here, if they agree."""
    known = {f"scale_pool{skip.pool}.weight": skip.scale for skip in SKIPS[8]}
    for name, factor in known.items():
        if name in arrays and not np.allclose(arrays[name], factor):
            raise weights.WeightsError(f"{name} is not {factor:g} everywhere, as at_once has it")
    return {name: array for name, array in arrays.items() if name not in known}
