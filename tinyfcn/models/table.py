"""The networks side by side, in figures that are computed from the networks themselves."""

from __future__ import annotations

from typing import Any

from tinyfcn import backend, models
from tinyfcn.summary import amount, pixels, summary

# Who described it; the files of the networks say where.
SOURCES = {
    "alexnet": "Krizhevsky 2014",
    "caffenet": "Krizhevsky et al. 2012",
    "deconvnet": "Noh et al. 2015",
    "deeplab": "Chen et al. 2015",
    "deeplab_aspp": "Chen et al. 2017",
    "deeplabv3": "Chen et al. 2017",
    "dilation": "Yu, Koltun 2016",
    "fcn_resnet": "torchvision 2019",
    "fcn": "Long et al. 2015",
    "googlenet": "Szegedy et al. 2015",
    "parsenet": "Liu et al. 2016",
    "pspnet": "Zhao et al. 2017",
    "resnet": "He et al. 2016",
    "same_resolution": "for comparison",
    "segnet": "Badrinarayanan et al. 2017",
    "sliding_window": "Cireşan et al. 2012",
    "unet": "Ronneberger et al. 2015",
    "vgg": "Simonyan, Zisserman 2015",
}
SIDES = {"caffenet": 227}  # of images, in place of those of the table
# Arguments in place of the defaults: a row each, the first where nothing else is asked for.
FORMS: dict[str, list[dict[str, Any]]] = {
    "fcn32s": [{}, {"backbone": "caffenet"}, {"backbone": "googlenet"}],
    "fcn8s": [{}, {"geometry": "reference"}, {"backbone": "resnet50"}],
    "unet": [{"geometry": "aligned"}],
}


def table() -> str:
    """All networks of ``tinyfcn.models``, as a table in Markdown; some in several forms.

    Those that label pixels are asked about an image of 500 x 500 with 21 classes, classifiers about
    224 x 224 with 1000. The columns are explained in :class:`tinyfcn.summary.Summary`.
    """
    lines = [
        "| network | image | parameters | multiply-adds | receptive field | stride | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in models.names():
        lines += [_row(name, form) for form in FORMS.get(name, [{}])]
    return "\n".join(lines)


def _row(name: str, arguments: dict[str, Any]) -> str:
    side, classes = usual(name)
    with backend.using("meta"):
        model = models.create(name, num_classes=classes, **arguments)
    s = summary(model, (3, side, side))
    call = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    return (
        f"| `{call}` | {side} x {side} | {s.parameters:,} | {amount(s.multiply_adds)} "
        f"| {pixels(s.receptive_field)} | {pixels(s.stride)} | {source(name)} |"
    )


def usual(name: str) -> tuple[int, int]:
    """The side of the image and the number of classes that a network is asked about.

    Example:
        >>> usual("fcn8s"), usual("caffenet")
        ((500, 21), (227, 1000))
    """
    side, classes = (224, 1000) if models.is_classifier(name) else (500, 21)
    return SIDES.get(name, side), classes


def source(name: str) -> str:
    """Who described a network, from the longest beginning of its name that is known.

    Example:
        >>> source("vgg16_bn")
        'Simonyan, Zisserman 2015'
    """
    return SOURCES[max((known for known in SOURCES if name.startswith(known)), key=len)]
