"""The network room: every map of a trained network on an image, and where its scores look.

Each view is a function that gives what its part of the page draws. The numbers of one map are asked
for by themselves (``layer`` and ``channel``), so that a click needs no other picture again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import visualize
from tinyfcn.data.class_colours import class_palette
from tinyfcn.explorer import network_geometry as geometry
from tinyfcn.explorer import network_pictures as pictures
from tinyfcn.explorer import network_run as runs
from tinyfcn.explorer.network_text import code
from tinyfcn.explorer.settings import Setting, State, changes, control, plain, read
from tinyfcn.metrics import ConfusionMatrix

MOST_CLASSES, MOST_MAPS, MOST_CHANNELS = 256, 500, 4096
SETTINGS = {
    "view": Setting("maps", ("maps", "field", "skips", "pad", "crops")),
    "image": Setting("scene 1", (*runs.SCENES, "photo")),
    "values": Setting("activations", ("activations", "loss", "score")),
    "row": Setting(56, range(512)),
    "column": Setting(56, range(512)),
    "class": Setting("top", ("top", *range(MOST_CLASSES))),
    "layer": Setting("", ("", *range(MOST_MAPS))),
    "channel": Setting(0, range(MOST_CHANNELS)),
    "network": Setting("fcn8s", runs.NETWORKS),
    "side": Setting(256, (128, 256, 384, 512)),
    "pool4": Setting("on", ("on", "off")),
    "pool3": Setting("on", ("on", "off")),
    "pad": Setting(100, range(121)),
    "n": Setting(128, (1, 2, 32, 33, 64, 100, 128, 224, 256, 333, 375, 384, 500, 512)),
}
SIDE, CROPS_SIDE = 128, 384
_lock = threading.Lock()  # a graph is walked by one thread at a time


def use(path: Path | None, photo: Path | None) -> None:
    """Look at a checkpoint of the reader's, and at a photo before all scenes.

    Raises:
        FileNotFoundError, ValueError, CheckpointError, DataError: naming what cannot be read.
    """
    runs.use(path, photo)
    own = runs.loaded()[1].model
    SETTINGS["image"] = SETTINGS["image"]._replace(default="photo" if photo else "scene 1")
    SETTINGS["network"] = Setting(own, tuple(dict.fromkeys((*runs.NETWORKS, own))))


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("network", SETTINGS, given)
    if state["image"] == "photo" and runs.Chosen.photo is None:
        raise ValueError("network: there is no photo; the explorer was started without one")
    with _lock:
        if state["layer"] != "":
            return large(state)
        found: dict[str, Any] = VIEWS[state["view"]](state)
    return {"view": state["view"], "code": code(state, runs.loaded()[1]), **found}


# ---- the views ----


def maps(state: State) -> dict[str, Any]:
    """Every map of the network on an image."""
    run, asked, state, about = _maps(state)
    return {
        **_looked_at(state, run),
        "layers": _sheets(*asked),
        "about": about,
        "controls": _controls(state, run, "image", "values", "class", "row", "column"),
    }


def large(state: State) -> dict[str, Any]:
    """One map with its numbers."""
    _, asked, _, _ = _maps(state)
    values = _values(*asked)
    layer, channel = state["layer"], state["channel"]
    if layer >= len(values) or channel >= len(values[layer]):
        raise ValueError(f"network: there is no channel {channel} of a map {layer}")
    array = values[layer][channel]
    shown = pictures.shown(array, pictures.scale(values[layer]))
    return shown | {"numbers": pictures.packed(array)}


def _maps(state: State) -> tuple[runs.Run, tuple[Any, ...], State, str]:
    """The run, which numbers are shown, the state with what it can be, and a sentence."""
    run = runs.run(state["image"], SIDE)
    state = _inside(state, run)
    of, place = state["values"], (state["row"], state["column"], state["class"])
    named = runs.loaded()[1].classes[state["class"]]
    end = "the loss" if of == "loss" else f"the score of {named} at [{place[0]}, {place[1]}]"
    about = f"How much {end} grows with each number of each map, from where it is."
    asked = state["image"], SIDE, of, *(place if of == "score" else (0, 0, 0))
    return run, asked, state, "What each layer gives." if of == "activations" else about


@runs.cached
def _sheets(*asked: Any) -> list[dict[str, Any]]:
    """All maps of each layer, small."""
    layers = []
    for each, array in zip(runs.run(*asked[:2]).maps, _values(*asked), strict=True):
        about = {"name": each.name or each.kind.lower(), "kind": each.kind}
        layers.append(about | pictures.sheet(array, pictures.scale(array)))
    return layers


def _values(image: str, side: int, of: str, *place: int) -> list[Any]:
    """The activations of each map, or its gradients."""
    if of == "activations":
        return [each.tensor.numpy()[0] for each in runs.run(image, side).maps]
    return runs.gradients(image, side, of, *place)


def field(state: State) -> dict[str, Any]:
    """Which pixels a score depends on: in theory, and by its gradient."""
    name = state["network"]
    run = runs.run(state["image"], state["side"], name)
    state = _inside(state, run)
    place = state["row"], state["column"]
    end = run.scores[0, state["class"], place[0], place[1]]
    (gradient,) = tinyfcn.grad(end, run.x, retain_graph=True)
    share = np.abs(gradient.numpy()[0]).sum(0)
    theory = geometry.window(name, run.image.shape[:2], place)
    measured = [geometry.extent(share.sum(1 - axis) > 0) for axis in (0, 1)]
    central = [geometry.central(share.sum(1 - axis)) for axis in (0, 1)]
    trained = runs.by_name(name)[1]
    return {
        **_looked_at(state, run),
        "boxes": {"theory": theory, "measured": measured, "central": central},
        "heat": pictures.signed(np.sqrt(share), float(np.sqrt(share.max())) or 1.0),
        "trained": trained,
        "controls": _controls(
            state, run, "network", "image", "class", "row", "column",
            *["side"] * (state["image"] != "photo"),
        ),
    }  # fmt: skip


def skips(state: State) -> dict[str, Any]:
    """An FCN-8s with each of its skips on and off."""
    _, spec = runs.loaded()
    if spec.model != "fcn8s":
        raise ValueError(f"network: skips are those of an fcn8s, and this is a {spec.model}")

    def with_skips(pool4: str, pool3: str) -> runs.Run:
        off = ("score_pool4",) * (pool4 == "off") + ("score_pool3",) * (pool3 == "off")
        return runs.run(state["image"], SIDE, off=off)

    run = with_skips(state["pool4"], state["pool3"])
    whole = with_skips("on", "on")
    state = _inside(state, run)
    stages, sums = [], iter(("sum_pool4", "sum_pool3"))
    for each in run.maps:
        if each.kind == "Add" or "score" in each.name:
            array = each.tensor.numpy()[0, state["class"]]
            shown = pictures.shown(array, pictures.scale(array))
            stages.append(shown | {"name": each.name or next(sums)})
    combinations = []
    for pool3, pool4 in product(("off", "on"), repeat=2):
        other = with_skips(pool4, pool3)
        counts = ConfusionMatrix(len(spec.classes))
        counts.update(runs.labels(other.scores)[None], whole.truth[None])
        combinations.append({"pool4": pool4, "pool3": pool3, "png": other.labels,
                             "iu": round(counts.scores().mean_iu, 4)})  # fmt: skip
    return {
        **_looked_at(state, run),
        "truth": pictures.png(visualize.in_colours(whole.truth, spec.classes)),
        "stages": stages,
        "combinations": combinations,
        "on": [state["pool4"], state["pool3"]],
        "controls": _controls(state, run, "image", "class", "row", "column"),
    }


def pad(state: State) -> dict[str, Any]:
    """What the first padding does to the offset of the scores, layer by layer."""
    name = state["network"] if state["network"] in geometry.PADDED else "fcn8s"
    state = state | {"network": name}
    return {**geometry.offsets(name, state["pad"], state["n"]),
            "controls": _controls(state, None, "network", "pad", "n")}  # fmt: skip


def crops(state: State) -> dict[str, Any]:
    """A classifier as convolutions over a larger image, beside itself on each crop."""
    state = state if state["image"] != "photo" else state | {"image": "scene 1"}
    found = geometry.both_ways(state["image"], CROPS_SIDE)
    return {
        "picture": pictures.png(runs.scene(state["image"], CROPS_SIDE).image),
        "size": [CROPS_SIDE] * 2,
        **found,
        "controls": _controls(state, None, "image"),
    }


VIEWS = {"maps": maps, "field": field, "skips": skips, "pad": pad, "crops": crops}


# ---- what views have in common ----


def _inside(state: State, run: runs.Run) -> State:
    """The state with a pixel that the image has, and a class by its number."""
    height, width = run.image.shape[:2]
    place = {"row": min(state["row"], height - 1), "column": min(state["column"], width - 1)}
    top = int(run.scores.numpy()[0, :, place["row"], place["column"]].argmax())
    label = state["class"]
    if label != "top" and label >= run.scores.shape[1]:
        raise ValueError(f"network: class must be less than {run.scores.shape[1]}, got {label}")
    return state | place | {"class": top if label == "top" else label, "top": label == "top"}


def _looked_at(state: State, run: runs.Run) -> dict[str, Any]:
    """The image, its labels, and the scores of the pixel that was clicked."""
    spec = runs.loaded()[1]
    row, column, scores = state["row"], state["column"], run.scores
    likely = F.softmax(scores[:, :, row, column], 1).numpy()[0]
    colours = class_palette(spec.classes)[: len(spec.classes)].tolist()
    at = zip(spec.classes, colours, plain(scores.numpy()[0, :, row, column]), strict=True)
    return {
        "picture": run.picture,
        "labels": run.labels,
        "size": run.image.shape[:2],
        "at": [row, column],
        "label": state["class"],
        "scores": [[*one, round(float(p), 4)] for one, p in zip(at, likely, strict=True)],
    }


LABELS = {
    "n": "side of image", "values": "shown", "side": "side of image", "pad": "padding",
}  # fmt: skip
TOLD = {"loss": "gradient of the loss", "score": "gradient of one score"}


def _controls(state: State, run: runs.Run | None, *names: str) -> list[dict[str, Any]]:
    """The view, and these settings."""
    height, width = run.image.shape[:2] if run else (0, 0)
    classes = runs.loaded()[1].classes
    has_photo = runs.Chosen.photo is not None and state["view"] != "crops"
    scenes = runs.SCENES if state["view"] == "crops" else runs.scenes()
    offered: dict[str, Any] = {
        "row": range(height), "column": range(width), "image": (*scenes, *["photo"] * has_photo),
        "class": ("top", *range(len(classes))),
        **({"network": geometry.PADDED} if state["view"] == "pad" else {}),
        "view": [view for view in VIEWS if view != "skips" or runs.loaded()[1].model == "fcn8s"],
    }  # fmt: skip
    now = state | {"class": "top" if state.get("top") else state["class"]}
    made = []
    for name in ("view", *names):
        values = offered.get(name, SETTINGS[name].values or ())
        one = control(SETTINGS, now, name, [LABELS.get(name, name)], values,
                      lambda value, name=name: now | {name: value})  # type: ignore[misc]  # fmt: skip
        for option in one["options"]:
            if name == "class":
                text = option[0]
                option[0] = "the most likely" if text == "top" else classes[int(text)]
            option[0] = TOLD.get(option[0], option[0]) if name == "values" else option[0]
        made.append(one)
    return made


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records: some scenes, clicks and switches."""
    start = read("network", SETTINGS, {})

    def of(**then: Any) -> dict[str, str | None]:
        return changes(SETTINGS, start, start | then)

    for values in SETTINGS["values"].values or ():
        yield of(values=values)
    for layer, each in enumerate(runs.run(start["image"], SIDE).maps):
        if each.tensor.shape[2] <= SIDE // 4:
            yield of(layer=layer)
    for name in SETTINGS["network"].values or ():
        yield of(view="field", network=name)
    for place in (120, 200):
        yield of(view="field", row=place, column=place)
    skipping = runs.scenes()[:2] if runs.loaded()[1].model == "fcn8s" else ()
    for image, pool4, pool3 in product(skipping, ("on", "off"), ("on", "off")):
        yield of(view="skips", image=image, pool4=pool4, pool3=pool3)
    for name, padding in product(geometry.PADDED, SETTINGS["pad"].values or ()):
        yield of(view="pad", network=name, pad=padding)
    yield of(view="crops")
