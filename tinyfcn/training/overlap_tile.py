"""Large images, labelled tile by tile in bounded memory: the scores are those of one pass.

Source of the idea: Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), section 2 and figure 2.

A score depends on the pixels around it. So every tile is computed from a window that is larger than
the tile by all that its scores depend on; windows overlap, tiles do not. How far that is, and where
a window may begin, is followed through the network's ops (``tinyfcn/receptive_field.py``), for the
size of the image at hand:

* A score depends on certain pixels before and behind it, and this repeats with the stride of the
  coarsest map. Where a window begins at a multiple of the stride, all of its maps have their pixels
  at the places that those of the whole image have, and pooling sees the same groups; where it ends
  at a multiple before the image's end, so do those of a network that sees the image mirrored.
* Where a window ends inside the image, convolutions see their padding in place of the image, and
  crops and poolings that round up other sizes. All that this changes depends on pixels beyond that
  end, so none of it belongs to the tile.
* Where a window ends with the image, it sees the same padding as one pass does.

So the scores are equal to rounding.

A network with a ``margin``, as U-Net without padding, sees the image mirrored beyond its border.

Some networks look at the whole image: those that pool all of it, and those that stretch a map to
the image's size where that is no multiple of their stride. Tiles of these see their window as if it
were an image, with a margin of 128 pixels, or of what they depend on but for the stretching; their
scores are near those of one pass, not equal (``Plan.exact``). So it is with averages over scales
that repeat only after more than 640 pixels; halves, quarters and fifths do before.
"""

from __future__ import annotations

import contextlib
import copy
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn import backend
from tinyfcn.backend.meta import Memory, MetaArray, NoValues, empty
from tinyfcn.data import DataError
from tinyfcn.function import Function, Hook
from tinyfcn.functional.sizes import at_least_one
from tinyfcn.models.network import SegmentationNetwork, as_network
from tinyfcn.nn import Module
from tinyfcn.receptive_field import CannotTell, Field
from tinyfcn.receptive_field_rules import ReceptiveFields
from tinyfcn.tensor import Array, Tensor
from tinyfcn.without_values import empty_images, evaluating

ALWAYS = 1 << 19  # pixels of an image that every network labels in one pass, in less than a GB
SIDE = 640  # a multiple of all strides, on which all layers of the networks fit
LITTLE = 500_000_000  # bytes that one pass may always take
SCRATCH = 1.5  # what a pass takes, measured, to what its ops give
Place = tuple[slice, slice]


class Context(NamedTuple):
    """What a score depends on along an axis: that of pixel i on the pixels from i + first to i +
    last of what the network is shown; exactly alike at every ``stride``-th pixel."""

    stride: int
    first: int
    last: int


UNKNOWN = Context(64, -128, 128)


