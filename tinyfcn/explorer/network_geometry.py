"""Where scores look: receptive fields, offsets of an FCN's layers, a classifier as convolutions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import backend, models, nn, random
from tinyfcn.data import Preprocessing
from tinyfcn.explorer import network_run as runs
from tinyfcn.explorer.settings import plain
from tinyfcn.functional.sizes import conv_transpose_size, pool_size
from tinyfcn.models.backbones.backbone import with_classifier
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.geometry import IMAGE, CoordinateMap, coordinate_map, crop_offset
from tinyfcn.models.network import as_network
from tinyfcn.receptive_field_rules import Fields, ReceptiveFields
from tinyfcn.summary import summary
from tinyfcn.tensor import no_grad
from tinyfcn.without_values import empty_images, without_values

Array = NDArray[Any]
PADDED = ("fcn32s", "fcn16s", "fcn8s")
CROP, STEP = 224, 32


# ---- receptive fields ----


@runs.cached
def _fields(name: str, size: tuple[int, int]) -> Fields:
    """The receptive fields of a network's scores."""
    model, _ = runs.by_name(name)
    channels = runs.loaded()[1].preprocessing.channels
    images = empty_images(model, (1, channels, *map(as_network(model).window, size)))
    with without_values(model), ReceptiveFields(images) as fields:
        return fields.of(model(images))


def window(name: str, size: Sequence[int], place: Sequence[int]) -> list[list[int]]:
    """The first and the last pixel that a score depends on, along rows and columns; they may lie
    outside of the image."""
    found, margin = [], as_network(runs.by_name(name)[0]).margin
    for axis, (field, at) in enumerate(zip(_fields(name, tuple(size)), place, strict=True)):
        one = field.taken(2 + axis, np.array([at]), field.axes[2 + axis])
        before, last = one.reach.reshape(-1, 2).max(0)
        bounded = np.isfinite(before + last)  # pyramid pooling looks at all of the image
        found.append(
            [-int(before) - margin, int(last) - margin] if bounded else [0, size[axis] - 1]
        )
    return found


def extent(used: Array) -> list[int]:
    """The first and the last place that is used."""
    places = np.flatnonzero(used)
    return [int(places[0]), int(places[-1])] if len(places) else [0, -1]


def central(share: Array) -> list[int]:
    """Between which places 19 of 20 parts lie, a fortieth on either side left out."""
    total = np.cumsum(share, dtype=np.float64)
    if not total[-1]:
        return [0, -1]
    return [int(np.searchsorted(total, part * total[-1])) for part in (0.025, 0.975)]


# ---- pad 100, crop 19 ----


