"""The convolution room in a real browser: what is seen is what was computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chromium import Browser, moved
from loops import met

import tinyfcn
import tinyfcn.functional as F

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
    address: decodeURIComponent(location.hash),
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
    found: dict[str, Any] = {n: int(of[n]) for n in of if n not in ("image", "kernel", "dtype")}
    found["into"], *more = seen["pressed"]
    found["swapped"] = bool(more)
    size = numbers(seen["x"]).shape
    return found | {"h": size[1], "w": size[2]}


def is_right(seen: dict[str, Any]) -> dict[str, Any]:
    """Compute what the page should show from the numbers that it shows."""
    about = asked(seen)
    groups = about["groups"]
    x, w, y = (numbers(seen[key]) for key in "xwy")
    w = w.reshape(about["oc"], about["c"] // groups, *w.shape[1:])
    window = [(about[f"{letter}h"], about[f"{letter}w"]) for letter in "spd"]
    assert (w.shape[2], w.shape[3]) == (about["kh"], about["kw"])
    a, b, c = (tinyfcn.tensor(v, requires_grad=True) for v in (x[None], w, y[None]))
    extra = [about.get("eh", 0), about.get("ew", 0)]
    into, names = about["into"], [seen[key]["name"] for key in "xwy"]
    if about["swapped"]:
        assert names == {"x": ["y", "w", "x"], "y": ["gy", "w", "gx"], "w": ["gy", "gw", "x"]}[into]
        out = F.conv_transpose2d(c, b, None, window[0], window[1], extra, groups, window[2])
        back, source = x[None], c
    else:
        assert names == {"y": ["x", "w", "y"], "x": ["gx", "w", "gy"], "w": ["x", "gw", "gy"]}[into]
        out = F.conv2d(a, b, None, *window, groups)
        back, source = y[None], a
    if "y" in names:
        expected, shown = out.numpy(), back
    else:
        out.backward(back)
        expected, shown = (b.grad.numpy(), w) if into == "w" else (
            source.grad.numpy(), source.numpy())  # fmt: skip
    assert expected.shape == shown.shape
    if into == "w" or "y" in names:
        np.testing.assert_allclose(shown, expected, rtol=1e-3, atol=2e-3)
    else:  # the gradient stands where its input would
        np.testing.assert_allclose(numbers(seen[into])[None], expected, rtol=1e-3, atol=2e-3)
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


settled = Browser.ask


@pytest.mark.parametrize("seed", range(4))
def test_random_configurations(room, seed):
    """Five from each seed: sliders are moved at random, and cells pointed at."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        for _ in range(6):
            names = room.run(
                "[...document.querySelectorAll('.controls [name]')].map(e => [e.name, e.matches("
                "'select') ? e.options.length : +e.max + 1]).concat([['pass', 3], ['swap', 2]])"
            )
            name, count = names[rng.integers(len(names))]
            at = int(rng.integers(count))
            if name in ("pass", "swap"):
                what = "'.swap'" if name == "swap" else f"'[data-value={'yxw'[at]}]'"
                room.ask(f"document.querySelector('.passes').querySelector({what}).click()")
            else:
                room.ask(moved(name, at) + f"; window.chosen = {CONTROL % name}")
                assert room.run(f"window.chosen === {CONTROL % name}"), name
        is_right(room.run(SEEN))
        key = "xwy"[rng.integers(3)]
        count = room.run(f"document.querySelectorAll('.stage .tensor.of-{key} td').length")
        index = int(rng.integers(count))
        room.mouse("moved", *room.middle(CELL % (key, index)))
        seen = room.run(SEEN)
        shape = np.array(seen[key]["text"]).shape
        lit(seen, key, tuple(map(int, np.unravel_index(index, shape))))


