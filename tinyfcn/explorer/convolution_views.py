"""The same convolution as a sparse matrix, as columns, by counts, and Winograd's way.

A sheet is a table whose cells belong to triples: ``of`` says for each triple where its cell lies,
row · columns + column, or −1; ``shows`` is the grid whose numbers stand in it.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.cpu.conv.winograd import POINTS, matrices
from tinyfcn.backend.sparse import Sparse
from tinyfcn.explorer.settings import State, plain

Array = NDArray[Any]
View = dict[str, Any]


def views(state: State, g: Any, triples: Array, x: Array, w: Array) -> dict[str, View]:
    """All views by name, in the order of their tabs; ``g`` is the room's ``Geometry``."""
    place = np.full(g.padded, -1)  # of an element of padded x in x, or −1
    (ph, pw), (height, width) = g.padding, g.size
    place[:, ph : ph + height, pw : pw + width] = np.arange(prod(g.x)).reshape(g.x)
    met = place.ravel()[triples[:, 0]]
    return {
        "matrix": matrix(state, g, triples, met, w),
        "im2col": im2col(state, g, triples, met),
        "counts": counts(g, triples, met),
        "tiles": tiles(g, triples, met),
        "winograd": winograd(state, g, x, w),
    }


def matrix(state: State, g: Any, triples: Array, met: Array, w: Array) -> View:
    """W with y = W x, and Wᵀ: what the transposed convolution multiplies by."""
    inside, swapped = met >= 0, state["swapped"] == "yes"
    _, weight, row = triples[inside].T
    sparse = Sparse((prod(g.y), prod(g.x)), row, met[inside], w.ravel()[weight])
    (out, n), used = sparse.shape, len(row)
    sheets = []
    for title, (rows, columns), of, lit in (
        ("W", sparse.shape, triples[:, 2] * n + met, not swapped),
        ("Wᵀ", sparse.T.shape, met * out + triples[:, 2], swapped),
    ):
        note = "forward: row = y, column = x" if lit else "input gradient: row = gx, column = gy"
        sheets.append({"title": title, "rows": rows, "columns": columns, "shows": "w", "lit": lit,
                       "of": np.where(inside, of, -1).tolist(), "note": note})  # fmt: skip
    note = "A convolution is a matrix of which most elements are 0, and each weight stands in it "
    note += "many times. Its input gradient multiplies by the transposed matrix, as the transposed "
    note += "convolution does forward: swap the passes, and the other one is the layer."
    if state["into"] == "w":
        note += " The gradient of a weight, here in its places, is summed over all of them."
    facts = [
        ["elements", f"{out} x {n} = {out * n}"],
        ["in use", f"{used}, {used / out / n:.0%}"],
        ["bytes: dense / sparse", f"{out * n * w.itemsize} / {used * (w.itemsize + 8)}"],
    ]
    return _view("Sparse matrix", note, facts, sheets=sheets)


IM2COL = {
    "y": "Each column is a window, laid flat; kernels times this sheet are all outputs in one "
    "matrix product. Its price: a pixel is written again for each window that sees it.",
    "x": "This pass goes the other way (col2im): kernels, transposed, times the other side are "
    "a sheet of products, and what belongs to one pixel is added up; its sums stand here.",
    "w": "Each column is a window, laid flat; the other side times this sheet, transposed, are "
    "the gradients of all weights in one matrix product: a row for each.",
}


def im2col(state: State, g: Any, triples: Array, met: Array) -> View:
    """Windows as columns: one for each output pixel, a row for each weight of a kernel."""
    taps, pixels, outputs = prod(g.w[1:]), prod(g.out), g.y[0] // g.groups
    row = triples[:, 1] // taps // outputs * taps + triples[:, 1] % taps
    once = met.reshape(g.groups, outputs, -1)[:, 0]  # of the first output channel of each group
    padding, rows, size = int((once < 0).sum()), g.groups * taps, np.dtype(state["dtype"]).itemsize
    again = once.size - padding - len(np.unique(once[once >= 0]))
    sheet = {"title": "columns", "rows": rows, "columns": pixels, "shows": "x", "lit": True,
             "of": (row * pixels + triples[:, 2] % pixels).tolist(),
             "note": "row = channel and tap, column = pixel of the other side"}  # fmt: skip
    elements = (f"{rows} x {pixels} = {once.size}", once.size), (again, again), (padding, padding)
    names = "elements", "repeated", "padding", "x itself"
    facts = [[name, f"{text}, {count * size} bytes"] for name, (text, count) in
             zip(names, (*elements, (prod(g.x), prod(g.x))), strict=True)]  # fmt: skip
    return _view("im2col", IM2COL[state["into"]], facts, sheets=[sheet])


