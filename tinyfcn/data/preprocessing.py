"""Turns an image into a network's input: channels and their order, range, mean and deviation.

Pretrained weights work only with the numbers they were trained with, so a checkpoint stores
these beside the weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import read_image
from tinyfcn.data.transforms import Resize

__all__ = ["CAFFE", "TORCHVISION", "Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """``(image · scale − mean) / std`` for each channel.

    Args:
        channel_order: "RGB" or "BGR", the order of the network's input channels; images are RGB.
            Channels that are not three keep their order.
        scale: factor on what images hold, 0..255: 1/255 for the range 0..1.
        mean, std: a number for each channel, in the order of ``channel_order``, in units after
            scaling.
        resize: the size that images have before, see :class:`tinyfcn.data.Resize`; :meth:`apply`
            leaves that to its callers.
        range: the values in a file that become 0 and 255; () is those of bytes.

    >>> TORCHVISION.apply(np.full((2, 4, 3), 255, np.uint8)).shape
    (3, 2, 4)
    """

    channel_order: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    resize: tuple[int, ...] = ()
    range: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.channel_order not in ("RGB", "BGR"):
            raise ValueError(
                f"Preprocessing: channel_order must be 'RGB' or 'BGR', got {self.channel_order!r}"
            )
        for name, least, what in (("mean", -np.inf, "numbers"), ("std", 0, "positive numbers")):
            values = tuple(float(value) for value in getattr(self, name))
            if not 0 < len(values) == self.channels or not all(least < n < np.inf for n in values):
                raise ValueError(
                    f"Preprocessing: {name} must be {what}, one a channel, got {values}"
                )
            object.__setattr__(self, name, values)
        if not 0 < float(self.scale) < np.inf:
            raise ValueError(f"Preprocessing: scale must be positive, got {self.scale}")
        object.__setattr__(self, "resize", Resize(tuple(self.resize)).size)
        limits = tuple(float(value) for value in self.range)
        if limits and not (len(limits) == 2 and -np.inf < limits[0] < limits[1] < np.inf):
            raise ValueError(f"Preprocessing: range must be two numbers, low first, got {limits}")
        object.__setattr__(self, "range", limits)

    @property
    def channels(self) -> int:
        """How many an image has."""
        return len(self.mean)

    def for_channels(self, channels: int) -> Preprocessing:
        """The same for images of so many channels: where that changes, each gets the average of the
        means and of the deviations, as timm does."""
        if channels == self.channels:
            return self
        mean, std = ((float(np.mean(n)),) * channels for n in (self.mean, self.std))
        return replace(self, channel_order="RGB", mean=mean, std=std)

    def read(self, picture: Any, upright: bool = False) -> NDArray[Any]:
        """An image as :meth:`apply` takes it: see :func:`tinyfcn.data.read_image`."""
        return read_image(picture, upright, self.channels, self.range)

    def __str__(self) -> str:
        """In words.

        >>> print(CAFFE)
        BGR from 0 to 255, less 104.007, 116.669, 122.679
        >>> print(TORCHVISION)
        RGB from 0 to 1, less 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225
        >>> print(Preprocessing(mean=(0.5,), std=(0.2,), range=(0, 4095)))
        grey, 0..4095 as 0 to 1, less 0.5, divided by 0.2
        """
        text = {1: "grey", 3: self.channel_order}.get(self.channels, f"{self.channels} channels")
        text += f", {self.range[0]:g}..{self.range[1]:g} as" if self.range else " from"
        text += f" 0 to {255 * self.scale:g}"
        for words, numbers, none in (("less", self.mean, 0), ("divided by", self.std, 1)):
            if set(numbers) != {none}:
                told = numbers if len(set(numbers)) > 1 else numbers[:1]
                text += f", {words} {', '.join(f'{n:.6g}' for n in told)}"
        if self.resize:
            text += f", resized to {' x '.join(map(str, self.resize))}"
        return text

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """What :meth:`read` gives, uint8 (H, W, channels), or float32 if there is a range, to
        float32 (channels, H, W); the memory stays channels-last."""
        dtype = np.dtype(np.float32 if self.range else np.uint8)
        if image.dtype != dtype or image.ndim != 3 or image.shape[2] != self.channels:
            raise ValueError(
                f"Preprocessing: image must be {dtype} (H, W, {self.channels}), got {image.dtype} "
                f"{image.shape}"
            )
        height, width, channels = image.shape
        if self.channel_order == "BGR":
            image = image[..., ::-1]
        # Whole rows keep NumPy's inner loops long; broadcasting over three channels would not.
        gain = np.tile(self.scale / np.array(self.std), width).astype(np.float32)
        bias = np.tile(-np.array(self.mean) / np.array(self.std), width).astype(np.float32)
        rows = image.reshape(height, width * channels) * gain
        rows += bias
        return rows.reshape(height, width, channels).transpose(2, 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """The arguments, as plain values for JSON."""
        return asdict(self)


TORCHVISION = Preprocessing()
"""torchvision's weights, all but GoogLeNet's: RGB, 0..1, ImageNet's mean and deviation."""

CAFFE = Preprocessing("BGR", 1.0, (104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0))
"""The FCN papers' reference models: BGR, 0..255, the mean of CaffeNet's ILSVRC images."""
