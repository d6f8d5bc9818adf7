"""Matches names and shapes of arrays in other people's files to those of a model.

Layers are found under one of the names that theirs may have here (``NAMES`` and below), the
convolutions of VGG and AlexNet by their order, since their numbers depend on what stands between
them; the arrays are then laid into the shape that is here:

- fully connected (out, C · KH · KW) ↔ convolution (out, C, KH, KW), since flattening goes in the
  order C, H, W;
- a transposed convolution between all pairs of classes (C, C, KH, KW) → each class by itself
  (C, 1, KH, KW), if it mixes no classes, as the published ones do not.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights.file import WeightsError

Shape = tuple[int, ...]
COUNTER = "num_batches_tracked"

# VGG16's hidden layers in FCN, DeconvNet, Dilation (with batch normalization or not), ParseNet,
# DeepLab.
FC6 = ("fc6", "fc6.0", "head.0", "head.fc6", "heads.0.fc6")
FC7 = ("fc7", "fc7.0", "head.3", "head.4", "head.fc7", "heads.0.fc7")
# DeepLab and ParseNet have smaller ones, so that theirs begin anew.
SMALLER = ("head.fc6", "head.fc7", "heads.0.fc6", "heads.0.fc7")
# A backbone with numbered layers, as VGG's and AlexNet's; and VGG's names in Caffe, MatConvNet.
NUMBERED = re.compile(r"(?:features|backbone|encoder)\.(\d+)|conv(\d)_(\d)")

# layer there: layers that it may be here.
NAMES: dict[str, tuple[str, ...]] = {
    # The hidden layers of VGG16 and AlexNet. torchvision's have numbers in ``classifier``.
    "fc6": (*FC6, "classifier.0", "classifier.1"),
    "fc7": (*FC7, "classifier.3", "classifier.4"),
    "fc8": ("classifier.6",),
    **dict.fromkeys(("classifier.0", "classifier.1"), FC6),
    **dict.fromkeys(("classifier.3", "classifier.4"), FC7),
    # The FCN-8s of 2015.
    "score-fr": ("score_fr",),
    "score-pool4": ("score_pool4",),
    "score-pool3": ("score_pool3",),
    "score2": ("upscore2",),
    "score4": ("upscore_pool4",),
    "upsample": ("upscore8",),
    # BVLC's GoogLeNet.
    "conv1/7x7_s2": ("conv1.conv",),
    "conv2/3x3_reduce": ("conv2.conv",),
    "conv2/3x3": ("conv3.conv",),
    "loss3/classifier": ("fc",),
    **{
        f"loss{i}/{theirs}": (f"aux{i}.{ours}",)
        for i in (1, 2)
        for theirs, ours in (("conv", "conv.conv"), ("fc", "fc1"), ("classifier", "fc2"))
    },
    **{
        f"inception_{block}/{theirs}": (f"inception{block}.branch{ours}.conv",)
        for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
        for theirs, ours in (
            ("1x1", "1"), ("3x3_reduce", "2.0"), ("3x3", "2.1"), ("5x5_reduce", "3.0"),
            ("5x5", "3.1"), ("pool_proj", "4.1"),
        )
    },
}  # fmt: skip


@dataclass
class Matched:
    """What :func:`match_names` found; lists of names.

    Attributes:
        arrays: what can be loaded, under the model's names and in its shapes.
        new: names of the model that are not among them; counters that nothing is computed from
            (``num_batches_tracked``, not there in files of before PyTorch 1.0) are not meant.
        unused: names of the file that were not needed.
        anew: names of the model that are in the file in another shape, and why: layers for another
            number of classes, hidden layers that are smaller here than in the classifier.
        adapted: what was made of a first layer for RGB, where images have other channels.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    anew: dict[str, str] = field(default_factory=dict)
    adapted: str = ""

    def __str__(self) -> str:
        text = f"{len(self.arrays)} of {len(self.arrays) + len(self.new)} arrays copied"
        text += self.adapted
        if self.anew:
            text += f"; made anew {next(iter(self.anew.values()))}: {_listed([*self.anew])}"
        new = [name for name in self.new if name not in self.anew]
        if new:
            text += f"; new: {_listed(new)}"
        if self.unused:
            text += f"; not used: {_listed(self.unused)}"
        return text


