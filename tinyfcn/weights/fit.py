"""Other people's names and shapes, translated into a model's own.

Layers are found under one of the names that theirs may have here (``NAMES`` and below); numbers are
then laid into the shape that is here:

- fully connected (out, C · KH · KW) ↔ convolution (out, C, KH, KW), since flattening goes in the
  order C, H, W;
- a transposed convolution between all pairs of classes (C, C, KH, KW) → each class by itself
  (C, 1, KH, KW), if it mixes no classes, as the published ones do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights.file import WeightsError

Shape = tuple[int, ...]

# VGG16's convolutions in Caffe and MatConvNet; here and in torchvision they have numbers instead.
VGG16 = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]

# layer there: layers that it may be here.
NAMES: dict[str, tuple[str, ...]] = {
    # The hidden layers of VGG16 and AlexNet. torchvision's have numbers in ``classifier``.
    "fc6": ("classifier.0", "classifier.1"),
    "fc7": ("classifier.3", "classifier.4"),
    "fc8": ("classifier.6",),
    "classifier.0": ("fc6",),
    "classifier.1": ("fc6",),
    "classifier.3": ("fc7",),
    "classifier.4": ("fc7",),
    # BVLC's GoogLeNet. Its blocks are below.
    "conv1/7x7_s2": ("conv1.conv",),
    "conv2/3x3_reduce": ("conv2.conv",),
    "conv2/3x3": ("conv3.conv",),
    "loss3/classifier": ("fc",),
    **{
        f"loss{i}/{theirs}": (f"aux{i}.{ours}",)
        for i in (1, 2)
        for theirs, ours in (("conv", "conv.conv"), ("fc", "fc1"), ("classifier", "fc2"))
    },
}
INCEPTION = {
    "1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0",
    "5x5": "branch3.1", "pool_proj": "branch4.1",
}  # fmt: skip


@dataclass
class Fitted:
    """What :func:`fit` found; lists of names.

    Attributes:
        arrays: what can be loaded, under the model's names and in its shapes.
        new: names of the model that are not among them.
        unused: names of the file that were not needed.
        heads: (name of the model, shape there, shape here) of layers for another number of classes.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    heads: list[tuple[str, Shape, Shape]] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{len(self.arrays)} of {len(self.arrays) + len(self.new)} arrays copied"
        if self.heads:
            _, there, here = self.heads[0]
            names = ", ".join(name for name, _, _ in self.heads)
            text += f"; made anew for {here[0]} classes (the file has {there[0]}): {names}"
        heads = {name for name, _, _ in self.heads}
        new = [name for name in self.new if name not in heads]
        if new:
            text += f"; new: {', '.join(new)}"
        if self.unused:
            text += f"; not used: {', '.join(self.unused)}"
        return text


def fit(shapes: Mapping[str, Shape], arrays: Mapping[str, NDArray[Any]]) -> Fitted:
    """Find for each array its place in a model.

    An array that differs in the first axis only belongs to a head for another number of classes; it
    is left out.

    Args:
        shapes: the model's shapes by name.
        arrays: a file's arrays by name.

    Raises:
        WeightsError: if nothing fits, or a layer has another shape in the file.

    Example:
        >>> found = fit({"backbone.0.bias": (64,), "fc6.weight": (8, 2, 7, 7)},
        ...             {"features.0.bias": np.ones(64), "classifier.0.weight": np.ones((8, 98))})
        >>> {name: array.shape for name, array in found.arrays.items()}
        {'backbone.0.bias': (64,), 'fc6.weight': (8, 2, 7, 7)}
    """
    convolutions = _numbered_convolutions(shapes)
    found = Fitted()
    wrong = []
    taken = set()
    for name, array in arrays.items():
        layer, _, part = name.rpartition(".")
        own = (f"{own}.{part}" if own else part for own in _own_names(layer, convolutions))
        place = next((one for one in own if one in shapes and one not in taken), None)
        if place is None:
            if part != "num_batches_tracked":
                found.unused.append(name)
            continue
        shape = shapes[place]
        if layer.startswith("upscore"):
            array = _each_class_by_itself(array, shape, name)
        laid = _laid(array, shape)
        taken.add(place)
        if laid is not None:
            found.arrays[place] = laid
        elif array.ndim == len(shape) and array.shape[1:] == shape[1:]:
            found.heads.append((place, array.shape, shape))
            found.unused.append(name)
        else:
            where = place if place != name else "that"
            wrong.append(f"{name} is {array.shape}, but {where} of the model {shape}")
    found.new = [name for name in shapes if name not in found.arrays]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise WeightsError(f"other shapes than the model's: {'; '.join(wrong[:3])}{more}")
    if not found.arrays:
        held = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:3])
        raise WeightsError(
            f"none of its arrays has the name and shape of one in the model; it holds {held}"
        )
    return found


def _own_names(layer: str, convolutions: list[str]) -> Iterator[str]:
    """The names that a layer may have here; the same one first."""
    names = [layer, *NAMES.get(layer, ())]
    if layer in VGG16 and len(convolutions) == len(VGG16):
        names.append(convolutions[VGG16.index(layer)])
    block = re.fullmatch(r"inception_(\d\w)/(\w+)", layer)
    if block and block[2] in INCEPTION:
        names.append(f"inception{block[1]}.{INCEPTION[block[2]]}.conv")
    for name in names:
        yield name
        yield "backbone." + name.removeprefix("features.")  # a classifier's, as a trunk


def _numbered_convolutions(shapes: Mapping[str, Shape]) -> list[str]:
    """The convolutions of a trunk whose layers have numbers, in order."""
    pattern = re.compile(r"((?:features|backbone)\.\d+)\.weight")
    matches = ((pattern.fullmatch(name), shape) for name, shape in shapes.items())
    return [match[1] for match, shape in matches if match and len(shape) == 4]


def _laid(array: NDArray[Any], shape: Shape) -> NDArray[Any] | None:
    """The same numbers in another shape, if one of the two is that of a matrix or a bias."""
    if array.shape == shape:
        return array
    there, here = _without_leading_ones(array.shape), _without_leading_ones(shape)
    same_outputs = array.shape[:1] == shape[:1] or there[:1] == here[:1]
    if array.size != math.prod(shape) or not same_outputs or min(len(there), len(here)) > 2:
        return None
    return array.reshape(shape)


def _without_leading_ones(shape: Shape) -> Shape:
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _each_class_by_itself(array: NDArray[Any], shape: Shape, name: str) -> NDArray[Any]:
    if array.ndim != 4 or len(shape) != 4 or shape[1] != 1:
        return array
    classes, others = array.shape[:2]
    if classes != others or classes == 1 or array.shape[2:] != shape[2:]:
        return array
    own = np.arange(classes)
    diagonal = array[own, own][:, None]
    if np.count_nonzero(array) != np.count_nonzero(diagonal):
        raise WeightsError(f"{name} mixes classes when it enlarges, which the model does not")
    return diagonal
