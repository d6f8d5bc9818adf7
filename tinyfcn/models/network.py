"""What training, evaluation and tiles ask of a network that labels pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tinyfcn import nn
from tinyfcn.tensor import Tensor

GEOMETRIES = ("aligned", "reference")  # how maps are padded: see fcn.py, unet.py, dilation.py


class SegmentationNetwork(nn.Module):
    """Base class of the networks that label pixels, with the answers that most of them give.

    Attributes:
        name: what its errors begin with; of a registered network its name in ``tinyfcn.models``.
        num_classes: number of classes, set where the network is registered.
        in_channels: of the images that it takes, or None if it takes others too.
        margin: pixels of the image on each side that get no score, as in U-Net without padding.
        auxiliary: the weights of the losses of heads that are there to learn, by their names in
            :meth:`outputs`.
        scoring: names of the layers that begin at zero where the others have trained weights.
    """

    name: str = ""
    num_classes: int
    in_channels: int | None = 3
    margin: int = 0
    auxiliary: Mapping[str, float] = MappingProxyType({})
    scoring: Sequence[str] = ()

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """The scores of all heads; those of "out" are the answer."""
        return {"out": self(x)}

    def window(self, side: int) -> int:
        """The least side of an image whose scores cover ``side`` pixels."""
        return side

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        for x in (*inputs, *options.values()):
            self.check_images(x)
        return super().__call__(*inputs, **options)

    def check_images(self, x: Tensor) -> None:
        """Reject what are not images of ``in_channels`` channels; done before every call."""
        channels = self.in_channels
        if channels and (x.ndim != 4 or x.shape[1] != channels):
            name = self.name or type(self).__name__
            raise ValueError(f"{name}: expected images (N, {channels}, H, W), got shape {x.shape}")


class _Other(SegmentationNetwork):
    """Answers for a module of another class: what it has of the above, else the defaults."""

    in_channels = None

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        for name in ("margin", "auxiliary", "scoring", "outputs", "window"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def forward(self, x: Tensor) -> Tensor:
        """The model's own."""
        return self.model(x)


def as_network(model: nn.Module) -> SegmentationNetwork:
    """The model, or if its class is another, a network that runs it.

    Such a model may have some of the attributes and methods of :class:`SegmentationNetwork`; the
    others have the defaults.

    Example:
        >>> as_network(nn.Conv2d(3, 2, 1)).margin
        0
    """
    return model if isinstance(model, SegmentationNetwork) else _Other(model)
