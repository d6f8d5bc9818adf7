"""The network that its room looks at: loaded, run on an image, and every map on the way kept.

The one in the package is an FCN-8s of ten classes on scenes of 128 × 128, 0.058 times as wide as
the paper's, in half precision. It was an FCN-32s first, as in the paper, so that its coarse scores
say something without the skips, too. Commands like these train one of its kind, but not these
bits: the first run of this one was stopped before its end.

    tinyfcn train --model fcn32s --width 0.058 --epochs 10 --out runs/coarse
    tinyfcn train --width 0.058 --epochs 6 --lr 0.005 --init-from runs/coarse/best.npz \\
        --out runs/fine
    python -m tinyfcn.explorer.network_run runs/fine/best.npz half.npz
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn, random, visualize
from tinyfcn.data.conventions import DataError, as_seen
from tinyfcn.data.scenes import SYNTHETIC_CLASSES, SceneStyle, draw_scene
from tinyfcn.data.transforms import fitted
from tinyfcn.explorer import network_pictures as pictures
from tinyfcn.function import Function, Hook
from tinyfcn.models.network import as_network
from tinyfcn.tensor import Tensor
from tinyfcn.training import checkpoint
from tinyfcn.training.model_spec import ModelSpec, copy_matching
from tinyfcn.training.overlap_tile import mirrored
from tinyfcn.training.published import load_model

Array = NDArray[Any]
T = TypeVar("T")
SHIPPED = Path(__file__).with_name("fcn8s.npz")
PHOTO = 256  # pixels of the longer side of a photo, at most
SCENES = tuple(f"scene {i}" for i in range(1, 7))
RANDOM = {
    "segnet": {},
    "unet": {"geometry": "aligned", "width": 1 / 8},
    "deeplab_largefov": {},
    "deeplab_aspp": {},
}
NETWORKS = ("fcn32s", "fcn16s", "fcn8s", *RANDOM)


class Map(NamedTuple):
    """What a layer gave: its name and kind, and (1, C, H, W)."""

    name: str
    kind: str
    tensor: Tensor


class Run(NamedTuple):
    """A network on an image, with its graph.

    Attributes:
        image: what was read, (H, W, C).
        truth: class of each pixel; where nobody knows it, the network's own answer.
        picture, labels: the image and the most likely classes as PNG.
    """

    image: Array
    truth: Array
    x: Tensor
    scores: Tensor
    maps: Sequence[Map]
    picture: str
    labels: str


_caches: list[Any] = []


def cached(function: Callable[..., T]) -> Callable[..., T]:
    """Remembers the last few results, until another network is looked at."""
    remembered = lru_cache(24)(function)
    _caches.append(remembered)
    return remembered


class Chosen:
    """The reader's own network and photo, if there are any."""

    path: Path = SHIPPED
    photo: Array | None = None


def use(path: Path | None, photo: Path | None) -> None:
    """Choose the network and the photo, and run it: what cannot be done is told now."""
    Chosen.path = path or SHIPPED
    for each in _caches:
        each.cache_clear()
    spec = loaded()[1]
    if models.is_classifier(spec.model):
        raise ValueError(f"{path}: {spec.model} labels whole images, not their pixels")
    Chosen.photo = None
    if photo:
        Chosen.photo = fitted(PHOTO, spec.preprocessing.read(photo, upright=True))[0]
    elif not scenes():
        kind = f"it reads images of the kind {spec.preprocessing}, and no scenes"
        raise ValueError(f"{path}: {kind}; give it an image")
    run("photo" if photo else "scene 1", 128)


@cached
def loaded() -> tuple[nn.Module, ModelSpec]:
    """The network and what is known about it."""
    model, spec = load_model(Chosen.path)
    return model.eval(), spec


@cached
def by_name(name: str) -> tuple[nn.Module, bool]:
    """A network of the room by name, and whether it has trained weights.

    FCN-32s and FCN-16s have those of the FCN-8s in all that they share.
    """
    own, spec = loaded()
    if name == spec.model:
        return own, True
    given, related = arguments(name)
    state = random.get_state()
    random.manual_seed(0)
    model = models.create(name, num_classes=len(spec.classes), **given)
    random.set_state(state)
    if related:
        copy_matching(model, own.state_dict())
    return model.eval(), related


def arguments(name: str) -> tuple[dict[str, Any], bool]:
    """Those of a network that was not loaded, and whether it is related to the one that was."""
    spec = loaded()[1]
    if name.startswith("fcn") and spec.model in ("fcn32s", "fcn16s", "fcn8s"):
        return spec.arguments, True
    channels = spec.preprocessing.channels
    return {"width": 1 / 32, "in_channels": channels, **RANDOM.get(name, {})}, False


