"""Five ways from a pooled map back to a larger one: the calls that run and are shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import tinyfcn.functional as F
from tinyfcn import Tensor
from tinyfcn.explorer.settings import State


class Way(NamedTuple):
    """A function of ``tinyfcn.functional`` with what it is given; ``torch`` where PyTorch has it
    under another name."""

    name: str
    title: str
    function: str
    inputs: tuple[str, ...]
    options: dict[str, Any]
    torch: str = ""

    def call(self) -> str:
        """The line of code."""
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"{self.function}({', '.join([*self.inputs, *options])})"


def run(way: Way, arrays: dict[str, Tensor]) -> Tensor:
    """What the line of code gives."""
    return getattr(F, way.function)(*(arrays[name] for name in way.inputs), **way.options)


def ways(state: State, g: Any) -> list[Way]:
    """All of them; ``g`` is the room's ``Geometry``."""
    restored = state["size"] == "of x"
    window = {"kernel_size": g.kernel, "stride": g.stride, "padding": g.padding}
    sized = {"size": g.size} if restored else {"scale_factor": g.stride}
    laid = {"stride": g.stride, "padding": g.crop, "output_padding": g.extra}
    nails = f"conv_transpose2d(y, torch.ones(1, 1, 1, 1), stride={g.stride}, output_padding="
    nails += f"{tuple(s - 1 for s in g.stride)})"
    return [
        Way("unpool", "Max unpooling", "max_unpool2d", ("y", "indices"),
            window | ({"output_size": g.size} if restored else {})),
        Way("nails", "Bed of nails", "unpool_bed_of_nails", ("y",), {"factor": g.stride}, nails),
        Way("nearest", "Nearest", "interpolate", ("y",), sized | {"mode": "nearest"}),
        Way("bilinear", "Bilinear", "interpolate", ("y",), sized | {"mode": "bilinear"}),
        Way("transposed", "Transposed convolution", "conv_transpose2d", ("y", "w"), laid),
    ]  # fmt: skip
