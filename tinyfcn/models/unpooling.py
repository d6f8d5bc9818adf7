"""2 × 2 pooling that remembers where its maxima were, and its inverse: SegNet's and DeconvNet's.

Source: Zeiler, Fergus: Visualizing and understanding convolutional networks (ECCV 2014), section
2.1, where the places are called switches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.functional.sizes import Pair
from tinyfcn.models.backbones.backbone import Backbone, scaled, with_relu
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


def encode(backbone: Backbone, x: Tensor) -> tuple[Tensor, list[Switches]]:
    """The last output of a backbone whose stages end with 2 × 2 poolings, and their switches."""
    all_switches = []
    for stage in backbone.stages():
        x, switches = pool(stage[:-1](x))
        all_switches.append(switches)
    return x, all_switches


def decode(chains: Iterable[nn.Module], y: Tensor, switches: Sequence[Switches]) -> Tensor:
    """Undo all poolings, the last one first, and run a chain of layers after each."""
    for chain, switch in zip(chains, reversed(switches), strict=True):
        y = chain(unpool(y, switch))
    return y


def decoder(
    stages: Iterable[Iterable[int]],
    channels: int,
    width: float,
    kind: type[nn.Conv2d | nn.ConvTranspose2d],
    batch_norm: bool,
) -> nn.ModuleList:
    """A chain of 3 × 3 convolutions with ReLUs for each stage, given by the numbers of channels."""
    chains = nn.ModuleList()
    for stage in stages:
        layers: list[nn.Module] = []
        for published in stage:
            after = scaled(published, width)
            layers += with_relu(kind(channels, after, 3, padding=1), batch_norm)
            channels = after
        chains.append(nn.Sequential(*layers))
    return chains
