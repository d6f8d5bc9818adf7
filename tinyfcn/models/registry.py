"""All networks by name: each registers itself here, with what there is to know besides its layers.

A network is a function that takes ``num_classes`` and returns a module, under this decorator::

    @register("segmentation", source="Badrinarayanan et al. 2017")
    def segnet(num_classes: int = 11, width: float = 1.0) -> SegNet: ...

From here ``create``, the table of networks and the training script know it; ``models/__init__.py``
imports its file. Networks are written for RGB images; each takes ``in_channels`` too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from tinyfcn import nn
from tinyfcn.models.network import SegmentationNetwork

__all__ = ["create", "is_classifier", "list", "names"]

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)
Arguments = Mapping[str, Any]
_IN_CHANNELS = inspect.Parameter(
    "in_channels", inspect.Parameter.KEYWORD_ONLY, default=3, annotation="int"
)

# What most published networks have in common in their training.
SGD: dict[str, Any] = {
    "width": 1.0, "batch_norm": False, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "constant", "warmup": 0, "preprocessing": "caffe",
}  # fmt: skip


class Entry(NamedTuple):
    """What is registered of a network; :func:`register` explains it. ``side`` and ``classes`` are
    those of the image that the table of networks asks it about."""

    make: Callable[..., nn.Module]
    task: str
    source: str
    presets: Sequence[Arguments]
    forms: Sequence[Arguments]
    side: int
    classes: int

    @property
    def takes(self) -> Mapping[str, inspect.Parameter]:
        """The arguments of ``make``."""
        return inspect.signature(self.make).parameters


_NETWORKS: dict[str, Entry] = {}


def register(
    task: str,
    source: str,
    presets: Sequence[Arguments] = (),
    forms: Sequence[Arguments] = ({},),
    side: int | None = None,
    name: str | None = None,
) -> Callable[[Callable[P, M]], Callable[P, M]]:
    """A decorator: the function is a network, known by its name. Its ``num_classes`` is checked.

    A class is made such a function by ``unet = register(…, name="unet")(UNet)``, and one of a
    family of networks by ``vgg11 = register(…, name="vgg11")(member(vgg, 11))``.

    Args:
        task: "segmentation" or "classification": whether it labels pixels or images.
        source: who described it; the file of the network says where.
        presets: the published settings of its training, named as the training script's options.
            Where there are several, they differ in arguments such as ``backbone``. What options
            cannot say is left out: learning rates of single layers (10 times as high in DeepLab's
            fc8 and torchvision's auxiliary heads; AlexNet's biases learn at the common rate but for
            the last), momentum that takes over the learning rate of its time (Caffe), and images
            without a mean taken off (SegNet).
        forms: arguments in place of the defaults, for each row in the table of networks.
        side: of the images in that table; by default 500 for pixels, 224 for classifiers.
        name: of the network; by default the function's.
    """

    def decorate(make: Callable[P, M]) -> Callable[P, M]:
        signature = inspect.signature(make)
        signature = signature.replace(parameters=[*signature.parameters.values(), _IN_CHANNELS])
        written = make.func if isinstance(make, functools.partial) else make
        if isinstance(written, type):
            signature = signature.replace(return_annotation=written.__name__)
        known = name or written.__name__

        @functools.wraps(written, updated=())
        def checked(*args: P.args, **kwargs: P.kwargs) -> M:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            num_classes = given.arguments["num_classes"]
            if num_classes < 1:
                raise ValueError(f"{known}: num_classes must be at least 1, got {num_classes}")
            kwargs.pop("in_channels", None)
            network, channels = make(*args, **kwargs), given.arguments["in_channels"]
            first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
            if first is not None and first.in_channels != channels:
                own = nn.Conv2d(channels, first.out_channels, first.kernel_size)
                first.in_channels, first.weight = channels, own.weight
            if isinstance(network, SegmentationNetwork):
                network.name, network.num_classes = known, num_classes
                network.in_channels = channels
            return network

        checked.__name__ = checked.__qualname__ = known
        checked.__signature__ = signature  # type: ignore[attr-defined]
        usual, classes = {"segmentation": (500, 21), "classification": (224, 1000)}[task]
        _NETWORKS[known] = Entry(checked, task, source, presets, forms, side or usual, classes)
        return checked

    return decorate


def member(family: Callable[Concatenate[Any, P], M], first: Any) -> Callable[P, M]:
    """``functools.partial(family, first)``, whose other arguments mypy knows too.

    Example:
        >>> def resnet(depth: int, num_classes: int = 1000) -> nn.Module: ...
        >>> str(inspect.signature(member(resnet, 18)))
        "(num_classes: 'int' = 1000) -> 'nn.Module'"
    """
    return functools.partial(family, first)


def entry(name: str) -> Entry:
    """What is registered of a network.

    Raises:
        ValueError: if there is none of that name, listing those there are.
    """
    if name not in _NETWORKS:
        raise ValueError(f"models: expected one of {', '.join(_NETWORKS)}, got {name!r}")
    return _NETWORKS[name]


def names() -> Sequence[str]:
    """The names that :func:`create` knows.

    Example:
        >>> names()[:3]
        ['fcn32s', 'fcn16s', 'fcn8s']
    """
    return [*_NETWORKS]


list = names  # under the name that users of other collections look for


def is_classifier(name: str) -> bool:
    """Whether the network of that name labels images, not pixels.

    Example:
        >>> is_classifier("vgg16"), is_classifier("fcn8s")
        (True, False)
    """
    return entry(name).task == "classification"


def create(name: str, **arguments: Any) -> nn.Module:
    """Make a network by its name, as a training script's ``--model`` gives it.

    Raises:
        ValueError: if there is none of that name, listing those there are.
        TypeError: if it takes no argument of a given name, listing those it takes.

    Example:
        >>> create("fcn8s", num_classes=2, width=1 / 64).num_classes
        2
    """
    network = entry(name)
    for argument in arguments:
        if argument not in network.takes:
            takes = ", ".join(network.takes)
            raise TypeError(f"{name}: expected arguments {takes}, got {argument!r}")
    return network.make(**arguments)
