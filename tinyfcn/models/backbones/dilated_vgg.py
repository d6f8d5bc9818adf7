"""VGG16 whose last stages keep their resolution: poolings give way to dilation.

Source: Chen et al.: Semantic image segmentation with deep convolutional nets and fully connected
CRFs (ICLR 2015), section 3.1; Yu, Koltun: Multi-scale context aggregation by dilated convolutions
(ICLR 2016), section 4.

Without the stride of pool4 the maps stay at 1/8 of the image's size. Kernels trained at 1/16 still
fit if their taps lie twice as far apart, and after pool5 without its stride four times: the
dilation of conv5 and of whatever comes after it.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.trunk import scaled
from tinyfcn.models.backbones.vgg import CHANNELS, CONVOLUTIONS

DILATIONS = (1, 1, 1, 1, 2)  # of the five stages


def dilated_vgg16(
    width: float = 1.0,
    batch_norm: bool = False,
    pooling: tuple[nn.Module | None, ...] = (),
    padded: bool = True,
) -> nn.Sequential:
    """VGG16's convolutions at 1/8 of the image's size: (N, 3, H, W) → (N, 512 · width, H/8, W/8).

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        pooling: what stands after each of the five stages, None for nothing; the strides of the
            first three must be 2.
        padded: whether convolutions keep the size of their maps.

    Returns:
        A chain whose convolutions have the numbers that they have in :func:`tinyfcn.models.vgg16`,
        so weights go over by their names.

    Example:
        >>> trunk = dilated_vgg16(1 / 64, pooling=(*[nn.MaxPool2d(2)] * 3, None, None))
        >>> trunk[28]
        Conv2d(8, 8, kernel_size=(3, 3), padding=(2, 2), dilation=(2, 2))
    """
    layers: list[nn.Module] = []
    before = 3
    stages = zip(CHANNELS, CONVOLUTIONS[16], DILATIONS, pooling, strict=True)
    for published, convolutions, dilation, pool in stages:
        after = scaled(published, width)
        for _ in range(convolutions):
            padding = dilation if padded else 0
            layers.append(nn.Conv2d(before, after, 3, padding=padding, dilation=dilation))
            if batch_norm:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.ReLU())
            before = after
        layers.append(nn.Identity() if pool is None else pool)
    return nn.Sequential(*layers)
