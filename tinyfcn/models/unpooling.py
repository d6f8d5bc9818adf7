"""2 × 2 pooling that remembers where its maxima were, and its inverse: SegNet's and DeconvNet's.

Source: Zeiler, Fergus: Visualizing and understanding convolutional networks (ECCV 2014), section
2.1, where the places are called switches.
"""

from __future__ import annotations

from typing import NamedTuple

from tinyfcn import functional as F
from tinyfcn.functional.sizes import Pair
from tinyfcn.models.backbones.trunk import Trunk
from tinyfcn.tensor import Tensor


class Switches(NamedTuple):
    """What an unpooling has to know about the pooling that it undoes."""

    indices: Tensor  # where each maximum was, (N, C, OH, OW)
    size: Pair  # of the map before it, which pooling maps to the same size as one smaller


def pool(x: Tensor) -> tuple[Tensor, Switches]:
    """(N, C, H, W) → (N, C, ⌈H / 2⌉, ⌈W / 2⌉) and where it came from."""
    y, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    return y, Switches(indices, (x.shape[2], x.shape[3]))


def unpool(y: Tensor, switches: Switches) -> Tensor:
    """Every value back at its place in a map of the size that was pooled, zeros around it."""
    return F.max_unpool2d(y, switches.indices, 2, output_size=switches.size)


def encode(trunk: Trunk, x: Tensor) -> tuple[Tensor, list[Switches]]:
    """The last output of a trunk whose stages end with 2 × 2 poolings, and all their switches."""
    all_switches = []
    start = 0
    for end in trunk.ends:
        x, switches = pool(trunk[start:end](x))
        all_switches.append(switches)
        start = end + 1
    return x, all_switches
