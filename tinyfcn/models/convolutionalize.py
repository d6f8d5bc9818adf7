"""A classifier's fully connected layers, read as convolutions (Long et al. 2015, section 3.1).

A fully connected layer after a C × KH × KW map is a convolution whose kernel covers the whole
map: the same numbers, reshaped. On a larger map the kernel slides, and gives for every position
what the classifier would say about the crop there, but computes only once what crops share.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from tinyfcn import nn
from tinyfcn.functional.sizes import Pair, pair
from tinyfcn.models.backbones.backbone import out_channels

__all__ = ["convolutionalize"]


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean over the whole map, (N, C, H, W) → (N, C, 1, 1).

    Args:
        map_size: height and width of the map at the classifier's native image size. Pooling does
            not need it; :func:`convolutionalize` does, and cannot find it out.
    """

    def __init__(self, map_size: int | Pair) -> None:
        super().__init__(1)
        self.map_size = pair("GlobalAvgPool2d", "map_size", map_size, minimum=1)


def convolutionalize(classifier: nn.Module, map_size: int | Pair | None = None) -> nn.Sequential:
    """Turn a classifier of fixed-size images into a network that maps images of any larger size to
    score maps.

    ``Flatten`` becomes nothing and every ``Linear`` a ``Conv2d`` with the same weights: the first
    one after ``Flatten`` with a kernel of the map's size, (O, C·KH·KW) → (O, C, KH, KW), since
    flattening goes in the order C, H, W; the others with 1 × 1. An ``AdaptiveAvgPool2d``, which
    would squeeze every image into one size, becomes the pooling that it is at the native size.

    Args:
        classifier: a chain of layers, chains of layers, and blocks without any of the above; or a
            network with a method ``chain`` that gives one, as GoogLeNet with its auxiliary
            classifiers.
        map_size: height and width of the map that enters ``AdaptiveAvgPool2d`` or else ``Flatten``
            at the classifier's native image size. By default the size that the first Linear
            expects, taken to be square. A pooling to 1 × 1 hides it, so it has to be told then,
            unless it is a :class:`GlobalAvgPool2d` as in this package's classifiers.

    Returns:
        A chain with the same names and copies of the weights: images (N, C, H, W) → scores
        (N, classes, OH, OW), OH = OW = 1 for the native size. The equality with separate crops is
        exact where no zero padding inside makes a crop's border differ.

    Raises:
        TypeError, ValueError: if the classifier is not such a chain, or a size cannot be inferred.

    Example:
        >>> import numpy as np, tinyfcn
        >>> from tinyfcn import nn
        >>> classifier = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 5 * 5, 10))
        >>> dense = convolutionalize(classifier)
        >>> dense
        Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3))
          (1): MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
          (2): Identity()
          (3): Conv2d(4, 10, kernel_size=(5, 5))
        )
        >>> dense(tinyfcn.tensor(np.zeros((1, 3, 12, 12), np.float32))).shape
        (1, 10, 1, 1)
        >>> dense(tinyfcn.tensor(np.zeros((1, 3, 20, 16), np.float32))).shape
        (1, 10, 5, 3)
    """
    if hasattr(classifier, "chain"):
        classifier = classifier.chain()
    if not isinstance(classifier, nn.Sequential):
        kind = type(classifier).__name__
        raise TypeError(f"convolutionalize: expected a Sequential classifier, got {kind}")
    size = None if map_size is None else pair("convolutionalize", "map_size", map_size, minimum=1)
    # What is replaced is not copied first.
    kept = {id(layer): layer for *_, layer in _layers(classifier) if isinstance(layer, nn.Linear)}
    dense = copy.deepcopy(classifier, kept)
    channels, flattened = 0, False  # of the map that flows through the chain
    for chain, name, layer in _layers(dense):
        new: nn.Module
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            if size is None and isinstance(layer, GlobalAvgPool2d):
                size = layer.map_size
            new, size = _pooling(layer, size), layer.output_size
        elif isinstance(layer, nn.Flatten):
            if (layer.start_dim, layer.end_dim) != (1, -1):
                raise ValueError("convolutionalize: Flatten must join the axes 1 to -1")
            new, flattened = nn.Identity(), True
        elif isinstance(layer, nn.Linear):
            if not (flattened and channels):
                raise ValueError(
                    "convolutionalize: the first Linear must come after convolutions and Flatten"
                )
            new = _convolution(layer, channels, _native_map(layer, channels, size))
            channels, size = layer.out_features, (1, 1)
        else:
            channels = out_channels(layer) or channels
            continue
        new.training = layer.training
        setattr(chain, name, new)
    return dense


def _layers(chain: nn.Sequential) -> Iterator[tuple[nn.Sequential, str, nn.Module]]:
    """Layer by layer the chain that it is in and its name there; also of chains in the chain, if
    one of their layers has to be replaced."""
    for name, layer in chain.named_children():
        if isinstance(layer, nn.Sequential) and any(
            isinstance(m, nn.Linear | nn.Flatten | nn.AdaptiveAvgPool2d) for m in layer.modules()
        ):
            yield from _layers(layer)
        else:
            yield chain, name, layer


def _pooling(pool: nn.AdaptiveAvgPool2d, size: Pair | None) -> nn.Module:
    """What the pooling is on a map of that size."""
    out = pool.output_size
    if size is None and out == (1, 1):
        raise ValueError(
            "convolutionalize: AdaptiveAvgPool2d(1) hides the size of the map at the native image "
            "size; pass it as map_size"
        )
    height, width = size = size or out
    steps = height // out[0], width // out[1]
    if (steps[0] * out[0], steps[1] * out[1]) != size:
        raise ValueError(
            f"convolutionalize: AdaptiveAvgPool2d cuts a {size} map into {out} windows of unequal "
            "size, which no sliding window does"
        )
    if steps == (1, 1):
        return nn.Identity()
    # A pooling to one pixel slides by one; others are as coarse as their windows.
    return nn.AvgPool2d(steps, 1 if out == (1, 1) else steps)


def _native_map(linear: nn.Linear, channels: int, size: Pair | None) -> Pair:
    """Size of the map that enters a Linear, from the number of its elements."""
    pixels, rest = divmod(linear.in_features, channels)
    side = round(pixels**0.5)
    height, width = size or (side, side)
    if rest or height * width != pixels:
        raise ValueError(
            f"convolutionalize: Linear expects {linear.in_features} numbers, which is not "
            f"{channels} channels of a "
            + (f"map of size {size}" if size else "square map; pass map_size")
        )
    return height, width


def _convolution(linear: nn.Linear, channels: int, kernel: Pair) -> nn.Conv2d:
    """The same weights as a kernel over a whole map."""
    conv = nn.Conv2d(channels, linear.out_features, kernel, bias=linear.bias is not None)
    weight = linear.weight.data.reshape(linear.out_features, channels, *kernel)
    conv.astype(weight.dtype).load_state_dict({**linear.state_tensors(), "weight": weight})
    return conv
