"""The command line of ``examples/train_voc.py``.

Where an option is not given, its value comes from the checkpoint of ``--resume`` or
``--evaluate``, else from the preset, else from ``DEFAULTS``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyfcn import models
from tinyfcn.cli.parser import Parser, integer, number
from tinyfcn.models.registry import entry
from tinyfcn.training import checkpoint
from tinyfcn.training.errors import UsageError
from tinyfcn.training.run_folder import RunFolder

DEFAULTS: dict[str, Any] = {
    "data_root": None, "sbd_root": None, "classes": None, "scenes": 1200,
    "train_split": "train", "val_split": "val", "out": None,
    "model": "fcn8s", "backbone": "vgg16", "width": 0.125, "batch_norm": True,
    "geometry": "aligned", "at_once": False, "dropout": None, "recompute": False,
    "epochs": 6, "iterations": None, "batch_size": 8, "accumulate": 1,
    "crop": None, "jitter": 0.0, "colour_jitter": 0.0, "flip": True,
    "preprocessing": "torchvision",
    "optimizer": "adam", "lr": 1e-2, "momentum": 0.9, "weight_decay": 1e-4, "bias_lr": 1.0,
    "schedule": "poly", "warmup": 20, "loss_reduction": "mean", "class_weights": "none",
    "seed": 0, "workers": 2, "backend": None,
    "resume": None, "init_from": None, "pretrained": None, "evaluate": None, "preset": "default",
}  # fmt: skip

# Published settings, by the options that name the network.
PAPER: dict[str, Mapping[str, Any]] = {
    name
    + (f" --backbone {preset['backbone']}" if "backbone" in preset else "")
    + (" --at-once" if "at_once" in preset else ""): preset
    for name in models.names()
    for preset in entry(name).presets
}

# A checkpoint does not keep these: they say where a run is, not what it is.
NOT_SAVED = ("resume", "evaluate", "out", "init_from", "pretrained")


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, all of them set.

    Besides them, ``given`` holds the names of those that stood on the command line, and ``state``
    what is in the checkpoint of ``--resume`` or ``--evaluate``, or None.

    Raises:
        SystemExit: for ``--help`` or options that cannot be parsed.
        UsageError, CheckpointError, FileNotFoundError: with one sentence for the user.
    """
    given: dict[str, Any] = vars(_parser().parse(arguments))
    if "epochs" in given and "iterations" in given:
        raise UsageError("--epochs and --iterations both say how long to train; give one of them")
    if "resume" in given and "init_from" in given:
        raise UsageError("--resume goes on with a run, --init-from begins one; give one of them")
    if "pretrained" in given and "init_from" in given:
        raise UsageError("--pretrained and --init-from both bring weights; give one of them")

    state, saved = None, {}
    source = _checkpoint_path(given)
    if source is not None:
        state = checkpoint.load(source)
        saved = {k: v for k, v in state.get("arguments", {}).items() if k in DEFAULTS}
        given.setdefault("out", str(source.parent))

    values = dict(DEFAULTS)
    preset = given.get("preset", saved.get("preset", "default"))
    if preset == "paper":
        values.update(_paper({**values, **saved, **given}, "lr" in {**saved, **given}))
    values.update(saved)
    if "epochs" in given:
        values["iterations"] = None
    if "iterations" in given:
        values["epochs"] = None
    values.update(given)
    for name in ("classes", "sbd_root"):
        if name in given and values["data_root"] is None:
            raise UsageError(f"--{name.replace('_', '-')} goes with --data-root")
    if "scenes" in given and values["data_root"] is not None:
        raise UsageError("--scenes are drawn where there is no --data-root; give one of them")
    if values["out"] is None:
        values["out"] = str(_unused(Path("runs") / values["model"]))
    for name in ("resume", "evaluate"):
        values[name] = str(source) if name in given else None
    if values["evaluate"]:
        values["resume"] = None
    return argparse.Namespace(**values, given=sorted(given), state=state)


def all_options(options: argparse.Namespace) -> dict[str, Any]:
    """Every option and its value."""
    return {name: getattr(options, name) for name in DEFAULTS}