@lru_cache
def _layers(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The layers of an FCN in the published geometry, by their published names, without values; and
    its skips by the layer behind which they are added."""
    with backend.using("meta"):
        model: Any = models.create(name, num_classes=1, width=1 / 64, geometry="reference")
    layers: dict[str, Any] = {}
    stage, number = 1, 1
    for layer in model.backbone:
        if isinstance(layer, nn.MaxPool2d):
            layers[f"pool{stage}"] = layer
            stage, number = stage + 1, 1
        elif isinstance(layer, nn.Conv2d):
            layers[f"conv{stage}_{number}"] = layer
            number += 1
    skips = {skip.upsample: skip for skip in model.skips}
    names = ("fc6", "fc7", "score_fr", *skips, model.last)
    return layers | {label: getattr(model, label) for label in names}, skips


@lru_cache(None)
def _moves(kind: Any, k: int, s: int, p: int) -> CoordinateMap:
    """What a layer with this kernel, stride and padding does to coordinates."""
    channels = () if kind is nn.MaxPool2d else (1, 1)
    return coordinate_map([kind(*channels, k, s, p)])


def offsets(name: str, pad: int, n: int) -> dict[str, Any]:
    """Each layer of an FCN: how it moves the centre of the first pixel of its map, and what crops
    follow from that.

    Returns:
        ``rows`` of [layer, kernel, stride, padding, pixels of the image from one pixel of its map
        to the next, what it adds to the centre of the first, that centre, size of its map or None],
        and ``crops`` of [what is cut, where the crop starts or None, in words].
    """
    layers, skips = _layers(name)
    at, size, rows, crops = IMAGE, n, [], []
    maps: dict[str, tuple[CoordinateMap, int]] = {}
    for label, layer in layers.items():
        k, s, p = (getattr(layer, part)[0] for part in ("kernel_size", "stride", "padding"))
        p = pad if label == "conv1_1" else p
        kind: Any = type(layer)
        before, at = at, at.then(_moves(kind, k, s, p))
        if isinstance(layer, nn.ConvTranspose2d):
            size = size and conv_transpose_size(size, k, s, p, 1, 0)
        else:
            size = size and max(0, pool_size(size, k, s, p, 1, getattr(layer, "ceil_mode", False)))
        maps[label] = at, size
        moved = float(_centre(at) - _centre(before))
        rows.append([label, k, s, p, float(1 / at.scale), moved, float(_centre(at)), size or None])
        if label in skips:
            finer, pixels = maps[f"pool{skips[label].pool}"]
            crops.append(_crop(skips[label].score, finer, at))
            size = max(0, min(size, pixels - (crops[-1][1] or 0)))
    crops.append(_crop(label, at, IMAGE))
    covers = size > 0 and crops[-1][1] is not None and size - crops[-1][1] >= n
    return {"rows": rows, "crops": crops, "size": size or None, "covers": covers, "n": n,
            "pad": pad, "network": name}  # fmt: skip


def _centre(at: CoordinateMap) -> Fraction:
    """Where in the image the first pixel of a map is centred."""
    return -at.shift / at.scale


def _crop(name: str, larger: CoordinateMap, smaller: CoordinateMap) -> list[Any]:
    try:
        start = crop_offset(larger, smaller)
    except ValueError as error:
        return [name, None, str(error).partition(": ")[2]]
    return [name, start, f"starts at {start}"]


# ---- fully connected as convolution ----


def classifier() -> nn.Module:
    """A VGG11 of ten classes, narrow, without padding: so a crop's border is like any other place.
    Its weights are random."""
    state = random.get_state()
    random.manual_seed(0)
    backbone = VGGBackbone(1 / 16, depth=11)
    for layer in backbone:
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    made = with_classifier(backbone, 3, 10, 1 / 16, 0.5).eval()
    random.set_state(state)
    return made


@lru_cache
def both_ways(image: str, side: int) -> dict[str, Any]:
    """The scores of a classifier for every crop: from one pass over the image as a convolution, and
    from a pass for each crop."""
    small = classifier()
    dense: Any = models.convolutionalize(small)
    x = tinyfcn.tensor(Preprocessing().apply(runs.scene(image, side).image)[None])
    starts = range(0, side - CROP + 1, STEP)
    with no_grad():
        dense(x)
        begun = time.perf_counter()
        whole = dense(x).numpy()[0]
        middle = time.perf_counter()
        parts = [[small(x[:, :, i : i + CROP, j : j + CROP]).numpy()[0] for j in starts]
                 for i in starts]  # fmt: skip
        ended = time.perf_counter()
    apart = np.array(parts).transpose(2, 0, 1)
    sizes = ((dense, side), (small, CROP))
    adds = [summary(model, (3, n, n)).multiply_adds for model, n in sizes]
    return {
        "whole": plain(whole), "apart": plain(apart), "crop": CROP, "step": STEP,
        "difference": float(np.abs(whole - apart).max()),
        "seconds": [round(middle - begun, 4), round(ended - middle, 4)],
        "multiply_adds": [adds[0], adds[1] * len(starts) ** 2],
        "kernel": [*dense.classifier[0].kernel_size],
    }  # fmt: skip