@cached
def scenes() -> tuple[str, ...]:
    """Those that the network can read: 8 bits, grey or RGB."""
    try:
        read(SCENES[0], 128)
    except DataError:
        return ()
    return SCENES


def scene(name: str, side: int) -> Any:
    """A scene by name, its image and mask."""
    noise = 5.0 if side == 128 else 0.0  # which takes most of the bytes of a large picture
    return draw_scene(np.random.default_rng(int(name[-1])), SceneStyle(side, noise=noise))


def read(name: str, side: int) -> tuple[Array, Array | None]:
    """An image by name, as the network reads it, and its truth if it is of the same classes."""
    if name == "photo" and Chosen.photo is not None:
        return Chosen.photo, None
    spec, drawn = loaded()[1], scene(name, side)
    known = tuple(spec.classes) == SYNTHETIC_CLASSES
    return spec.preprocessing.read(drawn.image), drawn.mask if known else None


@cached
def run(image: str, side: int, name: str = "", off: tuple[str, ...] = ()) -> Run:
    """Run a network on an image.

    Args:
        image: its name.
        side: of a scene.
        name: of the network; by default the one that was loaded.
        off: layers whose output is 0.
    """
    _, spec = loaded()
    model, _ = by_name(name or spec.model)
    if off:
        model = copy.deepcopy(model)
        for layer in off:
            for parameter in getattr(model, layer).parameters():
                nn.init.zeros_(parameter)
    pixels, truth = read(image, side)
    x = tinyfcn.tensor(spec.preprocessing.apply(pixels)[None], requires_grad=True)
    network = as_network(model)
    height, width = x.shape[2:]
    seen = x
    if network.margin:
        rows, columns = mirrored(network, height), mirrored(network, width)
        seen = x[:, :, rows][:, :, :, columns]
    with Maps(model) as watched:
        scores = model(seen)
    scores = scores[:, :, :height, :width]
    found = labels(scores)
    shown = pictures.png(as_seen(pixels)), pictures.png(visualize.in_colours(found, spec.classes))
    return Run(pixels, found if truth is None else truth, x, scores, watched.maps, *shown)


def labels(scores: Tensor) -> Array:
    """The most likely class of each pixel."""
    return scores.numpy()[0].argmax(0).astype(np.uint8)


@cached
def gradients(image: str, side: int, of: str, row: int, column: int, label: int) -> list[Array]:
    """What each map of a run would have to change for the loss, or for one score, to grow."""
    seen = run(image, side)
    if of == "loss":
        end = F.cross_entropy(seen.scores, seen.truth[None].astype(np.int64), ignore_index=255)
    else:
        end = seen.scores[0, label, row, column]
    tensors = [each.tensor for each in seen.maps]
    found = tinyfcn.grad(end, tensors, retain_graph=True, allow_unused=True)
    return [
        np.zeros(t.shape[1:], np.float32) if g is None else g.numpy()[0]
        for g, t in zip(found, tensors, strict=True)
    ]


class Maps(Hook):
    """Keeps what each layer gives, and each op between layers."""

    def __init__(self, model: nn.Module) -> None:
        leaves = [(n, m) for n, m in model.named_modules() if not any(True for _ in m.children())]
        self.names = {id(module): name for name, module in leaves}
        self.maps: list[Map] = []
        self._inside = 0
        self._relu = False

    def enter(self, module: nn.Module, inputs: Sequence[Any]) -> None:
        self._inside += id(module) in self.names

    def leave(self, module: nn.Module, inputs: Sequence[Any], result: Any) -> None:
        if id(module) in self.names:
            self._inside -= 1
            if not any(result is x for x in inputs):
                kind = type(module).__name__
                relu = self._relu and not isinstance(module, nn.ReLU)
                self._keep(self.names[id(module)], kind + " + ReLU" * relu, result)

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        self._relu = bool(getattr(function, "relu", False))
        kind, (y, *_) = type(function).__name__, outputs
        same = kind == "GetItem" and y.shape == inputs[0].shape  # a crop that cuts nothing off
        if not self._inside and not same:
            self._keep("", kind, y)

    def _keep(self, name: str, kind: str, result: Tensor) -> None:
        if result.ndim == 4:
            self.maps.append(Map(name, kind, result))


def _half(source: str, out: str) -> None:
    """Write the network of a checkpoint in half precision."""
    model, spec = load_model(source)
    arrays = model.state_dict().items()
    half = {n: a.astype(np.float16) if a.dtype.kind == "f" else a for n, a in arrays}
    checkpoint.save(out, {"model": half, "description": spec.to_dict()})


if __name__ == "__main__":
    _half(*sys.argv[1:])
