"""The convolution room in a real browser: what is seen is what was computed."""

from __future__ import annotations

from collections import Counter
from statistics import median
from time import perf_counter

import numpy as np
import pytest
from chromium import Browser, moved
from convolution_seen import (
    CELL,
    CONTROL,
    MINUS,
    SEEN,
    asked,
    is_right,
    lit,
    marked,
    numbers,
    passed,
)

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer import convolution
from tinyfcn.explorer.static import address


@pytest.mark.parametrize("seed", range(4))
def test_random_configurations(room, seed):
    """Five from each seed: sliders are moved at random, then all that can be done is done."""
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
        walked(room, rng, "xwy"[rng.integers(3)])
        stepped(room, rng)
        changed(room, rng)


def walked(room: Browser, rng: np.random.Generator, key: str) -> None:
    """Point at a cell, hold on to it, let it go, and walk on by a key."""
    shape = np.shape(room.run(SEEN)[key]["text"])
    place = tuple(int(rng.integers(n)) for n in shape)
    index = int(np.ravel_multi_index(place, shape))
    room.mouse("move", *room.middle(CELL % (key, index)))
    lit(room.run(SEEN), key, place)
    room.click(CELL % (key, index))
    assert f"at={key}.{index}" in room.address()
    room.mouse("move", 0, 0)
    lit(room.run(SEEN), key, place)
    room.press("Escape")
    assert "at=" not in room.address()
    room.run(f"document.activeElement.blur(); ({CELL % (key, index)}).focus()")
    plane, row, column = place
    arrow, step = (("ArrowDown", (1, 0)), ("ArrowRight", (0, 1)))[rng.integers(2)]
    room.press(arrow)
    lit(room.run(SEEN), key, (plane, min(row + step[0], shape[1] - 1),
                              min(column + step[1], shape[2] - 1)))  # fmt: skip
    room.run("document.activeElement.blur()")


def stepped(room: Browser, rng: np.random.Generator) -> None:
    """Paint a part of the result, from the input and from the output."""
    into = asked(room.run(SEEN))["into"]
    room.run("document.querySelector('[data-value=scatter]').click()")
    last = int(rng.integers(room.run("+document.querySelector('[name=step]').max + 1")))
    room.run(moved("step", last))
    seen = room.run(SEEN)
    part = passed(seen, ("x" if into == "y" else "y", last))
    np.testing.assert_allclose(numbers(seen[into]), part, rtol=1e-3, atol=2e-3)
    room.run("document.querySelector('[data-value=gather]').click()")
    last = int(rng.integers(room.run("+document.querySelector('[name=step]').max + 1")))
    room.run(moved("step", last))
    seen = room.run(SEEN)
    kinds = np.array(seen[into]["kind"])
    texts = np.array(seen[into]["text"])[np.char.find(kinds, "pad") < 0].reshape(len(kinds), -1)
    assert (texts != "").all(0).tolist() == [i <= last for i in range(texts.shape[1])]
    room.press("Escape")
    room.run("page.look({step: ''})")


def changed(room: Browser, rng: np.random.Generator) -> None:
    """Type a number into each array that is read, and drag one."""
    into = asked(room.run(SEEN))["into"]
    for key in sorted({*"xwy"} - {into}):
        inside = room.run(
            f"[...document.querySelectorAll('.stage .tensor.of-{key} td')]"
            ".flatMap((e, i) => e.matches('.pad') ? [] : [i])"
        )
        index = inside[rng.integers(len(inside))]
        room.run(f"({CELL % (key, index)}).focus()")
        value = int(rng.integers(-9, 10))
        room.enter(str(value))
        assert room.run(f"({CELL % (key, index)}).textContent") == str(value).replace("-", MINUS)
        is_right(room.run(SEEN))
    x, y = room.middle(CELL % (key, index))
    room.mouse("move", x, y)
    room.mouse("down")
    room.mouse("move", x, y - 12)
    room.mouse("up")
    step = 0.05 if room.run(f"page.answer.grids.{key}.picture") else 0.5
    shown = f"{value + 2 * step:g}".replace("-", MINUS)
    room.until(f"({CELL % (key, index)}).textContent === '{shown}' && !page.asking")
    is_right(room.run(SEEN))
    room.run("document.activeElement.blur()")
    room.mouse("move", 0, 0)


