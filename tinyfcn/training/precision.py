"""In how many bits a training computes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinyfcn import Tensor, backend
from tinyfcn.backend import half
from tinyfcn.optim import GradScaler
from tinyfcn.tensor import Array


class Precision:
    """float32, or one of three that are faster where there are tensor cores.

    Weights, their gradients, sums, the statistics of batch norm and losses are float32 in each.

        float32  everything
        tf32     products on tensor cores round their operands to 11 bits
        bf16     activations and operands of products have 8 bits and the range of float32
        fp16     activations have 11 bits and end at 65504; so the loss is scaled

    Scores are taken in float32, as by ``tinyfcn evaluate``.

    Args:
        name: one of these.

    Attributes:
        scaler: of the loss; switched off where there is no need.

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3; Kalamkar et al.,
    "A study of BFLOAT16 for deep learning training", 2019.

    Example:
        >>> from tinyfcn import nn
        >>> layer, precision = nn.Conv2d(1, 1, 1), Precision("fp16")
        >>> with precision.used():
        ...     y = layer(precision.images(np.ones((1, 1, 2, 2), np.float32)))
        ...     precision.scaler.scale(y.mean()).backward()
        >>> y.dtype, layer.weight.grad.dtype, layer.weight.grad.item() / 2**16
        (dtype('float16'), dtype('float32'), 1.0)
    """

    def __init__(self, name: str = "float32") -> None:
        self.name, self.scaler = name, GradScaler(enabled=name == "fp16")

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """In this block, which holds the forward and the backward pass, it is."""
        with half.products.using(self.name), np.errstate(over="ignore", invalid="ignore"):
            yield

    def images(self, images: Array) -> Tensor:
        """A batch, as the network takes it."""
        narrow = self.name == "fp16" and isinstance(backend.active(), half.Half)
        return Tensor(images.astype(half.HALF) if narrow else images)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold of it: in fp16 the state of the scaler."""
        return {"scaler": self.scaler.state_dict()} if self.scaler.enabled else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, which may be of another precision."""
        self.scaler.load_state_dict(state.get("scaler", {}))

    def overflows(self, loss: float) -> bool:
        """Whether ∞ is what spoiled a loss, if anything did: in fp16 that comes before NaN."""
        return math.isinf(loss) or self.scaler.enabled

    @property
    def limits(self) -> str:
        """What to say after an error of numbers that are not finite."""
        return "; numbers of fp16 end at 65504, those of bf16 do not" * self.scaler.enabled

    @property
    def note(self) -> str:
        """What to say of it on the active backend; "" for nothing."""
        active = backend.active()
        if self.name == "float32" or (
            isinstance(active, half.Half) and not (self.name == "tf32" and active.rounds)
        ):
            return ""
        return f"the backend {active.name} has no {self.name}, and computes in float32"