def saved_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options that a checkpoint keeps, so that a run goes on as it was begun."""
    return {k: v for k, v in all_options(options).items() if k not in NOT_SAVED}


def open_run(options: argparse.Namespace) -> RunFolder:
    """The run folder, checked to be writable unless a checkpoint is only scored.

    Raises:
        UsageError: if it holds a run already that would be lost.
        OSError: if it cannot be made or written to.
    """
    run = RunFolder(options.out, writes=not options.evaluate)
    if _holds_run(run.path) and not options.resume and not options.evaluate:
        raise UsageError(
            f"{run.path} holds a run already: --resume goes on with it, another --out begins anew"
        )
    return run


def _checkpoint_path(given: Mapping[str, Any]) -> Path | None:
    """The checkpoint of ``--evaluate`` or ``--resume``; without a path, that of ``--out``."""
    for name in ("evaluate", "resume"):
        if name not in given:
            continue
        path = given[name] or given.get("resume")
        if path:
            return Path(path)
        if "out" not in given:
            raise UsageError(f"--{name} needs a checkpoint, or --out with one in it")
        return Path(given["out"]) / ("best.npz" if name == "evaluate" else "last.npz")
    return None


def _paper(values: Mapping[str, Any], has_lr: bool) -> Mapping[str, Any]:
    """The published settings of the network that ``values`` name."""
    network = values["model"]
    if values["backbone"] != DEFAULTS["backbone"]:
        network += f" --backbone {values['backbone']}"
    if values["at_once"]:
        network += " --at-once"
    if network not in PAPER:
        raise UsageError(
            f"--preset paper: no settings are known for --model {network}, only for "
            + ", ".join(PAPER)
        )
    if "lr" not in PAPER[network] and not has_lr:
        raise UsageError(f"--preset paper: {network}'s learning rate was not published: give --lr")
    return {"epochs": None, **PAPER[network]} if "iterations" in PAPER[network] else PAPER[network]


def _unused(path: Path) -> Path:
    """The first of path, path-2, path-3, … that holds no run."""
    candidate, number = path, 1
    while _holds_run(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _holds_run(path: Path) -> bool:
    return (path / "last.npz").exists()


def _parser() -> Parser:
    parser = Parser(
        "Train a fully convolutional network on Pascal VOC, on a data set in its layout,\n"
        "on a folder of images and masks, or, without --data-root, on synthetic scenes.",
        prog="tinyfcn train",
        usage="%(prog)s [options]",
        argument_default=argparse.SUPPRESS,
    )

    def add(group: Any, name: str, kind: Any, text: str, **more: Any) -> None:
        default = DEFAULTS[name.replace("-", "_")]
        if default is not None and default is not False:
            text += f" (default {'yes' if default is True else default})"
        if kind is bool:
            more["action"] = argparse.BooleanOptionalAction
        elif isinstance(kind, list):
            more["choices"] = kind
        else:
            more["type"] = kind
        group.add_argument(f"--{name}", help=text.replace("%", "%%"), **more)

    path = {"metavar": "PATH"}
    data = parser.add_argument_group("data")
    add(data, "data-root", str, "VOC tree, or a folder with images/, masks/ and the lists of ids "
        "train.txt and val.txt", **path)  # fmt: skip
    add(data, "sbd-root", str, "SBD, whose training images are added", **path)
    add(data, "classes", str, "names, comma-separated, or a file with one a line", metavar="NAMES")
    add(data, "train-split", str, "name of the list to train on", metavar="NAME")
    add(data, "val-split", str, "name of the list to score on", metavar="NAME")
    add(
        data, "scenes", integer(1), "synthetic scenes to train on, without --data-root", metavar="N"
    )
    add(data, "crop", integer(1), "train on random windows of this side", metavar="PIXELS")
    add(data, "jitter", number(0, 0.99), "scale at random by 1-X to 1+X", metavar="X")
    add(data, "colour-jitter", number(0, 0.99), "change colours by up to X", metavar="X")
    add(data, "flip", bool, "mirror half of the images")
    add(data, "preprocessing", ["torchvision", "caffe"], "RGB in 0..1, or BGR in 0..255")
    add(data, "workers", integer(0), "threads that read ahead", metavar="N")

    model = parser.add_argument_group("model")
    add(model, "model", _network, "which network", metavar="NAME")
    add(model, "backbone", str, "which trunk", metavar="NAME")
    add(model, "width", number(0.001, 8), "factor on the channels of the trunk", metavar="X")
    add(model, "batch-norm", bool, "batch normalization in the trunk")
    add(model, "geometry", ["aligned", "reference"], "how maps are padded; reference as published")
    add(model, "at-once", bool, "scale the skips as published, to train all of them at once")
    add(model, "dropout", number(0, 0.99), "its probability (default: the network's)", metavar="X")
    add(model, "recompute", bool, "less memory for large images, one more forward pass")
    add(model, "init-from", str, "checkpoint to copy every matching array from", **path)
    add(
        model,
        "pretrained",
        str,
        "other people's weights: .pth, .safetensors, .caffemodel, .mat, .npz",
        **path,
    )

    learning = parser.add_argument_group("learning")
    add(learning, "preset", ["default", "paper"], "where options that are not given come from")
    add(learning, "epochs", integer(1), "times through the training set", metavar="N")
    add(learning, "iterations", integer(1), "optimizer steps, instead of epochs", metavar="N")
    add(learning, "batch-size", integer(1), "images at a time", metavar="N")
    add(learning, "accumulate", integer(1), "batches whose gradients make one step", metavar="N")
    add(learning, "optimizer", ["adam", "sgd"], "how to step")
    add(learning, "lr", number(0, 1e6), "learning rate", metavar="X")
    add(learning, "momentum", number(0, 0.9999), "of SGD", metavar="X")
    add(learning, "weight-decay", number(0, 1e6), "of weights, not of biases", metavar="X")
    add(learning, "bias-lr", number(0, 1e6), "factor on the learning rate of biases", metavar="X")
    add(learning, "schedule", ["constant", "cosine", "poly", "step"], "how the learning rate falls")
    add(learning, "warmup", integer(0), "steps in which it rises first", metavar="N")
    add(learning, "loss-reduction", ["mean", "sum"], "over the pixels of a batch")
    add(learning, "class-weights", ["none", "median-frequency"], "weights of classes in the loss")

    run = parser.add_argument_group("run")
    add(run, "out", str, "the run folder (default runs/MODEL, or the next that is free)", **path)
    add(run, "resume", str, "go on from a checkpoint (alone: from OUT/last.npz)", nargs="?", **path)
    add(run, "evaluate", str, "only score a checkpoint (alone: OUT/best.npz)", nargs="?", **path)
    add(run, "seed", integer(0), "of initial weights, order, augmentation", metavar="N")
    add(run, "backend", str, "what computes (default TINYFCN_BACKEND, or numpy)", metavar="NAME")
    return parser


def add_about_published(parser: argparse.ArgumentParser) -> None:
    """The options for what a file of weights may not tell of its network."""
    parser.add_argument("--backbone", help="its trunk, if not the default")
    parser.add_argument(
        "--at-once", action="store_true", help="an FCN-8s at once, if the file does not say so"
    )
    parser.add_argument(
        "--geometry",
        choices=["aligned", "reference"],
        help="how maps are padded (default reference if layers have Caffe's names)",
    )


def about_published(options: argparse.Namespace) -> dict[str, Any]:
    """Those of the options of :func:`add_about_published` that were given."""
    values = {name: getattr(options, name) for name in ("backbone", "at_once", "geometry")}
    return {name: value for name, value in values.items() if value}


def _network(text: str) -> str:
    """The name of a model that labels pixels."""
    networks = [name for name in models.names() if not models.is_classifier(name)]
    if text not in networks:
        labels = f"{text} labels whole images, not pixels; " if text in models.names() else ""
        raise argparse.ArgumentTypeError(
            f"{labels}expected one of {', '.join(networks)}, got {text!r}"
        )
    return text