def match_names(
    shapes: Mapping[str, Shape], arrays: Mapping[str, NDArray[Any]], bgr: bool = False
) -> Matched:
    """Find for each array its place in a model.

    An array that differs in the first axis only belongs to a head for another number of classes; it
    is left out. A first layer for RGB becomes one for other channels, see :func:`for_channels`.

    Args:
        shapes: the model's shapes by name.
        arrays: a file's arrays by name.
        bgr: whether the file's first layer takes BGR.

    Raises:
        WeightsError: if no name matches, a layer has another shape in the file, or one has a bias
            that the model's has not.

    Example:
        >>> file = {"features.0.bias": np.ones(64), "classifier.0.weight": np.ones((8, 98))}
        >>> found = match_names({"backbone.0.bias": (64,), "fc6.weight": (8, 2, 7, 7)}, file)
        >>> {name: array.shape for name, array in found.arrays.items()}
        {'backbone.0.bias': (64,), 'fc6.weight': (8, 2, 7, 7)}
    """
    found = Matched()
    wrong = []
    places = _places(shapes, arrays)
    for name, array in arrays.items():
        layer, _, part = name.rpartition(".")
        place = places[name]
        if place is None:
            weight = places.get(f"{layer}.weight")
            if part == "bias" and weight is not None and array.any():
                wrong.append(f"{name} is there, but {weight} of the model has no bias")
            continue
        shape = shapes[place]
        if place.startswith("upscore"):
            array = _each_class_by_itself(array, shape, name)
        laid = _laid(array, shape)
        if laid is not None:
            found.arrays[place] = laid
        elif array.shape == (*shape[:1], 3, *shape[2:]):
            found.arrays[place] = for_channels(array[:, ::-1] if bgr else array, shape[1])
            how = "their sum" if shape[1] == 1 else f"each in turn, times 3/{shape[1]}"
            found.adapted = f"; {place} made of kernels for RGB: {how}"
        elif place.startswith(SMALLER):
            found.anew[place] = f"since {place} is {shape} here and {array.shape} in the file"
        elif array.ndim == len(shape) and array.shape[1:] == shape[1:]:
            found.anew[place] = f"for {shape[0]} classes (the file has {array.shape[0]})"
        else:
            where = place if place != name else "that"
            wrong.append(f"{name} is {array.shape}, but {where} of the model {shape}")
    found.new = [name for name in shapes if name not in found.arrays and not name.endswith(COUNTER)]
    found.unused = [
        name
        for name, place in places.items()
        if place not in found.arrays and (place or not name.endswith(COUNTER))
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise WeightsError(f"other shapes than the model's: {'; '.join(wrong[:3])}{more}")
    if not found.arrays:
        held = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:3])
        raise WeightsError(
            f"none of its arrays has the name and shape of one in the model; it holds {held}"
        )
    return found


def for_channels(kernels: NDArray[Any], channels: int) -> NDArray[Any]:
    """Kernels for RGB, (OC, 3, KH, KW), as (OC, channels, KH, KW): for grey images their sum, else
    R, G, B, R, … in turn, times 3 / channels. Grey in all channels gives what it gave before.

    Source: timm (``adapt_input_conv``) and segmentation_models_pytorch (``patch_first_conv``).
    """
    if channels == 1:
        return kernels.sum(axis=1, keepdims=True)
    return kernels[:, np.arange(channels) % 3] * kernels.dtype.type(3 / channels)


