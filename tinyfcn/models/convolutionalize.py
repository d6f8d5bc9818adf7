"""A classifier's fully connected layers, read as convolutions (Long et al. 2015, section 3.1).

A fully connected layer that sees a C × KH × KW map is a convolution whose kernel covers the whole
map: the same numbers, reshaped. On a larger map the kernel slides, and gives for every position
what the classifier would say about the crop there, but computes only once what crops share.
"""

from __future__ import annotations

import copy
from typing import Any

from tinyfcn import nn
from tinyfcn.functional.sizes import Pair, pair

__all__ = ["convolutionalize"]


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean over the whole map, (N, C, H, W) → (N, C, 1, 1).

    Args:
        map_size: height and width of the map at the classifier's native image size. Pooling does
            not need it; :func:`convolutionalize` does, and cannot see it.
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
        exact where no zero padding inside lets crops see their own borders.

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
    dense = _Converter(size).convert(classifier)
    assert isinstance(dense, nn.Sequential)
    return dense


class _Converter:
    """Walks through the chain, and remembers what the map that flows through it looks like."""

    def __init__(self, map_size: Pair | None) -> None:
        self.map_size = map_size
        self.channels: int | None = None  # of the newest map
        self.flattened = False
        self.seen_linear = False

    def convert(self, module: nn.Module) -> nn.Module:
        converted = self._convert(module)
        converted.training = module.training
        return converted

    def _convert(self, module: nn.Module) -> nn.Module:
        if isinstance(module, nn.Sequential) and any(
            isinstance(m, nn.Linear | nn.Flatten | nn.AdaptiveAvgPool2d) for m in module.modules()
        ):
            return nn.Sequential({k: self.convert(m) for k, m in module.named_children()})
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self._pooling(module)
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise ValueError("convolutionalize: Flatten must join the axes 1 to -1")
            self.flattened = True
            return nn.Identity()
        if isinstance(module, nn.Linear):
            return self._convolution(module)
        self.channels = _out_channels(module) or self.channels
        return copy.deepcopy(module)

    def _pooling(self, pool: nn.AdaptiveAvgPool2d) -> nn.Module:
        if self.map_size is None and isinstance(pool, GlobalAvgPool2d):
            self.map_size = pool.map_size
        if self.map_size is None:
            if pool.output_size == (1, 1):
                raise ValueError(
                    "convolutionalize: AdaptiveAvgPool2d(1) hides the size of the map at the "
                    "native image size; pass it as map_size"
                )
            self.map_size = pool.output_size
        windows = zip(self.map_size, pool.output_size, strict=True)
        steps = [n // out for n, out in windows]
        if (steps[0] * pool.output_size[0], steps[1] * pool.output_size[1]) != self.map_size:
            raise ValueError(
                f"convolutionalize: AdaptiveAvgPool2d cuts a {self.map_size} map into "
                f"{pool.output_size} windows of unequal size, which no sliding window does"
            )
        self.map_size = pool.output_size
        if steps == [1, 1]:
            return nn.Identity()
        # A pooling to one pixel slides by one; others are as coarse as their windows.
        stride = 1 if pool.output_size == (1, 1) else (steps[0], steps[1])
        return nn.AvgPool2d((steps[0], steps[1]), stride)

    def _convolution(self, linear: nn.Linear) -> nn.Conv2d:
        kernel = (1, 1) if self.seen_linear else self._native_map(linear)
        self.seen_linear = True
        channels = linear.in_features // (kernel[0] * kernel[1])
        conv = nn.Conv2d(
            channels, linear.out_features, kernel, bias=linear.bias is not None
        ).astype(linear.weight.dtype)
        state: dict[str, Any] = {
            "weight": linear.weight.data.reshape(linear.out_features, channels, *kernel)
        }
        if linear.bias is not None:
            state["bias"] = linear.bias
        conv.load_state_dict(state)
        self.channels = linear.out_features
        return conv

    def _native_map(self, linear: nn.Linear) -> Pair:
        """Size of the map that the first Linear sees, from the number of its elements."""
        if not self.flattened or self.channels is None:
            raise ValueError(
                "convolutionalize: the first Linear must come after convolutions and Flatten"
            )
        pixels, rest = divmod(linear.in_features, self.channels)
        side = round(pixels**0.5)
        size = self.map_size or (side, side)
        if rest or size[0] * size[1] != pixels:
            raise ValueError(
                f"convolutionalize: Linear expects {linear.in_features} numbers, which is not "
                f"{self.channels} channels of a "
                + (f"map of size {size}" if self.map_size else "square map; pass map_size")
            )
        return size


def _out_channels(module: nn.Module) -> int | None:
    """Channels of its output, where it says so or its last convolution does; else None."""
    channels: int | None = getattr(module, "out_channels", None)
    if channels is None:
        for child in module.children():
            channels = _out_channels(child) or channels
    return channels
