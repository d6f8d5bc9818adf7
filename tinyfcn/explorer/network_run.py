"""The network that its room looks at: loaded, run on an image, and every map on the way kept.

The one in the package is the FCN-8s of the README's first command, narrower, in half precision. It
began as an FCN-32s, as in the paper, so that its coarse scores say something without the skips, too
(the first was stopped after nine epochs, and had a mean IU of 0.56; the second ends with 0.861):

    tinyfcn train --model fcn32s --width 0.058 --epochs 10 --out runs/coarse
    tinyfcn train --width 0.058 --epochs 6 --lr 0.005 --init-from runs/coarse/best.npz \\
        --out runs/fine
    python -m tinyfcn.explorer.network_run runs/fine/best.npz tinyfcn/explorer/fcn8s.npz
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
from PIL import Image

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn, random, visualize
from tinyfcn.data.conventions import as_seen
from tinyfcn.data.scenes import SceneStyle, draw_scene
from tinyfcn.data.transforms import fitted
from tinyfcn.explorer import network_pictures as pictures
from tinyfcn.function import Function, Hook
from tinyfcn.tensor import Tensor
from tinyfcn.training import checkpoint
from tinyfcn.training.model_spec import ModelSpec, copy_matching
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
    """Look at another checkpoint, or at a photo.

    Raises:
        FileNotFoundError, ValueError, CheckpointError, DataError: naming what cannot be read.
    """
    Chosen.path = path or SHIPPED
    for each in _caches:
        each.cache_clear()
    _, spec = loaded()
    if models.is_classifier(spec.model):
        raise ValueError(f"{path}: {spec.model} labels whole images, not their pixels")
    if photo:
        image = spec.preprocessing.read(photo, upright=True)
        Chosen.photo = fitted(PHOTO, image)[0]
        run("photo", 0)


@cached
def loaded() -> tuple[nn.Module, ModelSpec]:
    """The network and what is known about it."""
    model, spec = load_model(Chosen.path)
    return model.eval(), spec


@cached
def network(name: str) -> tuple[nn.Module, bool]:
    """A network of the room by name, and whether it has trained weights.

    FCN-32s and FCN-16s have those of the FCN-8s in all that they share.
    """
    own, spec = loaded()
    if name == spec.model:
        return own, True
    classes = len(spec.classes)
    channels = spec.preprocessing.channels
    arguments: dict[str, Any] = {"width": 1 / 32, "in_channels": channels, **RANDOM.get(name, {})}
    related = name.startswith("fcn") and spec.model.startswith("fcn")
    if related:
        arguments = spec.arguments
    state = random.get_state()
    random.manual_seed(0)
    model = models.create(name, num_classes=classes, **arguments)
    random.set_state(state)
    if related:
        copy_matching(model, checkpoint.arrays_of(own))
    return model.eval(), related


def read(name: str, side: int) -> tuple[Array, Array | None]:
    """An image by name, as the network reads it, and its truth if there is one."""
    if name == "photo" and Chosen.photo is not None:
        return Chosen.photo, None
    noise = 5.0 if side == 128 else 0.0  # which takes most of the bytes of a large picture
    scene = draw_scene(np.random.default_rng(int(name[-1])), SceneStyle(side, noise=noise))
    return loaded()[1].preprocessing.read(Image.fromarray(scene.image)), scene.mask


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
    model, _ = network(name or spec.model)
    if off:
        model = copy.deepcopy(model)
        for layer in off:
            for parameter in getattr(model, layer).parameters():
                nn.init.zeros_(parameter)
    pixels, truth = read(image, side)
    x = tinyfcn.tensor(spec.preprocessing.apply(pixels)[None], requires_grad=True)
    with Maps(model) as seen:
        scores = model(x)
    found = labels(scores)
    shown = pictures.png(as_seen(pixels)), pictures.png(visualize.in_colours(found, spec.classes))
    return Run(pixels, found if truth is None else truth, x, scores, seen.maps, *shown)


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
    arrays = checkpoint.arrays_of(model)
    half = {n: a.astype(np.float16) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    checkpoint.save(out, {"model": half, "description": spec.to_dict()})


if __name__ == "__main__":
    _half(*sys.argv[1:])
