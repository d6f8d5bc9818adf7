"""A trained network in code: called with a picture, it gives mask, probabilities and overlay."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn import Tensor, backend, models, page, visualize
from tinyfcn import functional as F
from tinyfcn.data.conventions import as_seen, counted
from tinyfcn.data.transforms import fitted
from tinyfcn.files import AnyPath
from tinyfcn.models.network import SegmentationNetwork, as_network
from tinyfcn.nn import Module
from tinyfcn.training.evaluation import label
from tinyfcn.training.overlap_tile import mirrored
from tinyfcn.training.published import load_model

LARGEST, SHOWN = 4096, 640  # pixels of the longer side of an overlay, and in a notebook
UNIT = 20  # pixels of which halves, quarters and fifths are whole ones
LIKE_NONE = 1e-30  # least probability that is told from none


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """A picture and what a network says of it. A notebook shows it beside its overlay.

    Attributes:
        image: uint8 RGB (H, W, 3); of other channels as it can be looked at.
        mask: the most likely class of each pixel, uint8 (H, W).
        classes: the name of each index.
        note: how it was computed, where not in one pass: in tiles, see
            :mod:`tinyfcn.training.overlap_tile`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    classes: tuple[str, ...]
    note: str
    _likely: Callable[[], NDArray[np.float32]] = field(repr=False)

    @functools.cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """How likely each class is at each pixel, float32 (C, H, W). Of a picture that took more
        than one pass they are computed when they are first asked for, if not with the mask."""
        return self._likely()

    @functools.cached_property
    def overlay(self) -> Image.Image:
        """The mask in colours over the picture, with a legend: an RGB picture, of a picture that is
        larger than 4096 pixels no larger."""
        image, mask = fitted(LARGEST, self.image, self.mask)
        return visualize.overlay(image, mask, self.classes)

    def __repr__(self) -> str:
        shares = counted(self.mask)[: len(self.classes)] / self.mask.size
        found = ", ".join(
            f"{self.classes[i]} {shares[i]:.1%}" for i in np.argsort(-shares) if shares[i]
        )
        height, width = self.mask.shape
        return f"Segmentation({width} x {height}: {found})"

    def _repr_html_(self) -> str:
        image, mask = fitted(SHOWN, self.image, self.mask)
        titles = "image", "prediction"
        both = visualize.sheet([(image, (image, mask))], self.classes, titles)
        return page.picture(both, repr(self), lossy=True)


class Averaged(SegmentationNetwork):
    """A network that looks several times: log of the mean probability of each class.

    Args:
        network: gives the scores of each time.
        views: a scale and whether it sees the mirror image, of each.
    """

    def __init__(self, network: Module, views: Sequence[tuple[float, bool]]) -> None:
        self.network, self.views = as_network(network), views
        self.name, self.in_channels = self.network.name, self.network.in_channels
        self.unit = max(1 if scale == 1 else UNIT for scale, _ in views)

    def window(self, side: int) -> int:
        """A size of which scales make whole pixels."""
        return -(-side // self.unit) * self.unit

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) → (N, num_classes, H, W)."""
        xp, height, width = backend.active().xp, *x.shape[2:]
        total: Any = LIKE_NONE
        for scale, is_turned in self.views:
            turn = slice(None, None, -1 if is_turned else 1)
            high, wide = size = tuple(max(1, round(scale * n)) for n in (height, width))
            seen = F.interpolate(x, (high, wide), mode="bilinear")[..., turn]
            if self.network.margin:
                rows, columns = (xp.asarray(mirrored(self.network, n)) for n in size)
                seen = Tensor(seen.data.take(rows, 2).take(columns, 3))
            likely = F.softmax(self.network(seen)[:, :, :high, :wide], 1)[..., turn]
            total = F.interpolate(likely, (height, width), mode="bilinear") + total
        return F.log(total / len(self.views))


class Segmenter:
    """Labels the pixels of pictures of any size with a trained network.

    With ``scales`` or ``flip`` it looks several times and averages the probabilities (Chen et al.,
    DeepLab, TPAMI 2018, section 4.1): at each scale the picture is resized, and the probabilities
    are resized back, both bilinearly. Beyond its border it is mirrored, to a multiple of 20 pixels,
    of which such scales as 0.75 or 1.2 make whole ones.

    Args:
        path: a checkpoint, or another file of weights that :func:`tinyfcn.weights.read` reads.
        model: name of its network in ``tinyfcn.models``, where the file does not tell.
        scales: at which sizes to look, 1 being the picture's own.
        flip: whether to look at its mirror image too.
        max_memory: bytes that a pass may take; pictures that would take more are labelled in tiles,
            with the same result: see :func:`tinyfcn.training.overlap_tile.plan`.
        progress: whether a bar shows how much of a large picture is done.
        probabilities: compute them with the mask, also of a picture that takes more than one pass.
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
        progress: bool = False,
        probabilities: bool = False,
        **arguments: Any,
    ) -> None:
        if not scales or not all(0.1 <= scale <= 10 for scale in scales):
            raise ValueError(f"Segmenter: scales must be numbers from 0.1 to 10, got {scales!r}")
        self.model, self.spec = load_model(path, model, **arguments)
        if models.is_classifier(self.spec.model):
            raise ValueError(
                f"{self.spec.model} labels whole images, not their pixels: {path} may begin a "
                "training, but there is nothing to predict"
            )
        self.model.eval()  # for good: several threads may use it
        views = [*product(scales, (False, True) if flip else (False,))]
        self.network = self.model if views == [(1, False)] else Averaged(self.model, views)
        self.max_memory, self.progress, self.probabilities = max_memory, progress, probabilities

    def __call__(self, picture: AnyPath | Image.Image | NDArray[Any]) -> Segmentation:
        """Label a picture: a file or Pillow image, which is turned as its EXIF orientation says, or
        an array, (H, W, channels) or grey (H, W), with values as the network's training had them:
        uint8, where none other were declared.

        Raises:
            FileNotFoundError, DataError: saying what was expected and what came.
        """
        own = self.spec.preprocessing
        image = own.read(picture, upright=True)
        labelled = functools.partial(label, self.network, [image], own, self.max_memory)
        masks, way, known = labelled(self.progress, math.inf if self.probabilities else 1)
        note = f"{way.tiles} tiles" if way.tiles > 1 else ""
        note += ", each seen by itself" * (not way.exact)

        def likely() -> Any:
            return labelled(most=math.inf)[2] if known is None else known

        return Segmentation(as_seen(image), masks[0], self.spec.classes, note, likely)

    def __repr__(self) -> str:
        return f"Segmenter({self.spec}: {', '.join(self.spec.classes)})"
