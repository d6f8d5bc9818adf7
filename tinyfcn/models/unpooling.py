"""2 × 2 pooling that remembers where its maxima were, and its inverse: SegNet's and DeconvNet's.

Source: Zeiler, Fergus: Visualizing and understanding convolutional networks (ECCV 2014), section
2.1, where the places are called switches.

A value of which the network is not sure where it was, since its neighbour is as large, lands beside
its place if rounding says so. In evaluation mode the layers before a pooling are therefore computed
so that rounding depends on nothing else, see :class:`tinyfcn.backend.setting.Steady`: an image is
labelled alike in one pass and in tiles, and its flat areas alike all over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.backend.setting import steady
from tinyfcn.functional.sizes import Pair
from tinyfcn.models.backbones.backbone import Backbone, scaled, with_relu
from tinyfcn.tensor import Tensor


class Switches(NamedTuple):
    """What an unpooling has to know about the pooling that it undoes."""

    indices: Tensor  # where each maximum was, (N, C, OH, OW)
    size: Pair  # of the map before it, which pooling maps to the same size as one smaller


def encode(chains: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, list[Switches]]:
    """Run a chain of layers and a 2 × 2 pooling, rounding up, and the next; (N, C, H, W) becomes
    (N, …, ⌈H / 2⌉, ⌈W / 2⌉) and so on. The poolings' switches come along."""
    switches = []
    for chain in chains:
        with contextlib.nullcontext() if any(m.training for m in chain.children()) else steady:
            x = chain(x)
        size = (x.shape[2], x.shape[3])
        x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        switches.append(Switches(indices, size))
    return x, switches


def convolutions(backbone: Backbone) -> list[nn.Sequential]:
    """The stages of a backbone without the 2 × 2 poolings at their ends."""
    return [stage[:-1] for stage in backbone.stages()]


def decode(chains: Iterable[nn.Module], y: Tensor, switches: Sequence[Switches]) -> Tensor:
    """Undo all poolings, the last one first, and run a chain of layers after each. Every value goes
    back to its place in a map of the size that was pooled, with zeros around it."""
    for chain, switch in zip(chains, reversed(switches), strict=True):
        y = chain(F.max_unpool2d(y, switch.indices, 2, output_size=switch.size))
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