def test_pins_keys_and_escape(room):
    room.click(CELL % ("y", 5))
    assert "at=y.5" in room.run("location.hash")
    room.mouse("moved", *room.middle(CELL % ("x", 0)))
    lit(room.run(SEEN), "y", (0, 1, 1))  # pinned: pointing elsewhere changes nothing
    room.press("Escape")
    assert "at" not in room.run("location.hash")
    assert all(marked(room.run(SEEN)[key]) == (set(), set()) for key in "xwy")
    room.run(f"document.activeElement.blur(); ({CELL % ('y', 5)}).focus()")
    lit(room.run(SEEN), "y", (0, 1, 1))
    for key, place in (
        ("ArrowRight", (0, 1, 2)),
        ("ArrowDown", (0, 2, 2)),
        ("Home", (0, 2, 0)),
        ("ArrowLeft", (0, 2, 0)),
        ("End", (0, 2, 3)),
        ("ArrowUp", (0, 1, 3)),
    ):
        room.press(key)
        lit(room.run(SEEN), "y", place)
    seen = room.run(SEEN)
    assert seen["sum"].startswith("y[0, 1, 3] = ") and "sum of 9 products" in seen["sum"]
    terms = room.run("[...document.querySelectorAll('.product')].map(e => e.textContent)")
    products = [
        np.prod([float(n.strip("()").replace(MINUS, "-")) for n in t.split("·")]) for t in terms
    ]
    assert sum(products) == pytest.approx(numbers(seen["y"])[0, 1, 3])
    room.press(" ")
    assert room.run("location.hash").endswith("at=y.7")
    address = room.run("location.href")
    room.load(address)  # a link shows exactly this
    lit(room.run(SEEN), "y", (0, 1, 3))


def test_tab_alone_reaches_everything(room):
    """Each plane, slider, button and choice has its turn, and only one cell of a plane has."""
    reached, wanted = room.tab()
    assert reached >= wanted
    cells = room.run("document.querySelectorAll('.stage td[tabindex=\"0\"]').length")
    assert cells == 3


def test_numbers_are_typed_and_dragged(room):
    room.run(f"({CELL % ('x', 7)}).focus()")
    room.enter("-2.5")
    seen = room.run(SEEN)
    is_right(seen)
    assert numbers(seen["x"])[0, 1, 1] == -2.5 and "x=0.1.1:-2.5" in seen["address"]
    assert room.run(f"document.activeElement === {CELL % ('x', 7)}")
    room.press("7")
    room.press("Escape")
    assert numbers(room.run(SEEN)["x"])[0, 1, 1] == -2.5
    x, y = room.middle(CELL % ("w", 0))
    old = numbers(room.run(SEEN)["w"])[0, 0, 0]
    room.mouse("moved", x, y)
    room.mouse("pressed", x, y)
    room.drag(x, y - 24)
    room.mouse("released", x, y - 24)
    room.until(f"({CELL % ('w', 0)}).textContent !== '{old:g}'.replace('-', '{MINUS}')")
    seen = room.run(SEEN)
    is_right(seen)
    assert numbers(seen["w"])[0, 0, 0] == old + 2
    room.ask("document.querySelector('[data-value=reset]').click()")
    assert room.run("location.hash") == "#convolution"
    room.run(f"({CELL % ('y', 0)}).focus()")  # a result is not typed over
    room.press("5")
    assert room.run("document.querySelector('.stage td input')") is None


def test_steps_gather_and_scatter(room):
    room.ask("document.querySelector('[data-value=w]').click()")
    room.ask("document.querySelector('[data-value=y]').click()")
    full = numbers(room.run(SEEN)["y"])
    room.run(moved("step", 4))
    seen = room.run(SEEN)
    texts = np.array(seen["y"]["text"]).ravel()
    assert [bool(text) for text in texts] == [True] * 5 + [False] * 11
    lit(seen, "y", (0, 1, 0))
    room.run("document.querySelector('[data-value=scatter]').click()")
    seen = room.run(SEEN)
    lit(seen, "x", (0, 0, 4))
    x, w = numbers(seen["x"]), numbers(seen["w"])
    x.flat[5:] = 0
    expected = F.conv2d(tinyfcn.tensor(x[None]), tinyfcn.tensor(w[None])).numpy()[0]
    np.testing.assert_allclose(numbers(seen["y"]), expected, atol=1e-3)
    room.run("document.querySelector('[aria-label=\"Step back\"]').click()")
    assert "step=3" in room.run("location.hash")
    room.run(moved("speed", 4))
    room.run("document.querySelector('[aria-label=Play]').click()")
    room.until("document.querySelector('[name=step]').value === '35'")
    np.testing.assert_array_equal(numbers(room.run(SEEN)["y"]), full)
    room.until("!!document.querySelector('[aria-label=Play]')")


