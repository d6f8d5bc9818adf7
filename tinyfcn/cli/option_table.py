"""The options of ``tinyfcn train``: names, defaults, types, and what their help says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinyfcn import backend, models
from tinyfcn.backend.half import products
from tinyfcn.cli.class_options import byte, mask_values
from tinyfcn.cli.parser import checked, integer, limits, number, one_of, sizes
from tinyfcn.data import Preprocessing, Resize
from tinyfcn.training.augmentation import NONE, SOME, amounts
from tinyfcn.training.class_weights import FREQUENCY, own_weights
from tinyfcn.training.objective import LOSSES, named_loss


def _network(text: str) -> str:
    """The name of a model that labels pixels."""
    networks = [name for name in models.names() if not models.is_classifier(name)]
    if text in models.names() and text not in networks:
        raise argparse.ArgumentTypeError(
            f"{text} labels whole images, not pixels; expected one of {', '.join(networks)}"
        )
    return one_of(networks)(text)


class Option(NamedTuple):
    """An option; its type is a function of the text, or bool."""

    name: str
    default: Any
    type: Any
    metavar: str
    help: str


def _choice(name: str, default: str, words: Sequence[str], help: str) -> Option:
    return Option(name, default, one_of(words), f"{{{','.join(words)}}}", help)


_FACTOR, _PART = number(0, 1e6), number(0, 0.99)
_WEIGHTS = "none, median-frequency, enet or a list such as cat=2,dog=3"
MOMENTUM = {"adam": 0.5, "sgd": 0.9}
OPTIONS = {
    "data": [
        Option("data-root", None, str, "PATH",
               "images and masks as VOC, CVAT, labelme, Roboflow have them, or in two folders"),
        _choice("preprocessing", "torchvision", ["torchvision", "caffe"],
               "RGB in 0..1, or BGR in 0..255"),
        Option("sbd-root", None, str, "PATH", "SBD, to train on as well"),
        Option("classes", None, str, "NAMES", "a,b,c or a file of names"),
        Option("mask-values", None, mask_values, "MAP", "7:road,8:path or .json"),
        Option("void", None, byte, "N", "void in masks, as 255 is"),
        Option("train-split", "train", str, "NAME", "list to train on"),
        Option("val-split", "val", str, "NAME", "list to score on"),
        Option("val-share", None, number(0.01, 0.99), "X", "to score on, no lists: 0.2"),
        _choice("group-by", "image", ["image", "folder"], "held out"),
        Option("scenes", 1200, integer(1), "N", "drawn without data"),
        Option("workers", 2, integer(0), "N", "threads that read ahead"),
        Option("resize", None, checked(str, "a longest side or HxW, as 512 or 480x640",
                                       lambda text: Resize(sizes(text))),
               "SIZE", "longest side, or HxW"),
        Option("channels", 3, integer(1), "N", "of images: 1 is grey"),
        Option("range", None, checked(str, "two numbers, the smaller first, as 0,4095",
                                      lambda text: bool(Preprocessing(range=limits(text)))),
               "LOW,HIGH", "of values, if not 8 bits"),
        Option("crop", None, integer(1), "PIXELS", "side of random windows"),
        Option("flip", True, bool, "", "mirror half of all [yes]"),
        Option("jitter", 0.0, _PART, "X", "scale by 1-X to 1+X"),
        Option("colour-jitter", 0.0, _PART, "X", "change colours by X"),
        Option("augment", NONE, checked(str, SOME, amounts), "WHAT",
               "rotate=15,elastic=5,vertical-flip,turns,blur=1,noise=0.05 or some"),
    ],
    "model": [
        Option("model", "fcn8s", _network, "NAME", "of tinyfcn models"),
        Option("backbone", "vgg16", str, "NAME", "of an FCN"),
        Option("width", 0.125, number(0.001, 8), "X", "factor on channels"),
        Option("batch-norm", True, bool, "", "normalize batches [yes]"),
        Option("dropout", None, _PART, "X", "if not the model's own"),
        Option("recompute", False, bool, "", "less memory, more time"),
        Option("at-once", False, bool, "", "scale skips as published"),
        Option("init-from", None, str, "PATH", "checkpoint to begin with"),
        _choice("geometry", "aligned", ["aligned", "reference"],
               "how maps are padded; reference as published"),
        Option("pretrained", None, str, "PATH",
               "other people's weights: .pth, .safetensors, .caffemodel, .mat, .npz"),
    ],
    "learning": [
        Option("epochs", 6, integer(1), "N", "times through the data"),
        Option("iterations", None, integer(1), "N", "steps, instead of epochs"),
        Option("batch-size", 8, integer(1), "N", "images at a time"),
        Option("accumulate", 1, integer(1), "N", "batches a step"),
        Option("lr", 1e-2, _FACTOR, "X", "learning rate"),
        Option("bias-lr", 1.0, _FACTOR, "X", "factor for biases"),
        _choice("optimizer", "adam", [*MOMENTUM], "how to step"),
        Option("momentum", None, number(0, 0.9999), "X", "of former steps [adam 0.5, sgd 0.9]"),
        Option("weight-decay", 1e-4, _FACTOR, "X", "not of biases"),
        Option("warmup", 20, integer(0), "N", "steps of rising lr"),
        Option("lr-trunk", 1.0, _FACTOR, "X", "factor for the trunk"),
        Option("freeze", None, one_of(["trunk"]), "PART", "trunk: the rest learns"),
        Option("clip-norm", None, number(1e-6, 1e6), "X", "longest gradient"),
        Option("ema", None, number(0, 0.99999), "X", "score mean weights: 0.999"),
        Option("patience", None, integer(1), "N", "worse epochs that end it"),
        _choice("preset", "default", ["default", "paper"], "settings"),
        _choice("loss-reduction", "mean", ["mean", "sum"], "over pixels"),
        _choice("schedule", "poly", ["constant", "cosine", "poly", "step"], "how lr falls"),
        Option("loss", "ce",
               checked(str, "ce, dice, focal or a sum such as ce+0.5*dice", named_loss, LOSSES),
               "TERMS", "ce, dice, focal; ce+dice"),
        Option("class-weights", "none",
               checked(str, _WEIGHTS, lambda how: how in FREQUENCY or own_weights(how), FREQUENCY),
               "WORD", _WEIGHTS),
    ],
    "run": [
        Option("out", None, str, "PATH", "run folder (runs/MODEL, or the next that is free)"),
        Option("resume", None, str, "PATH", "go on from a checkpoint; alone: from OUT/last.npz"),
        Option("evaluate", None, str, "PATH", "only score a checkpoint; alone: OUT/best.npz"),
        Option("seed", 0, integer(0), "N", "of all random numbers"),
        Option("backend", None, one_of(backend.names()), "NAME", "what computes"),
        _choice("precision", "float32", products.names, "of products and activations"),
        Option("same-bits", None, integer(1), "N",
               "for any number of processes up to N (alone: 4): batches are cut into N"),
        Option("sync-batch-norm", False, bool, "", "over all processes [no]"),
        Option("half-exchange", False, bool, "", "of gradients [no]"),
        Option("tensorboard", False, bool, "", "event files too [no]"),
    ],
}  # fmt: skip
# These stand on the page of --help-all alone.
RARE = {
    "accumulate", "at-once", "bias-lr", "data-root", "geometry", "half-exchange", "loss-reduction",
    "momentum", "precision", "preprocessing", "recompute", "same-bits", "sbd-root",
    "sync-batch-norm", "tensorboard", "warmup",
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    option.name.replace("-", "_"): option.default for group in OPTIONS.values() for option in group
}
CHECKPOINTS = {"evaluate": "best.npz", "resume": "last.npz"}  # of --out, where no other is given
ALONE: dict[str, Any] = {**dict.fromkeys(CHECKPOINTS), "same-bits": 4}  # without a value


def add_option(group: Any, option: Option, rare: bool = True) -> None:
    """Add one of ``OPTIONS`` to a parser; its help ends in the default. Without ``rare``, those
    that few need are not shown."""
    more: dict[str, Any] = {"type": option.type, "metavar": option.metavar}
    if option.type is bool:
        more = {"action": argparse.BooleanOptionalAction}
    if option.name in ALONE:
        more |= {"nargs": "?", "const": ALONE[option.name]}
    text = option.help
    if option.default is not None and option.type is not bool:
        text += f" [{option.default}]"
    more["help"] = text if rare or option.name not in RARE else argparse.SUPPRESS
    group.add_argument(f"--{option.name}", **more)
