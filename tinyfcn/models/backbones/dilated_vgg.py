"""VGG16 whose last stages keep their resolution: poolings give way to dilation.

Source: Chen et al.: Semantic image segmentation with deep convolutional nets and fully connected
CRFs (ICLR 2015), section 3.1; Yu, Koltun: Multi-scale context aggregation by dilated convolutions
(ICLR 2016), section 4.

Without the stride of pool4 the maps stay at 1/8 of the image's size. Kernels trained at 1/16 still
fit if their taps lie twice as far apart, and after pool5 without its stride four times: the
dilation of conv5 and of whatever comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinyfcn import nn
from tinyfcn.models.backbones.vgg import vgg_layers

DILATIONS = (1, 1, 1, 1, 2)  # of the five stages


def dilated_vgg16(
    width: float, batch_norm: bool, pooling: Iterable[nn.Module], padded: bool = True
) -> nn.Sequential:
    """VGG16's convolutions at 1/8 of the image's size: (N, 3, H, W) → (N, 512 · width, H/8, W/8).

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        pooling: what stands after each of the five stages; the strides of the first three must be
            2, of the last two 1.
        padded: whether convolutions keep the size of their maps.

    Returns:
        A chain whose convolutions have the numbers that they have in :func:`tinyfcn.models.vgg16`,
        so weights go over by their names.

    Example:
        >>> pooling = [*[nn.MaxPool2d(2)] * 3, nn.Identity(), nn.Identity()]
        >>> backbone = dilated_vgg16(1 / 64, batch_norm=False, pooling=pooling)
        >>> backbone[28]
        Conv2d(8, 8, kernel_size=(3, 3), padding=(2, 2), dilation=(2, 2))
    """
    paddings = DILATIONS if padded else (0,) * 5
    layers = vgg_layers(16, width, batch_norm, pooling, DILATIONS, paddings, paddings[0])
    return nn.Sequential(*layers)
