"""Five ways from a pooled map back to a larger one: the calls that run and are shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import tinyfcn.functional as F
from tinyfcn import Tensor
from tinyfcn.explorer.settings import State


class Way(NamedTuple):
    """A function of ``tinyfcn.functional`` with what it is given, and in words what it does forward
    and what it passes back to a pooled cell; ``torch`` where PyTorch's line is another."""

    name: str
    title: str
    function: str
    inputs: tuple[str, ...]
    options: dict[str, Any]
    forward: str
    back: str
    torch: str = ""

    def call(self) -> str:
        """The line of code."""
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"{self.function}({', '.join([*self.inputs, *options])})"

    def run(self, arrays: dict[str, Tensor]) -> Tensor:
        """What the line of code gives."""
        return getattr(F, self.function)(*(arrays[n] for n in self.inputs), **self.options)


def ways(state: State, g: Any) -> list[Way]:
    """All of them; ``g`` is the room's ``Geometry``."""
    restored = state["size"] == "of x"
    window = {"kernel_size": g.kernel, "stride": g.stride, "padding": g.padding}
    sized = {"size": g.size} if restored else {"scale_factor": g.stride}
    laid = {"stride": g.stride, "padding": g.crop, "output_padding": g.extra}
    nails = f"F.conv_transpose2d(y, torch.ones(1, 1, 1, 1), stride={g.stride}, output_padding="
    nails += f"{tuple(s - 1 for s in g.stride)})"
    return [
        Way("unpool", "Max unpooling", "max_unpool2d", ("y", "indices"),
            window | ({"output_size": g.size} if restored else {}),
            "Each value goes back to where it was found; all else is 0.",
            "Gathering by index: a cell gets what stands where its value was put."),
        Way("nails", "Bed of nails", "unpool_bed_of_nails", ("y",), {"factor": g.stride},
            "Each value stands at the top left of its block, whoever won. It has no output_size.",
            "A cell gets what stands at the top left of its block; the rest is lost.", nails),
        Way("nearest", "Nearest", "interpolate", ("y",), sized | {"mode": "nearest"},
            "Each value is repeated over its block.", "A cell gets the sum over its block."),
        Way("bilinear", "Bilinear", "interpolate", ("y",), sized | {"mode": "bilinear"},
            "Each pixel mixes its two neighbours along each axis, by their distance.",
            "A cell gets the sum over all that it was mixed into, by the same weights."),
        Way("transposed", "Transposed convolution", "conv_transpose2d", ("y", "w"), laid,
            "Each value times w is laid down, a stride apart; what overlaps is added up.",
            "A cell gets a convolution of gu with the same kernel, stride and padding."),
    ]  # fmt: skip
