"""The network that the options of a training, or of a file of weights, ask for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tinyfcn import backend, models
from tinyfcn.cli.errors import UsageError, flag, usage_errors
from tinyfcn.cli.parser import limits, one_of, sizes
from tinyfcn.data import CAFFE, TORCHVISION, Preprocessing
from tinyfcn.models.registry import entry
from tinyfcn.nn import Module
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.datasets import outlines_in
from tinyfcn.training.model_spec import ModelSpec, class_list, copy_matching, spec_in
from tinyfcn.weights import WeightFile

# ---- of a training: options as train_options.parse_options gives them ----

# Arguments of models, where a model has them.
MODEL_OPTIONS = ("backbone", "width", "batch_norm", "geometry", "at_once", "dropout", "recompute")


def spec_of(options: argparse.Namespace, classes: Sequence[str]) -> ModelSpec:
    """The model that is to be trained or scored.

    Raises:
        UsageError: if an option was given that this model does not take.
    """
    takes = entry(options.model).takes
    for name in MODEL_OPTIONS:
        if name in options.given and name not in takes:
            raise UsageError(f"model {options.model} does not take {flag(name)}")
    asked = {name: options.values[name] for name in MODEL_OPTIONS if name in takes}
    asked["in_channels"] = options.channels if options.channels != 3 else None
    values = {name: value for name, value in asked.items() if value is not None}
    size = sizes(options.resize) if options.resize else ()
    preprocessing = replace(_preprocessing(options), resize=size, range=limits(options.range))
    return ModelSpec(options.model, tuple(classes), values, preprocessing)


def _preprocessing(options: argparse.Namespace) -> Preprocessing:
    """What was asked for on the command line, else what the weights were made with."""
    named = CAFFE if options.preprocessing == "caffe" else TORCHVISION
    named = named.for_channels(options.channels)
    own: Any = options.weights and options.weights.preprocessing
    if options.state is not None:
        own = spec_in(options.state, options.resume or options.evaluate).preprocessing
    own = own and replace(own.for_channels(options.channels), resize=(), range=())
    if own in (None, named):
        return named
    if "preprocessing" in options.given:
        print(f"--preprocessing {options.preprocessing}, though the weights expect images {own}")
        return named
    if options.state is None:
        print(f"the weights expect images {own}")
    return own


def build(spec: ModelSpec, options: argparse.Namespace) -> Module:
    """A model with random weights, or those that the options name; says what was copied.

    Raises:
        CheckpointError, UsageError: if that cannot be done.
    """
    if options.state is not None:
        return _go_on(spec, options)
    with usage_errors(f"--model {spec.model}"):
        model = spec.build()
    if (file := options.weights) is not None:
        name = "pretrained" if options.pretrained else "init_from"
        path, bgr = options.values[name], getattr(file.preprocessing, "channel_order", "") == "BGR"
        try:
            print(f"{path}: {copy_matching(model, file.arrays, bgr)}")
        except ValueError as error:
            hint = _hint(spec, file.description, path)
            raise UsageError(f"{flag(name)} {path}: {error}{hint}") from error
    return model


def _go_on(spec: ModelSpec, options: argparse.Namespace) -> Module:
    """The model of a run, with the weights of its own checkpoint."""
    state, path = options.state, options.resume or options.evaluate
    found = spec_in(state, path)
    if found.classes != spec.classes:
        raise CheckpointError(
            f"checkpoint {path} is for {class_list(found.classes)}, but the data has "
            f"{class_list(spec.classes)}{_put_right(found.classes, spec.classes, options)}"
        )
    with usage_errors(f"--model {spec.model}"), backend.using("meta"):
        model = spec.build()
    try:
        arrays = WeightFile(state.get("model", {})).arrays
        model.load_state_dict(arrays)  # whether they fit, before memory is taken
    except (TypeError, ValueError) as error:
        if (found.model, found.arguments) == (spec.model, spec.arguments):
            raise CheckpointError(f"checkpoint {path}: {error}") from error
        raise UsageError(f"checkpoint {path} is for {found}, not for {spec}") from error
    model = spec.build()
    model.load_state_dict(arrays)
    return model


def _put_right(learnt: Sequence[str], here: Sequence[str], options: argparse.Namespace) -> str:
    """What to type where only the order of the classes is another; else which is the first."""
    if sorted(learnt) == sorted(here):
        given, root = options.classes_given, options.data_root
        if root and (given is None or outlines_in(Path(root))):  # names have their values
            return f"; --classes {','.join(learnt)} puts them in its order"
        values = given if isinstance(given, Mapping) else dict(enumerate(here))
        pairs = [f"{v}:{name}" for name in learnt for v in values if values[v] == name]
        return f"; --mask-values {','.join(pairs)} puts them in its order"
    two = next(two for two in zip_longest(learnt, here, fillvalue="none") if len({*two}) > 1)
    return f"; the first that differ are {' and '.join(two)}; --classes gives the data other names"


def _hint(spec: ModelSpec, found: dict[str, Any] | None, path: str) -> str:
    """What a file of other shapes is for."""
    if found is not None:
        return f"; the file is for {spec_in({'description': found}, path)}"
    width = spec.arguments.get("width", 1)
    return "" if width == 1 else f"; published networks have --width 1, not {width:g}"


# ---- of a file of weights ----


def add_published(parser: argparse.ArgumentParser, model: str) -> None:
    """The options for what a file of weights may not tell of its network."""
    add = parser.add_argument
    add("--model", type=one_of(models.names()), metavar="NAME", help=model)
    add("--backbone", metavar="NAME", help="its backbone, if not the default")
    add("--at-once", action="store_true", help="an FCN-8s at once, if the file does not say so")
    add("--geometry", type=one_of(["aligned", "reference"]), metavar="NAME",
        help="how maps are padded (reference if layers have Caffe's names)")  # fmt: skip


def given_of(options: argparse.Namespace) -> dict[str, Any]:
    """What these options tell of a network."""
    more = {name: getattr(options, name) for name in ("backbone", "at_once", "geometry")}
    return {name: value for name, value in more.items() if value}