def count_classes(
    shapes: Mapping[str, Shape], one_more: Mapping[str, Shape], arrays: Mapping[str, NDArray[Any]]
) -> int | None:
    """The number of classes that a file is for, or None if it does not hold the scores.

    Args:
        shapes: the model's shapes by name, for any number of classes.
        one_more: its shapes for one class more; what grows by one belongs to the scores.
        arrays: the file's arrays by name.

    Example:
        >>> count_classes({"score.bias": (2,)}, {"score.bias": (3,)}, {"score.bias": np.ones(21)})
        21
    """
    for name, place in _places(shapes, arrays).items():
        if place is None or not shapes[place]:
            continue
        first, *others = shapes[place]
        if one_more[place] == (first + 1, *others):
            there = arrays[name].shape
            return (there if len(there) == len(others) + 1 else _without_leading_ones(there))[0]
    return None


def _places(
    shapes: Mapping[str, Shape], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, str | None]:
    """For each name of the file the name of the model, or None if there is none: under the prefix
    that gives most of them one, such as ``model.`` where the network was an attribute."""
    starts = Counter(name[: m.end()] for name in arrays for m in re.finditer(r"\.", name))
    wide = [prefix for prefix, count in starts.items() if count * 6 > len(arrays)]
    tried = (_places_under(prefix, shapes, arrays) for prefix in ["", *wide])
    return max(tried, key=lambda places: sum(map(bool, places.values())))


def _places_under(
    prefix: str, shapes: Mapping[str, Shape], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, str | None]:
    there = {n.removeprefix(prefix): a.shape for n, a in arrays.items() if n.startswith(prefix)}
    renamed = _in_order(there, shapes)
    taken: set[str] = set()
    places: dict[str, str | None] = dict.fromkeys(arrays)
    for name in there:
        layer, _, part = name.rpartition(".")
        own = (f"{own}.{part}" if own else part for own in _own_names(layer, renamed))
        found = next((one for one in own if one in shapes and one not in taken), None)
        places[prefix + name] = found
        taken.add(found or "")
    return places


def _own_names(layer: str, renamed: Mapping[str, str]) -> Iterator[str]:
    """The names that a layer may have here; the same one first."""
    if NUMBERED.fullmatch(layer) and renamed:
        if layer in renamed:
            yield renamed[layer]
        return
    for name in (layer, *NAMES.get(layer, ())):
        yield name
        yield "backbone." + name.removeprefix("features.")  # a classifier's, as a backbone


def _in_order(there: Mapping[str, Shape], here: Mapping[str, Shape]) -> dict[str, str]:
    """The layers of two backbones with numbers, by each other, if they have as many convolutions.

    The numbers differ where only one has batch normalization, which follows its convolution.
    """
    theirs, ours = map(_numbered_convolutions, (there, here))
    if len(theirs) != len(ours):
        return {}
    pairs = dict(zip(theirs, ours, strict=True))
    return pairs | {_next(a): _next(b) for a, b in pairs.items() if "." in a}


def _numbered_convolutions(shapes: Mapping[str, Shape]) -> list[str]:
    """The convolutions of a backbone whose layers have numbers, in their order."""
    layers = [name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 4]
    numbered = filter(NUMBERED.fullmatch, layers)
    return sorted(numbered, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _next(layer: str) -> str:
    """``features.0`` → ``features.1``"""
    prefix, _, number = layer.rpartition(".")
    return f"{prefix}.{int(number) + 1}"


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
    classes = array.shape[:1]
    if array.shape != classes * 2 + shape[2:] or classes == (1,) or shape[1:2] != (1,):
        return array
    own = np.arange(len(array))
    diagonal = array[own, own][:, None]
    if np.count_nonzero(array) != np.count_nonzero(diagonal):
        raise WeightsError(f"{name} mixes classes when it upsamples, which the model does not")
    return diagonal


def _listed(names: Sequence[str]) -> str:
    """Names for people: of a part with many arrays only their number, and not more than ten."""
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.partition(".")[0], []).append(name)
    told = [
        text
        for part, group in parts.items()
        for text in (group if len(group) <= 3 else [f"{part}.* ({len(group)} arrays)"])
    ]
    more = f" and {len(told) - 10} more" if len(told) > 10 else ""
    return ", ".join(told[:10]) + more
