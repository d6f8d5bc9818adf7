"""What the convolution room says in words, formulas and code."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinyfcn.explorer.grids import minus, program
from tinyfcn.explorer.settings import State, plain


def names(state: State) -> dict[str, tuple[str, str]]:
    """How the op calls its three arrays: a name, and what it is."""
    into, swapped = state["into"], state["swapped"] == "yes"
    read, written = ("x", "input"), ("y", "output")
    passed, grad = ("gy", "output gradient"), ("gx", "input gradient")
    if swapped:
        x, y = written if into == "x" else passed, grad if into == "y" else read
    else:
        x, y = grad if into == "x" else read, written if into == "y" else passed
    return {"x": x, "w": ("gw", "weight gradient") if into == "w" else ("w", "weight"), "y": y}


def formulas(state: State, g: Any) -> list[list[str]]:
    """The size of the output: the rule, and for each axis its numbers and what they make."""
    swapped = state["swapped"] == "yes"
    rule = "O = (N - 1)·S - 2·P + D·(K - 1) + output padding + 1" if swapped else (
        "O = ⌊(N + 2·P - D·(K - 1) - 1) / S⌋ + 1")  # fmt: skip
    facts = [["size", rule, ""]]
    windows = zip(g.size, g.kernel, g.stride, g.padding, g.dilation, g.out, g.extra, strict=True)
    for (name, part), (n, k, s, p, d, out, extra) in zip(
        (("height", "row"), ("width", "column")), windows, strict=True
    ):
        if swapped:
            least, most = n - extra, n - extra + s - 1
            facts.append([
                name, f"= ({out} - 1)·{s} - 2·{p} + {d}·({k} - 1) + {extra} + 1",
                f"= {n}" + f", one of {least} to {most} that a convolution maps to {out}" * (s > 1),
            ])  # fmt: skip
        else:
            span = n + 2 * p - d * (k - 1) - 1
            last = f"the last {part}" if extra == 1 else f"the last {extra} {part}s"
            facts.append([
                name, f"= ⌊({n} + 2·{p} - {d}·({k} - 1) - 1) / {s}⌋ + 1",
                f"= ⌊{span} / {s}⌋ + 1, and {span} = {span // s}·{s} + {extra}",
                f"= {out}" + f"; no window reaches {last}" * (extra > 0),
            ])  # fmt: skip
    return [[*map(minus, fact)] for fact in facts]


def code(
    state: State, g: Any, x: NDArray[Any], w: NDArray[Any], gy: NDArray[Any]
) -> dict[str, str]:
    """Programs that print the numbers of the pass."""
    swapped, into = state["swapped"] == "yes", state["into"]
    read, back = (gy, x) if swapped else (x, gy)

    def made(name: str, array: NDArray[Any], graph: bool) -> tuple[str, str]:
        dtype, more = state["dtype"], ", requires_grad=True" if graph else ""
        line = f"{name} = {{0}}.tensor({plain(array)}, dtype=%s{more})"
        return line % f'"{dtype}"', line % f"torch.{dtype}"

    gradient = names(state)["x" if swapped else "y"][0] == "gy"
    shape = [f"stride={g.stride}", f"padding={g.padding}"]
    shape += [f"output_padding={g.extra}"] * swapped
    shape += [f"groups={g.groups}", f"dilation={g.dilation}"]
    op = "conv_transpose2d" if swapped else "conv2d"
    call = f"y = F.{op}(x, w, {', '.join(shape)})"
    given = made("x", read[None], gradient and into != "w"), made("w", w, into == "w")
    if not gradient:
        return program([*given, call, "print(y)"])
    shown = "w.grad" if into == "w" else "x.grad"
    gradient_of_y = made("gy", back[None], False)
    return program([*given, call, gradient_of_y, "y.backward(gy)", f"print({shown})"])
