"""What the trunks have in common: layers in a row, and maps of several strides on the way."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from tinyfcn import nn
from tinyfcn.tensor import Tensor


class Trunk(nn.Sequential):
    """The convolutional part of a classifier, cut into stages that each halve the image.

    Args:
        layers: the layers by their names, in order.
        ends: number of the layer that ends each stage.
        channels: number of channels there.

    Example:
        >>> from tinyfcn import nn
        >>> trunk = Trunk({"conv": nn.Conv2d(3, 4, 3), "pool": nn.MaxPool2d(2)}, (1,), (4,))
        >>> trunk.up_to(1)
        Sequential(
          (conv): Conv2d(3, 4, kernel_size=(3, 3))
          (pool): MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
        )
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], ends: tuple[int, ...], channels: tuple[int, ...]
    ) -> None:
        self.ends, self.channels = ends, channels
        super().__init__(layers)

    def features(self, x: Tensor, recompute: bool = False) -> list[Tensor]:
        """The output of every stage, the finest first.

        With ``recompute`` a stage keeps nothing between its ends for the backward pass, see
        :func:`tinyfcn.nn.recompute`.
        """
        outputs = []
        start = 0
        for end in self.ends:
            stage: nn.Sequential = self[start : end + 1]
            x = nn.recompute(stage, x) if recompute else stage(x)
            outputs.append(x)
            start = end + 1
        return outputs

    def up_to(self, stage: int) -> nn.Sequential:
        """The layers up to the end of a stage, counted from 1, for questions about geometry."""
        layers: nn.Sequential = self[: self.ends[stage - 1] + 1]
        return layers


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
