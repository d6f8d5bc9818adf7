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
from tinyfcn.explorer import network_run as runs
from tinyfcn.explorer.settings import plain
from tinyfcn.models.backbones.backbone import with_classifier
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.geometry import (
    IMAGE,
    CoordinateMap,
    coordinate_map,
    crop_offset,
    output_size,
)
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
    model, _ = runs.network(name)
    images = empty_images(model, (1, 3, *size))
    with without_values(model), ReceptiveFields(images) as fields:
        return fields.of(model(images))


def window(name: str, size: Sequence[int], place: Sequence[int]) -> list[list[int]]:
    """The first and the last pixel that a score depends on, along rows and columns; they may lie
    outside of the image."""
    found = []
    for axis, (field, at) in enumerate(zip(_fields(name, tuple(size)), place, strict=True)):
        one = field.taken(2 + axis, np.array([at]), field.axes[2 + axis])
        before, last = one.reach.reshape(-1, 2).max(0)
        found.append([-int(before), int(last)])
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
def _padded(name: str) -> nn.Module:
    """An FCN in the published geometry, without values."""
    with backend.using("meta"):
        return models.create(name, num_classes=1, width=1 / 64, geometry="reference")


@lru_cache(512)
def _followed(layer: nn.Module, before: CoordinateMap) -> CoordinateMap:
    return coordinate_map([layer], start=before)


def offsets(name: str, pad: int, n: int) -> dict[str, Any]:
    """Each layer of an FCN: how it moves the centre of the first pixel of its map, and what crops
    follow from that.

    Returns:
        ``rows`` of [layer, kernel, stride, padding, pixels of the image from one pixel of its map
        to the next, what it adds to the centre of the first, that centre, size of its map or None],
        and ``crops`` of [what is cut, where the crop starts or None, in words].
    """
    model: Any = _padded(name)
    model.backbone[0].padding = (pad, pad)
    _followed.cache_clear()
    at, rows, crops = IMAGE, [], []
    size: int | None = n
    pools: dict[int, tuple[CoordinateMap, int | None]] = {}

    def follow(label: str, layer: Any, where: str = "") -> None:
        nonlocal at, size
        before, at = at, _followed(layer, at)
        size = _size(layer, size)
        k, s, p = (getattr(layer, part)[0] for part in ("kernel_size", "stride", "padding"))
        moved = _centre(at) - _centre(before)
        rows.append([label, k, s, p, float(1 / at.scale), float(moved), float(_centre(at)), size])

    stage, number = 1, 1
    for layer in model.backbone:
        if isinstance(layer, nn.MaxPool2d):
            follow(f"pool{stage}", layer)
            pools[stage] = at, size
            stage, number = stage + 1, 1
        elif isinstance(layer, nn.Conv2d):
            follow(f"conv{stage}_{number}", layer)
            number += 1
    for label in ("fc6", "fc7", "score_fr"):
        follow(label, getattr(model, label))
    for skip in model.skips:
        follow(skip.upsample, getattr(model, skip.upsample))
        finer, pixels = pools[skip.pool]
        crops.append(_crop(skip.score, finer, at))
        if size is not None and pixels is not None and crops[-1][1] is not None:
            size = min(size, pixels - crops[-1][1])
    follow(model.last, getattr(model, model.last))
    crops.append(_crop(model.last, at, IMAGE))
    start = crops[-1][1]
    covers = size is not None and start is not None and size - start >= n
    return {"rows": rows, "crops": crops, "size": size, "covers": covers, "n": n, "pad": pad,
            "network": name}  # fmt: skip


def _centre(at: CoordinateMap) -> Fraction:
    """Where in the image the first pixel of a map is centred."""
    return -at.shift / at.scale


def _size(layer: nn.Module, n: int | None) -> int | None:
    """The size of a layer's output, or None where nothing comes out."""
    if n is None:
        return None
    try:
        with backend.using("meta"):
            return output_size([layer], n)
    except ValueError:
        return None


def _crop(name: str, larger: CoordinateMap, smaller: CoordinateMap) -> list[Any]:
    try:
        start = crop_offset(larger, smaller)
    except ValueError as error:
        return [name, None, str(error).partition(": ")[2]]
    return [name, start, f"starts at {start}"]


# ---- fully connected as convolution ----


@runs.cached
def both_ways(image: str, side: int, classes: int) -> dict[str, Any]:
    """The scores of a classifier for every crop: from one pass over the image as a convolution, and
    from a pass for each crop; random weights, without padding, so that a crop's border is like any
    other place."""
    state = random.get_state()
    random.manual_seed(0)
    backbone = VGGBackbone(1 / 16, depth=11)
    for layer in backbone:
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    classifier = with_classifier(backbone, 3, classes, 1 / 16, 0.5).eval()
    random.set_state(state)
    dense: Any = models.convolutionalize(classifier)
    x = tinyfcn.tensor(runs.loaded()[1].preprocessing.apply(runs.read(image, side)[0])[None])
    starts = range(0, side - CROP + 1, STEP)
    with no_grad():
        dense(x)
        begun = time.perf_counter()
        whole = dense(x).numpy()[0]
        middle = time.perf_counter()
        parts = [[classifier(x[:, :, i : i + CROP, j : j + CROP]).numpy()[0] for j in starts]
                 for i in starts]  # fmt: skip
        ended = time.perf_counter()
    apart = np.array(parts).transpose(2, 0, 1)
    sizes = ((dense, side), (classifier, CROP))
    adds = [summary(model, (3, n, n)).multiply_adds for model, n in sizes]
    return {
        "whole": plain(whole), "apart": plain(apart), "crop": CROP, "step": STEP,
        "difference": float(np.abs(whole - apart).max()),
        "seconds": [round(middle - begun, 4), round(ended - middle, 4)],
        "multiply_adds": [adds[0], adds[1] * len(starts) ** 2],
        "kernel": [*dense.classifier[0].kernel_size],
    }  # fmt: skip