def test_pins_keys_and_escape(room):
    room.click(CELL % ("y", 5))
    assert "at=y.5" in room.address()
    room.mouse("move", *room.middle(CELL % ("x", 0)))
    lit(room.run(SEEN), "y", (0, 1, 1))  # pinned: pointing elsewhere changes nothing
    room.press("Escape")
    assert "at" not in room.address()
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
    assert room.address().endswith("at=y.7")
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
    room.mouse("move", x, y)
    room.mouse("down")
    room.mouse("move", x, y - 24)
    room.mouse("up")
    room.until(f"({CELL % ('w', 0)}).textContent !== '{old:g}'.replace('-', '{MINUS}')")
    seen = room.run(SEEN)
    is_right(seen)
    assert numbers(seen["w"])[0, 0, 0] == old + 2
    room.ask("document.querySelector('[data-value=reset]').click()")
    assert room.address() == "#convolution"
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
    assert "step=3" in room.address()
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
        room.mouse("move", left + (column + 0.5) * cell, top + (row + 0.5) * cell)
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
    times = []
    for at in (0, 1, 2, 1, 0, 2, 1, 2, 0, 1, 2):
        start = perf_counter()
        room.slide("kh", at)
        times.append(perf_counter() - start)
    assert median(times) < 0.25  # a machine that is busy with other tests


def test_tiles_share_what_their_windows_read(room):
    """By the mouse and by keys, for tiles of one, of 2 x 2 and of 4 x 4 outputs."""
    room.run("document.querySelector('[data-value=tiles]').click()")
    on = (
        "[...document.querySelectorAll('.stage .of-%s td')]"
        ".flatMap((e, i) => /%s/.test(e.className) ? [i] : [])"
    )
    for m, first in ((2, (2, 2)), (4, (0, 0)), (1, (2, 3))):
        room.run(f"document.querySelector('.views [data-value=\"{m}\"]').click()")
        if m == 4:
            room.run(f"({CELL % ('y', 11)}).focus()")
        else:
            room.mouse("move", *room.middle(CELL % ("y", 11)))
        (i, j), size = first, m
        window = Counter(
            (a + k) * 6 + b + n for a in range(i, i + size) for b in range(j, j + size)
            for k in range(3) for n in range(3)
        )  # fmt: skip
        assert room.run(on % ("y", "on|main")) == [
            4 * a + b for a in range(i, i + m) for b in range(j, j + m)
        ]
        assert room.run(on % ("x", "on|many")) == sorted(window)
        assert room.run(on % ("x", "many")) == sorted(c for c, n in window.items() if n > 1)
        said = room.run("document.querySelector('.views [role=status]').textContent")
        assert f"read {len(window)} numbers of x together, one by one {9 * m * m}: " in said
        assert room.run("document.querySelector('.sum').innerText").startswith("y[0, 2, 3] = ")
        room.run("document.activeElement.blur()")
        room.mouse("move", 0, 0)
    assert room.run("document.querySelectorAll('.views table').length") == 1
    assert "tile=1&view=tiles" in room.address()


@pytest.fixture(scope="module", autouse=True)
def some():
    """A part of the answers that the folder has: the first steps, and a few of all."""
    found = [s for i, s in enumerate(convolution.states()) if len(s) < 3 or i % 20 == 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "states", lambda: iter(found))
        yield found


def test_the_folder_of_files(browser, folder, some):
    here = (folder / "index.html").as_uri()
    for state in [*some[::25], some[-1]]:
        browser.go(f"{here}#convolution?{address(state)}")
        is_right(browser.run(SEEN))
    browser.go(f"{here}#convolution")
    of = "[...document.querySelectorAll('.controls input')].map(e => [e.name, +e.max])"
    for name, most in browser.run(of):
        for at in {0, most}:
            browser.go(f"{here}#convolution")
            browser.slide(name, at)
            assert browser.run("document.getElementById('problem').hidden"), (name, at)
            is_right(browser.run(SEEN))
    browser.run(f"({CELL % ('x', 0)}).focus()")
    browser.press("5")
    assert browser.run("document.querySelector('.stage td input')") is None