def test_swap_changes_names_and_keeps_numbers(room):
    before, gradient = room.run(SEEN), "Weight gradient\nx, gy → gw"
    tabs = "[...document.querySelectorAll('.passes .segments button')].map(e => e.innerText)"
    assert room.run(tabs) == ["Forward\nx → y", "Input gradient\ngy → gx", gradient]
    lit_matrix = "document.querySelector('.sheet.lit figcaption b').textContent"
    assert room.run(lit_matrix) == "W"
    room.ask("document.querySelector('.swap').click()")
    after = room.run(SEEN)
    assert [after[key]["text"] for key in "xwy"] == [before[key]["text"] for key in "xwy"]
    assert [after[key]["name"] for key in "xwy"] == ["gy", "w", "gx"]
    assert room.run(tabs) == ["Input gradient\ngy → gx", "Forward\nx → y", gradient]
    assert room.run(lit_matrix) == "Wᵀ"


def test_sheets_are_linked_with_the_grids(room):
    places = {
        "matrix": (5, 7, {"x": (0, 1, 1), "w": (0, 0, 0), "y": (0, 1, 1)}),
        "im2col": (4, 6, {"x": (0, 2, 3), "w": (0, 1, 1), "y": (0, 1, 2)}),
    }
    for view, (row, column, expected) in places.items():
        room.run(f"document.querySelector('[data-value={view}]').click()")
        canvas = "document.querySelector('.sheet.lit canvas')"
        room.middle(canvas)
        left, top, width = room.run(
            f"(b => [b.left, b.top, b.width])({canvas}.getBoundingClientRect())"
        )
        cell = width // (36 if view == "matrix" else 16)
        room.mouse("moved", left + (column + 0.5) * cell, top + (row + 0.5) * cell)
        seen = room.run(SEEN)
        assert {key: marked(seen[key])[0] for key in "xwy"} == {k: {p} for k, p in expected.items()}


def test_an_address_that_makes_no_sense(server, browser):
    browser.go(f"{server.url}#convolution?kh=9")
    said = browser.run("document.getElementById('problem').textContent")
    assert said.startswith("convolution: kh must be one of 1, 2, 3, 4, 5, got '9'")
    assert browser.run("document.getElementById('room').hidden")
    browser.ask("document.querySelector('#problem a').click()")
    assert browser.run("document.getElementById('problem').hidden")
    is_right(browser.run(SEEN))
    assert all("400" in line for line in browser.told)  # the browser itself tells of these
    browser.told.clear()
    for odd in (
        "#nowhere",
        "#convolution?%61t=y.1",
        "#convolution?at=q.1&step=x&view=z&paint=1&speed=99",
    ):
        browser.go(server.url + odd)
        is_right(browser.run(SEEN))


def test_slider_is_answered_at_once(room):
    """At the median under 100 ms, from the move to what is drawn."""
    places = 0, 1, 2, 1, 0, 2, 1, 2, 0, 1, 2
    assert room.fastest("kh", places) < 250  # a machine that is busy with other tests


def test_the_folder_of_files(browser, folder):
    here = (folder / "index.html").as_uri()
    for query in ("", "?into=x&swapped=yes", "?kh=2&kw=2&sh=2&sw=2&into=w"):
        browser.go(f"{here}#convolution{query}")
        is_right(browser.run(SEEN))
    browser.go(f"{here}#convolution")
    of = "[...document.querySelectorAll('.controls input')].map(e => [e.name, +e.max])"
    for name, most in browser.run(of):
        for at in (0, most):
            browser.go(f"{here}#convolution")
            browser.slide(name, at)
            assert browser.run("document.getElementById('problem').hidden"), (name, at)
            is_right(browser.run(SEEN))
    browser.run(f"({CELL % ('x', 0)}).focus()")
    browser.press("5")
    assert browser.run("document.querySelector('.stage td input')") is None