class Plan(NamedTuple):
    """How images of one size are labelled.

    Attributes:
        size, tile: (height, width) of the image, and of the tiles, but for the last ones.
        contexts: along height and width.
        exact: whether the scores are those of one pass.
    """

    size: Sequence[int]
    tile: Sequence[int]
    contexts: Sequence[Context] = (UNKNOWN, UNKNOWN)
    exact: bool = True

    @property
    def tiles(self) -> int:
        """How many there are."""
        return math.prod(-(-n // tile) for n, tile in zip(self.size, self.tile, strict=True))


def overlap_tile(
    model: Module, images: Tensor, tile: int | None = None, max_memory: float | None = None
) -> Tensor:
    """The scores of a model for images of any size, computed tile by tile.

    Args:
        model: gives scores for every pixel, or for all but its ``margin``. It runs as
            ``model.eval()`` and is left in the mode it was in.
        images: (N, C, H, W), H and W of at least 1.
        tile: side of a tile in pixels, rounded up to a multiple of the model's stride.
        max_memory: without ``tile``, as for :func:`plan`.

    Returns:
        Scores (N, num_classes, H, W), without a graph: those of one pass, see the head of this
        file.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = tinyfcn.models.unet(in_channels=1, width=1 / 64)
        >>> overlap_tile(model, tinyfcn.tensor(np.zeros((1, 1, 50, 33), np.float32)), 36).shape
        (1, 2, 50, 33)
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"overlap_tile: images must be (N, C, H, W), got shape {images.shape}")
    xp, size = backend.active().xp, images.shape[2:]
    if tile is None:
        way = plan(model, images.shape, max_memory)
    else:
        at_least_one("overlap_tile", tile=tile)
        contexts, exact = find_contexts(model, images.shape[1], size)
        sides = [-(-tile // context.stride) * context.stride for context in contexts]
        way = Plan(size, sides, contexts, exact)

    def read(rows: NDArray[Any], columns: NDArray[Any]) -> Tensor:
        return Tensor(images.data.take(xp.asarray(rows), 2).take(xp.asarray(columns), 3))

    scores = None
    for (rows, columns), part in tiles(model, read, way):
        if scores is None:
            scores = xp.empty((*part.shape[:2], *size), part.dtype)
        scores[:, :, rows, columns] = part
    return Tensor(scores)


def tiles(
    model: Module, read: Callable[[NDArray[Any], NDArray[Any]], Tensor], way: Plan
) -> Iterator[tuple[Place, Array]]:
    """The scores of one tile after the other.

    Args:
        model: as for :func:`overlap_tile`.
        read: gives the pixels of some rows and columns of the images, (N, C, h, w).
        way: what :func:`plan` gives.

    Yields:
        Where the tile lies, rows and columns, and its scores (N, num_classes, h, w).

    Raises:
        DataError: if a score is NaN.
    """
    network = as_network(model)
    cuts = [_cuts(network, *axis) for axis in zip(way.size, way.tile, way.contexts, strict=True)]
    for (rows, top, high), (columns, left, wide) in product(*cuts):
        x = read(rows, columns)
        with evaluating(model):
            y = network(x)
        expected = tuple(n - 2 * network.margin for n in x.shape[2:])
        if y.shape[2:] != expected:
            raise ValueError(
                f"predict: the model gave logits {y.shape} for images {x.shape}; "
                f"height and width must be {expected[0]} and {expected[1]}"
            )
        scores = y.data[:, :, high, wide]
        if np.isnan(scores.min()):
            raise DataError(
                "predict: the network gave NaN, which is no class; its weights, or what it was "
                "shown, are beyond float32"
            )
        yield (top, left), scores


def _cuts(
    network: SegmentationNetwork, n: int, tile: int, context: Context
) -> list[tuple[NDArray[Any], slice, slice]]:
    """Along an axis of n pixels, for each tile: the pixels of its window, its own place in the
    image, and in the scores of the window."""
    shown = mirrored(network, n)
    stride, whole, made = context.stride, len(shown), []
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        begin = max(0, (start + context.first) // stride * stride)
        end = whole if stop == n else whole - max(0, whole - stop - context.last) // stride * stride
        made.append((shown[begin:end], slice(start, stop), slice(start - begin, stop - begin)))
    return made


def mirrored(network: SegmentationNetwork, n: int) -> NDArray[Any]:
    """Which of n pixels a network is shown, one after the other, for the scores of all of them."""
    margin = network.margin
    return np.pad(np.arange(n), (margin, network.window(n) - n - margin), "reflect")


def plan(model: Module, shape: Sequence[int], max_memory: float | None = None) -> Plan:
    """The tiles in which images are labelled: one, where a pass over all of them takes no more
    memory than it may, else as few as that allows.

    Args:
        model: as for :func:`overlap_tile`.
        shape: of the images, (N, C, H, W).
        max_memory: bytes that a pass may take, beside the model, the images and the scores; by
            default 500 MB, or what half a megapixel takes, or what makes windows at least three
            times as wide as what a score depends on, so that no more than about twice the work of
            one pass is done.

    Raises:
        DataError: if not even the smallest window fits; says what it takes.
    """
    network, (number, channels), size = as_network(model), shape[:2], tuple(shape[2:])
    if max_memory is None and math.prod(size) <= ALWAYS:
        return Plan(size, size)
    shown = [network.window(n) for n in size]
    each = number * SCRATCH * bytes_per_pixel(model, channels)
    if math.prod(shown) * each <= (LITTLE if max_memory is None else max_memory):
        return Plan(size, size)
    contexts, exact = find_contexts(model, channels, size)
    around = [context.last - context.first + 2 * context.stride for context in contexts]
    if max_memory is None:
        max_memory = max(LITTLE, 9 * math.prod(around) * each)
    tile = [*size]
    while True:
        windows = [
            min(whole, side + more) for whole, side, more in zip(shown, tile, around, strict=True)
        ]
        if (takes := each * math.prod(windows)) <= max_memory:
            return Plan(size, tile, contexts, exact)
        axis = tile.index(max(tile))
        tile[axis] = (tile[axis] - 1) // contexts[axis].stride * contexts[axis].stride
        if not tile[axis]:
            raise DataError(
                f"a window of {network.name or 'the network'} takes {takes / 1e9:.2g} GB at least, "
                f"and {max_memory / 1e9:.2g} GB were allowed"
            )


def find_contexts(
    model: Module, channels: int, size: Sequence[int]
) -> tuple[Sequence[Context], bool]:
    """What the scores of images of a size depend on, along height and width, and whether that is
    all that they depend on.

    Example:
        >>> from tinyfcn import models
        >>> find_contexts(models.unet(width=1 / 64, geometry="aligned"), 3, (1000, 777))[0][1]
        Context(stride=16, first=-107, last=107)
    """
    # Of the size only the rest counts that strides leave.
    for exact, sides in (True, [SIDE + n % SIDE for n in size]), (False, [SIDE, SIDE]):
        with (
            _hollow(model, channels, sides) as (network, images),
            ReceptiveFields(images) as fields,
        ):
            along = enumerate(fields.of(network(images)))
            return [_context(field, axis) for axis, field in along], exact
    return (UNKNOWN, UNKNOWN), False


def _context(field: Field, axis: int) -> Context:
    ends = field.reach.max(axis=tuple({0, 1, 2, 3} - {2 + axis}))  # (period, 2)
    if field.steps[2 + axis] != 1 or len(ends) > SIDE or not (ends < math.inf).all():
        raise CannotTell  # nor can it where nobody knows
    pixels = np.arange(len(ends))
    first, last = (ends[:, 0] + pixels).max(), (ends[:, 1] - pixels).max()
    return Context(len(ends), int(min(0, -first)), int(max(0, last)))


def bytes_per_pixel(model: Module, channels: int) -> float:
    """What a pass holds at a time of what its ops gave, at most, for each pixel that is shown."""
    with _hollow(model, channels, (SIDE, SIDE)) as (network, images), _Held() as held:
        network(images)
    return held.most / math.prod(images.shape[2:])


@contextlib.contextmanager
def _hollow(
    model: Module, channels: int, sides: Sequence[int]
) -> Iterator[tuple[SegmentationNetwork, Tensor]]:
    """A copy of a network without values, since others may use the network meanwhile, and images
    for it. The block, in which they may meet, ends where a value is asked for, or nobody can tell
    what depends on what."""
    tensors = (*model.parameters(), *model.buffers())
    hollow: dict[int, Any] = {id(t.data): empty(t.shape, t.dtype, ()) for t in tensors}
    network = as_network(copy.deepcopy(model, hollow))
    images = empty_images(network, (1, channels, *map(network.window, sides)))
    unknown = contextlib.suppress(CannotTell, NoValues, TypeError)
    with unknown, evaluating(network), backend.using("meta"):
        yield network, images


class _Held(Hook):
    """Adds up what ops gave, as long as somebody holds it."""

    def __init__(self) -> None:
        self.most = 0
        self.held: weakref.WeakSet[Memory] = weakref.WeakSet()

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        for array in (y.data for y in outputs if isinstance(y.data, MetaArray)):
            array.origin = None  # which would hold what real arrays do not
            self.held.add(array.memory)
        self.most = max(self.most, sum(memory.nbytes for memory in self.held))
