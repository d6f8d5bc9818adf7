"""Networks, assembled from the layers of ``tinyfcn.nn``; each takes ``num_classes``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tinyfcn import nn
from tinyfcn.models import geometry
from tinyfcn.models.alexnet import alexnet
from tinyfcn.models.caffenet import caffenet
from tinyfcn.models.convolutionalize import convolutionalize
from tinyfcn.models.deconvnet import deconvnet
from tinyfcn.models.deeplab import deeplab_aspp, deeplab_largefov
from tinyfcn.models.deeplabv3_resnet import deeplabv3_resnet50, deeplabv3_resnet101
from tinyfcn.models.dilation import dilation_context
from tinyfcn.models.fcn import FCN, fcn8s, fcn16s, fcn32s
from tinyfcn.models.fcn_resnet import fcn_resnet50, fcn_resnet101
from tinyfcn.models.googlenet import googlenet
from tinyfcn.models.parsenet import parsenet
from tinyfcn.models.pspnet import pspnet
from tinyfcn.models.resnet import resnet18, resnet34, resnet50, resnet101
from tinyfcn.models.same_resolution import same_resolution
from tinyfcn.models.segnet import segnet, segnet_basic
from tinyfcn.models.sliding_window import sliding_window
from tinyfcn.models.unet import unet
from tinyfcn.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

_MAKERS: dict[str, Callable[..., nn.Module]] = {
    make.__name__: make
    for make in (
        fcn32s,
        fcn16s,
        fcn8s,
        alexnet,
        caffenet,
        deconvnet,
        deeplab_aspp,
        deeplab_largefov,
        deeplabv3_resnet50,
        deeplabv3_resnet101,
        dilation_context,
        fcn_resnet50,
        fcn_resnet101,
        googlenet,
        parsenet,
        pspnet,
        resnet18,
        resnet34,
        resnet50,
        resnet101,
        same_resolution,
        segnet,
        segnet_basic,
        sliding_window,
        unet,
        vgg11,
        vgg11_bn,
        vgg13,
        vgg13_bn,
        vgg16,
        vgg16_bn,
        vgg19,
        vgg19_bn,
    )
}


def names() -> Sequence[str]:
    """The names that :func:`create` knows.

    Example:
        >>> names()[:3]
        ['fcn32s', 'fcn16s', 'fcn8s']
    """
    return [*_MAKERS]


list = names  # under the name that users of other collections look for


def is_classifier(name: str) -> bool:
    """Whether the network of that name labels images, not pixels.

    Example:
        >>> is_classifier("vgg16"), is_classifier("fcn8s")
        (True, False)
    """
    return name.startswith(("alexnet", "caffenet", "googlenet", "resnet", "vgg"))


def create(name: str, **arguments: Any) -> nn.Module:
    """Make a network by its name, as a training script's ``--model`` gives it.

    Raises:
        ValueError: if there is none of that name, listing those there are.
        TypeError: if it takes no argument of a given name, listing those it takes.

    Example:
        >>> create("fcn8s", num_classes=2, width=1 / 64).num_classes
        2
    """
    if name not in _MAKERS:
        raise ValueError(f"models: expected one of {', '.join(_MAKERS)}, got {name!r}")
    make = _MAKERS[name]
    takes = inspect.signature(make).parameters
    for argument in arguments:
        if argument not in takes:
            raise TypeError(f"{name}: expected arguments {', '.join(takes)}, got {argument!r}")
    return make(**arguments)


__all__ = [
    "FCN",
    "alexnet",
    "caffenet",
    "convolutionalize",
    "create",
    "deconvnet",
    "deeplab_aspp",
    "deeplab_largefov",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "dilation_context",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "fcn_resnet50",
    "fcn_resnet101",
    "geometry",
    "googlenet",
    "is_classifier",
    "list",
    "names",
    "parsenet",
    "pspnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "same_resolution",
    "segnet",
    "segnet_basic",
    "sliding_window",
    "unet",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
