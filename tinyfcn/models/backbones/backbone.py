"""What the backbones have in common: layers in a row, and maps of several strides on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from numbers import Real

from tinyfcn import nn
from tinyfcn.tensor import Tensor


class Backbone(nn.Sequential):
    """The convolutional part of a classifier, cut into stages that each halve the image.

    Args:
        stages: the layers of each stage, by their names or else to be numbered.

    Attributes:
        ends: number of the layer that ends each stage.
        channels: number of channels there.

    Example:
        >>> from tinyfcn import nn
        >>> backbone = Backbone([[nn.Conv2d(3, 4, 3), nn.ReLU()], {"pool2": nn.MaxPool2d(2)}])
        >>> backbone.ends, backbone.channels
        ((1, 2), (4, 4))
        >>> backbone.stages()[1]
        Sequential(
          (pool2): MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
        )
    """

    def __init__(self, stages: Iterable[Mapping[str, nn.Module] | Iterable[nn.Module]]) -> None:
        layers: dict[str, nn.Module] = {}
        self.ends: tuple[int, ...] = ()
        for stage in stages:
            named = stage.items() if isinstance(stage, Mapping) else enumerate(stage, len(layers))
            layers |= {str(name): layer for name, layer in named}
            self.ends += (len(layers) - 1,)
        super().__init__(layers)
        self.channels = tuple(out_channels(self[: end + 1]) for end in self.ends)

    def features(self, x: Tensor, recompute: bool = False) -> list[Tensor]:
        """The output of every stage, the finest first.

        With ``recompute`` a stage keeps nothing between its ends for the backward pass, see
        :func:`tinyfcn.nn.recompute`.
        """
        outputs = []
        for stage in self.stages():
            x = nn.recompute(stage, x) if recompute else stage(x)
            outputs.append(x)
        return outputs

    def stages(self) -> list[nn.Sequential]:
        """The layers of each stage."""
        starts = [0, *(end + 1 for end in self.ends)]
        return [self[start:stop] for start, stop in pairwise(starts)]


def with_classifier(
    backbone: Backbone,
    side: int,
    num_classes: int,
    width: float,
    dropout: float,
    dropout_first: bool = False,
) -> nn.Sequential:
    """A backbone and three fully connected layers in torchvision's form: images → class scores.

    Args:
        side: of the map that the layers are made for; an average pooling makes others fit.
        num_classes: number of scores.
        width: multiplies the 4096 channels of the two hidden layers.
        dropout: probability after each hidden layer, or with ``dropout_first`` before it.
    """
    hidden = scaled(4096, width)
    classifier: list[nn.Module] = []
    for before in (backbone.channels[-1] * side * side, hidden):
        layers = [nn.Linear(before, hidden), nn.ReLU()]
        layers.insert(0 if dropout_first else 2, nn.Dropout(dropout))
        classifier += layers
    parts: dict[str, nn.Module] = {"features": backbone, "avgpool": nn.AdaptiveAvgPool2d(side)}
    chain = nn.Sequential(*classifier, nn.Linear(hidden, num_classes))
    return nn.Sequential({**parts, "flatten": nn.Flatten(), "classifier": chain})


def out_channels(module: nn.Module) -> int:
    """Channels of its output, where it says so or its last convolution does; else 0."""
    own: int = getattr(module, "out_channels", 0)
    inside = [out_channels(child) for child in module.children()]
    return own or next(filter(None, reversed(inside)), 0)


def with_relu(
    convolution: nn.Conv2d | nn.ConvTranspose2d, batch_norm: bool = True
) -> list[nn.Module]:
    """A convolution, batch normalization if wanted, and a ReLU.

    Example:
        >>> with_relu(nn.Conv2d(3, 8, 1), batch_norm=False)
        [Conv2d(3, 8, kernel_size=(1, 1)), ReLU()]
    """
    norm = [nn.BatchNorm2d(convolution.out_channels)] if batch_norm else []
    return [convolution, *norm, nn.ReLU()]


def rectified(convolution: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """max(norm(convolution(x)), 0), the ReLU in one step with what is before it; the norm may be
    an ``nn.Identity``."""
    plain = isinstance(norm, nn.Identity)
    return convolution(x, relu=True) if plain else norm(convolution(x), relu=True)


def check_choice(name: str, argument: str, value: object, choices: Iterable[object]) -> None:
    """Reject an argument that is none of some values.

    Example:
        >>> check_choice("unet", "geometry", "round", ("aligned", "reference"))
        Traceback (most recent call last):
        ValueError: unet: geometry must be 'aligned' or 'reference', got 'round'
    """
    if value not in (choices := [*choices]):
        *others, last = map(repr, choices)
        raise ValueError(f"{name}: {argument} must be {', '.join(others)} or {last}, got {value!r}")


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded.

    Raises:
        TypeError: if ``width`` is not a number.
        ValueError: if nothing is left.

    Example:
        >>> scaled(64, 0.25)
        16
    """
    if not isinstance(width, Real):
        raise TypeError(f"width must be a number, got {width!r}")
    n = round(channels * width)
    if n < 1:
        raise ValueError(
            f"width {width} leaves {n} of {channels} channels; it must be at least {1 / channels}"
        )
    return n
