"""The convolution room as a reader sees it, and what there is to see, by plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from loops import met, summed

# What a reader sees of each grid, and of the sliders.
SEEN = """(() => {
  const grid = key => {
    const all = [...document.querySelectorAll(`.stage .tensor.of-${key} table`)];
    const rows = table => [...table.rows].map(row => [...row.cells]);
    const cells = all.map(table => rows(table));
    return {
      name: document.querySelector(`.stage .of-${key} h3 b`).textContent,
      text: cells.map(plane => plane.map(row => row.map(cell => cell.textContent))),
      kind: cells.map(plane => plane.map(row => row.map(cell => cell.className))),
      label: cells.map(plane => plane.map(row => row.map(cell => cell.getAttribute("aria-label")))),
    } };
  const values = [...document.querySelectorAll(".controls [name]")].map(
    e => [e.name, e.matches("select") ? e.value : e.ariaValueText]);
  return {
    x: grid("x"), w: grid("w"), y: grid("y"), controls: Object.fromEntries(values),
    pressed: [...document.querySelectorAll(".passes [aria-pressed=true]")].map(
      e => e.dataset.value),
    sum: document.querySelector(".sum").innerText,
    address: decodeURIComponent((settleAddress(), location.hash)),
  } })()"""
MINUS = "\u2212"
CONTROL = (
    "(e => e.matches('select') ? e.value : e.nextElementSibling.textContent)"
    "(document.querySelector('.controls [name=%s]'))"
)
CELL = "document.querySelectorAll('.stage .tensor.of-%s td')[%d]"


def numbers(grid: dict[str, Any], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """What stands in the cells, without padding."""
    kinds, texts = np.array(grid["kind"]), np.array(grid["text"])
    inside = np.array([["pad" not in kind.split() for kind in row] for row in kinds[0]])
    rows, columns = inside.any(1), inside.any(0)
    values = texts[:, rows][:, :, columns]
    return np.vectorize(lambda text: float(text.replace(MINUS, "-")))(values)


def asked(seen: dict[str, Any]) -> dict[str, int | str]:
    """The convolution that is shown, by the size of its x."""
    of = seen["controls"]
    found: dict[str, Any] = {name: int(of[name]) for name in of if of[name].isdigit()}
    for letter in "kspd":  # height and width together
        found.setdefault(f"{letter}w", found[f"{letter}h"])
    found["into"], *more = seen["pressed"]
    found["swapped"] = bool(more)
    size = numbers(seen["x"]).shape
    return found | {"h": size[1], "w": size[2]}


def passed(seen: dict[str, Any], upto: tuple[str, int] | None = None) -> np.ndarray:
    """The pass that is shown, by plain loops over the numbers that are shown; maybe only ``upto``
    a pixel of a grid."""
    about = asked(seen)
    into, pad = about["into"], [(0, 0), *((about[f"p{a}"],) * 2 for a in "hw")]
    x, w, y = (numbers(seen[key]) if key != into or not upto else np.zeros(
        np.shape(seen[key]["text"])) for key in "xwy")  # fmt: skip
    if x.shape[1] == about["h"]:
        x = np.pad(x, pad)
    split = about["oc"], about["c"] // about["groups"]
    triples = met(about)
    if upto:
        key, last = upto
        at, (ph, pw), columns = "xwy".index(key), [p if key == "x" else 0 for p in (
            about["ph"], about["pw"])], (about["w"] if key == "x" else y.shape[2])  # fmt: skip
        triples = [t for t in triples if 0 <= t[at][2] - pw < columns and
                   (t[at][1] - ph) * columns + t[at][2] - pw <= last]  # fmt: skip
    total = summed(into, x, w.reshape(*split, *w.shape[1:]), y, triples)
    if into == "x":
        (top, left), (h, v) = (about["ph"], about["pw"]), (about["h"], about["w"])
        return total[:, top : top + h, left : left + v]
    return total.reshape(-1, *total.shape[-2:])


def is_right(seen: dict[str, Any]) -> dict[str, Any]:
    """Compute what the page should show from the numbers that it shows."""
    about = asked(seen)
    into = about["into"]
    forward = {"y": ["x", "w", "y"], "x": ["gx", "w", "gy"], "w": ["x", "gw", "gy"]}
    swapped = {"x": ["y", "w", "x"], "y": ["gy", "w", "gx"], "w": ["gy", "gw", "x"]}
    names = (swapped if about["swapped"] else forward)[into]
    assert [seen[key]["name"] for key in "xwy"] == names
    np.testing.assert_allclose(numbers(seen[into]), passed(seen), rtol=1e-3, atol=2e-3)
    for key in "xwy":  # what a screen reader reads
        for plane, labels in zip(seen[key]["text"], seen[key]["label"], strict=True):
            for row, names in zip(plane, labels, strict=True):
                assert all(name.endswith(f"{'' if not text else ' ' + text}") for text, name in
                           zip(row, names, strict=True))  # fmt: skip
    return about


def marked(grid: dict[str, Any]) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """Which cells are lit, and which is the one they belong to."""
    kinds = np.array(grid["kind"])
    places = [*np.ndindex(kinds.shape)]
    return tuple({p for p in places if kind in kinds[p].split()} for kind in ("on", "main"))


def lit(seen: dict[str, Any], key: str, place: tuple[int, ...]) -> None:
    """Exactly the cells are lit that are multiplied with one."""
    about = asked(seen)
    split = about["c"] // about["groups"]
    planes = {"x": lambda p: p, "y": lambda p: p, "w": lambda p: (p[0] * split + p[1], *p[2:])}
    all_of = [
        {k: planes[k](p) for k, p in zip("xwy", triple, strict=True)} for triple in met(about)
    ]
    meets = [triple for triple in all_of if triple[key] == place]
    for other in "xwy":
        on, main = marked(seen[other])
        if other == key:
            assert main == {place}
            assert on - main == set()
        else:
            assert (on, main) == ({triple[other] for triple in meets}, set())