def counts(g: Any, triples: Array, met: Array) -> View:
    """How often each number is multiplied."""
    inside = met >= 0
    columns = met[inside], triples[inside, 1], triples[inside, 2]
    tables = [
        [name, name, np.bincount(column, minlength=prod(shape)).reshape(-1, *shape[-2:]).tolist()]
        for name, column, shape in zip("xwy", columns, (g.x, g.w, g.y), strict=True)
    ]
    facts = [["multiplications", f"{len(met)}, {len(met) - inside.sum()} of them by padding"]]
    if g.kernel == (3, 3) and g.stride == (1, 1):
        for m, points in ((2, 16), (4, 36)):
            number = prod(-(-out // m) for out in g.out) * points * prod(g.w[:2])
            facts.append([f"Winograd's F({m} x {m}, 3 x 3)", f"{number} multiplications"])
    note = "How often each number is multiplied. Corners of x count little unless there is "
    note += "padding; the gradient of a weight adds up as many products as stand here."
    return _view("How often", note, facts, tables=tables)


def tiles(g: Any, triples: Array, met: Array) -> View:
    """How often each number of x is read, by windows alone and by tiles of m x m of them, which
    read once what their windows share."""
    note = (
        "Windows overlap, so most of x is read again and again. A tile of outputs, made at once, "
    )
    note += "reads once what its windows share. Point at an output to see its tile and what it "
    note += "reads: dark is what several of its windows have in common."
    row, column = np.divmod(triples[:, 2] % prod(g.out), g.out[1])
    facts, sizes = [], {}
    for m in (1, 2, 4):
        across = -(-g.out[1] // m)
        tile = row // m * across + column // m
        read, by = np.unique(np.stack([met, tile])[:, met >= 0], axis=1)
        each = np.bincount(by, minlength=-(-g.out[0] // m) * across)
        if m == 1:
            alone = each.reshape(g.out)
        words = []
        for k, n in enumerate(each):
            i, j = (m * at for at in divmod(k, across))
            apart = int(alone[i : i + m, j : j + m].sum())
            rows, columns = min(i + m, g.out[0]), min(j + m, g.out[1])
            words.append(f"Outputs [{i}:{rows}, {j}:{columns}] read {n} numbers of x together, one "
                         f"by one {apart}: {apart - n} reads are saved.")  # fmt: skip
        many = np.bincount(read, minlength=prod(g.x)).reshape(g.x)
        name = f"tiles of {m} x {m}" if m > 1 else "windows"
        sizes[str(m)] = {"table": [f"x: {name} that read it", "x", many.tolist()], "words": words}
        facts.append([f"x read by {name}", f"{len(by)} times, {len(by) / prod(g.x):.3g} a pixel"])
    return _view("Tiles", note, facts, sizes=sizes)


def winograd(state: State, g: Any, x: Array, w: Array) -> View:
    """F(2 × 2, 3 × 3) tile by tile: y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A, by the engine's matrices."""
    fits = g.kernel == (3, 3) and g.stride == g.dilation == (1, 1) and state["into"] == "y"
    note = "Four outputs at once: 16 multiplications, where four windows take 36. Its price is "
    note += "additions before and after. Point at an output to see its tile."
    lacks = "Drawn for kernels of 3 x 3 with stride 1 and dilation 1, in the pass into y."
    if not fits:
        return _view("Winograd", lacks, [])
    b, kernel, a = matrices(POINTS[2])
    points = kernel @ w.astype(np.float64) @ kernel.T  # (OC, C / groups, 4, 4)
    rows, columns = (-(-out // 2) for out in g.out)
    border = [(p, max(0, 2 * n + 2 - p - size)) for p, n, size in
              zip(g.padding, (rows, columns), g.size, strict=True)]  # fmt: skip
    whole = np.pad(x.astype(np.float64), [(0, 0), *border])
    more = g.w[1] > 1
    labels = ["x, its first channel" if more else "x", "Bᵀ x B", "G w Gᵀ",
              "product, all channels" if more else "product", "y = Aᵀ product A"]  # fmt: skip
    tiles = []
    for o, i, j in np.ndindex(g.y[0], rows, columns):
        channels = slice(first := o // (g.y[0] // g.groups) * g.w[1], first + g.w[1])
        data = whole[channels, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        moved = b @ data @ b.T
        product = (points[o] * moved).sum(0)
        found = data[0], moved[0], points[o, 0], product, a @ product @ a.T
        tables = [[label, kind, [plain(table.round(6))]]
                  for label, kind, table in zip(labels, "xxwyy", found, strict=True)]  # fmt: skip
        tiles.append([(o * g.out[0] + 2 * i) * g.out[1] + 2 * j, tables])
    constants = [[name, "", [plain(each)]] for name, each in (("Bᵀ", b), ("G", kernel), ("Aᵀ", a))]
    return _view("Winograd", note, [], tables=constants, tiles=tiles)


def _view(title: str, note: str, facts: list[list[str]], **drawn: Any) -> View:
    return {"title": title, "note": note, "facts": facts, **drawn}
