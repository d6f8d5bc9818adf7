"""A trained network in code: called with a picture, it gives mask, probabilities and overlay."""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn import models, visualize
from tinyfcn.data import Resize
from tinyfcn.data.conventions import as_seen
from tinyfcn.data.transforms import resized
from tinyfcn.files import AnyPath
from tinyfcn.training.evaluation import label
from tinyfcn.training.published import load_model

SHOWN = 640  # pixels of a picture's longer side in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """A picture and what a network says of it. A notebook shows it beside its overlay.

    Attributes:
        image: uint8 RGB (H, W, 3); of other channels as it can be looked at.
        mask: the most likely class of each pixel, uint8 (H, W).
        classes: the name of each index.
        note: how it was computed, where not in one pass.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    classes: tuple[str, ...]
    note: str
    _likely: Callable[[], NDArray[np.float32]] = field(repr=False)

    @functools.cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """How likely each class is at each pixel, float32 (C, H, W). Of a picture that was too
        large for one pass they are computed when they are first asked for."""
        return self._likely()

    @functools.cached_property
    def overlay(self) -> Image.Image:
        """The mask in colours over the picture, with a legend: an RGB picture."""
        return visualize.overlay(self.image, self.mask, self.classes)

    def __repr__(self) -> str:
        shares = np.bincount(self.mask.ravel(), minlength=len(self.classes)) / self.mask.size
        found = ", ".join(
            f"{self.classes[i]} {shares[i]:.1%}" for i in np.argsort(-shares) if shares[i]
        )
        height, width = self.mask.shape
        return f"Segmentation({width} x {height}: {found})"

    def _repr_png_(self) -> bytes:
        return _png(self.overlay)

    def _repr_html_(self) -> str:
        pictures = (Image.fromarray(self.image), self.overlay)
        codes = [base64.b64encode(_png(picture)).decode() for picture in pictures]
        return "".join(
            f'<img alt="{name}" style="margin: 4px" src="data:image/png;base64,{code}">'
            for name, code in zip(("image", "overlay"), codes, strict=True)
        )


class Segmenter:
    """Labels the pixels of pictures of any size with a trained network.

    With ``scales`` or ``flip`` it looks several times and averages the probabilities (Chen et al.,
    DeepLab, TPAMI 2018, section 4.1): at each scale the picture is resized, and the probabilities
    are resized back, both bilinearly.

    Args:
        path: a checkpoint, or another file of weights that :func:`tinyfcn.weights.read` reads.
        model: name of its network in ``tinyfcn.models``, where the file does not tell.
        scales: at which sizes to look, 1 being the picture's own.
        flip: whether to look at its mirror image too.
        max_memory: bytes that a pass may take; pictures that would take more are labelled in tiles,
            with the same result: see :func:`tinyfcn.training.overlap_tile.plan`.
        arguments: more arguments of the network.

    Attributes:
        model: the network.
        spec: what is known about it: its classes, how pictures are prepared.

    Raises:
        FileNotFoundError, ValueError, CheckpointError: if the file holds no network that labels
            pixels, or an argument does not fit.

    Example:
        >>> import tempfile, tinyfcn
        >>> from tinyfcn.training import checkpoint, model_spec
        >>> spec = model_spec.ModelSpec("fcn8s", ("background", "cat"), {"width": 1 / 64})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state = {"model": spec.build().state_dict(), "description": spec.to_dict()}
        ...     checkpoint.save(f"{folder}/best.npz", state)
        ...     segmenter = tinyfcn.Segmenter(f"{folder}/best.npz")
        >>> result = segmenter(np.zeros((60, 80, 3), np.uint8))
        >>> result.mask.shape, result.probabilities.shape, result.overlay.width
        ((60, 80), (2, 60, 80), 320)
    """

    def __init__(
        self,
        path: AnyPath,
        model: str | None = None,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        max_memory: float | None = None,
        **arguments: Any,
    ) -> None:
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise ValueError(f"Segmenter: scales must be positive numbers, got {scales!r}")
        self.model, self.spec = load_model(path, model, **arguments)
        if models.is_classifier(self.spec.model):
            raise ValueError(
                f"{self.spec.model} labels whole images, not their pixels: {path} may begin a "
                "training, but there is nothing to predict"
            )
        self.model.eval()  # for good: several threads may use it
        self.views = [*product(scales, (False, True) if flip else (False,))]
        self.max_memory = max_memory

    def __call__(self, picture: AnyPath | Image.Image | NDArray[Any]) -> Segmentation:
        """Label a picture: a file, which is turned as its EXIF orientation says, a Pillow image, or
        an array, (H, W, channels) or grey (H, W), with values as the network's training had them:
        uint8, where none other were declared.

        Raises:
            FileNotFoundError, DataError: saying what was expected and what came.
        """
        image = self.spec.preprocessing.read(picture, upright=True)
        seen = as_seen(image)
        if self.views != [(1, False)]:
            average = self.average(image)
            mask, note = average.argmax(0).astype(np.uint8), ""
            return Segmentation(seen, mask, self.spec.classes, note, lambda: average)
        masks, likely, way = label(
            self.model, [image], self.spec.preprocessing, self.max_memory, probabilities=None
        )
        note = f"{way.tiles} tiles" if way.tiles > 1 else ""
        if not way.exact:
            note += f", each seen by itself: {self.spec.model} looks at the whole picture"
        again = functools.partial(self.average, image)
        kept = again if likely is None else functools.partial(likely.__getitem__, 0)
        return Segmentation(seen, masks[0], self.spec.classes, note, kept)

    def average(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """The probabilities (C, H, W), averaged over all views."""
        own = self.spec.preprocessing
        plain, base = replace(own, resize=()), Resize(own.resize).shape(*image.shape[:2])
        total: Any = 0
        for scale, mirrored in self.views:
            seen = resized(image, *(max(1, round(scale * n)) for n in base))
            turned = seen[:, :: -1 if mirrored else 1]
            likely: Any = label(self.model, [turned], plain, self.max_memory, True)[1]
            planes = likely[0, ..., :: -1 if mirrored else 1].transpose(1, 2, 0)
            total += resized(planes, *image.shape[:2]).transpose(2, 0, 1)
        return total / np.float32(len(self.views))


def _png(picture: Image.Image) -> bytes:
    """For a notebook, no larger than its column."""
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((SHOWN, SHOWN))
    small.save(file, format="PNG")
    return file.getvalue()
