"""What the convolution room says in words, formulas and code."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinyfcn.explorer.settings import State, plain

AXES = (("height", "row"), ("width", "column"))


def names(state: State) -> dict[str, dict[str, str]]:
    """How the op calls its three arrays: a name, and what it is."""
    into, swapped = state["into"], state["swapped"] == "yes"
    read, written = ("x", "input"), ("y", "output")
    passed, grad = ("gy", "output gradient"), ("gx", "input gradient")
    if swapped:
        x, y = written if into == "x" else passed, grad if into == "y" else read
    else:
        x, y = grad if into == "x" else read, written if into == "y" else passed
    w = ("gw", "weight gradient") if into == "w" else ("w", "weight")
    return {key: {"name": n, "what": what} for key, (n, what) in (("x", x), ("w", w), ("y", y))}


def formulas(state: State, g: Any) -> dict[str, Any]:
    """The size of the output: the formula, and for each axis its numbers and what they make."""
    swapped, axes = state["swapped"] == "yes", []
    rule = "O = (N - 1)·S - 2·P + D·(K - 1) + output padding + 1" if swapped else (
        "O = ⌊(N + 2·P - D·(K - 1) - 1) / S⌋ + 1")  # fmt: skip
    numbers = zip(g.size, g.kernel, g.stride, g.padding, g.dilation, g.out, g.extra, strict=True)
    for (name, part), (n, k, s, p, d, out, extra) in zip(AXES, numbers, strict=True):
        if swapped:
            lines = [f"({out} - 1)·{s} - 2·{p} + {d}·({k} - 1) + {extra} + 1"]
            result = f"{n}"
            if s > 1:
                result += (
                    f", one of {n - extra} to {n - extra + s - 1} that a convolution maps to {out}"
                )
        else:
            span = n + 2 * p - d * (k - 1) - 1
            lines = [f"⌊({n} + 2·{p} - {d}·({k} - 1) - 1) / {s}⌋ + 1",
                     f"⌊{span} / {s}⌋ + 1, and {span} = {span // s}·{s} + {extra}"]  # fmt: skip
            last = f"the last {part}" if extra == 1 else f"the last {extra} {part}s"
            result = f"{out}; no window reaches {last}" if extra else f"{out}"
        axes.append([name, [line.replace("-", "\u2212") for line in lines], result])
    return {"rule": rule.replace("-", "\u2212"), "axes": axes}


def code(
    state: State, g: Any, x: NDArray[Any], w: NDArray[Any], gy: NDArray[Any]
) -> dict[str, str]:
    """Programs that print the numbers of the pass."""
    return {"tinyfcn": _program("tinyfcn", "tinyfcn.functional", state, g, x, w, gy),
            "PyTorch": _program("torch", "torch.nn.functional", state, g, x, w, gy)}  # fmt: skip


def _program(
    library: str, functional: str, state: State, g: Any,
    x: NDArray[Any], w: NDArray[Any], gy: NDArray[Any],
) -> str:  # fmt: skip
    swapped, into = state["swapped"] == "yes", state["into"]
    dtype = f"torch.{state['dtype']}" if library == "torch" else f'"{state["dtype"]}"'
    called = {key: each["name"] for key, each in names(state).items()}
    read, back = (gy, x) if swapped else (x, gy)

    def made(name: str, array: NDArray[Any], graph: bool) -> str:
        more = ", requires_grad=True" if graph else ""
        return f"{name} = {library}.tensor({plain(array)}, dtype={dtype}{more})"

    gradient = called["x" if swapped else "y"] == "gy"
    shape = [f"stride={g.stride}", f"padding={g.padding}"]
    shape += [f"output_padding={g.extra}"] * swapped
    shape += [f"groups={g.groups}", f"dilation={g.dilation}"]
    op = "conv_transpose2d" if swapped else "conv2d"
    lines = [f"import {library}", f"import {functional} as F", ""]
    lines += [made("x", read[None], gradient and into != "w"), made("w", w, into == "w")]
    lines += [f"y = F.{op}(x, w, {', '.join(shape)})"]
    if gradient:
        lines += [made("gy", back[None], False), "y.backward(gy)"]
    shown = "y" if not gradient else "w.grad" if into == "w" else "x.grad"
    return "\n".join([*lines, f"print({shown})", ""])
