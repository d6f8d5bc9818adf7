"""Turns an image of bytes into a network's input: channel order, range, mean and deviation.

Pretrained weights work only with the numbers they were trained with, so a checkpoint stores
these beside the weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.transforms import Resize

__all__ = ["CAFFE", "TORCHVISION", "Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """``(image · scale − mean) / std`` for each channel.

    Args:
        channel_order: "RGB" or "BGR", the order of the network's input channels; images are RGB.
        scale: factor on the bytes 0..255: 1/255 for the range 0..1.
        mean, std: three numbers in the order of ``channel_order``, in units after scaling.
        resize: the size that images have before, see :class:`tinyfcn.data.Resize`; :meth:`apply`
            leaves that to its callers.

    >>> TORCHVISION.apply(np.full((2, 4, 3), 255, np.uint8)).shape
    (3, 2, 4)
    """

    channel_order: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.channel_order not in ("RGB", "BGR"):
            raise ValueError(
                f"Preprocessing: channel_order must be 'RGB' or 'BGR', got {self.channel_order!r}"
            )
        for name, least, what in (("mean", -np.inf, "numbers"), ("std", 0, "positive numbers")):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3 or not all(least < value < np.inf for value in values):
                raise ValueError(f"Preprocessing: {name} must be three {what}, got {values}")
            object.__setattr__(self, name, values)
        if not 0 < float(self.scale) < np.inf:
            raise ValueError(f"Preprocessing: scale must be positive, got {self.scale}")
        object.__setattr__(self, "resize", Resize(tuple(self.resize)).size)

    def __str__(self) -> str:
        """In words.

        >>> print(CAFFE)
        BGR from 0 to 255, less 104.007, 116.669, 122.679
        >>> print(TORCHVISION)
        RGB from 0 to 1, less 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225
        """
        text = f"{self.channel_order} from 0 to {255 * self.scale:g}"
        for words, numbers, none in (("less", self.mean, 0), ("divided by", self.std, 1)):
            if set(numbers) != {none}:
                text += f", {words} {', '.join(f'{n:.6g}' for n in numbers)}"
        if self.resize:
            text += f", resized to {' x '.join(map(str, self.resize))}"
        return text

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB (H, W, 3) to float32 (3, H, W); the memory stays channels-last."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"Preprocessing: image must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}"
            )
        height, width, _ = image.shape
        if self.channel_order == "BGR":
            image = image[..., ::-1]
        # Whole rows keep NumPy's inner loops long; broadcasting over three channels would not.
        gain = np.tile(self.scale / np.array(self.std), width).astype(np.float32)
        bias = np.tile(-np.array(self.mean) / np.array(self.std), width).astype(np.float32)
        rows = image.reshape(height, width * 3) * gain
        rows += bias
        return rows.reshape(height, width, 3).transpose(2, 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """The arguments, as plain values for JSON."""
        return asdict(self)


TORCHVISION = Preprocessing()
"""torchvision's weights, all but GoogLeNet's: RGB, 0..1, ImageNet's mean and deviation."""

CAFFE = Preprocessing("BGR", 1.0, (104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0))
"""The FCN papers' reference models: BGR, 0..255, the mean of CaffeNet's ILSVRC images."""
