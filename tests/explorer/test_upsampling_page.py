"""The upsampling room in a real browser: what is seen is what plain loops say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from groups import MINUS, SEEN, cell, entered, labelled, lit, numbers, pointed, settled, typed
from test_convolution_page import moved
from upsampling_loops import applied, fits, pairs, ways, windows, winners

from tinyfcn.explorer import static, upsampling

MAPS = ("map-count", "map-bilinear", "map-random")
FORWARD, GRADIENT = (
    f"document.querySelector('[data-value={way}]').click()" for way in ("forward", "gradient")
)


def shown(seen: dict[str, Any], key: str) -> np.ndarray:
    return numbers(seen, key)[0]


def is_right(seen: dict[str, Any], x: np.ndarray) -> dict[str, Any]:
    """Each number of the page is that of plain loops over x and what else can be changed."""
    state, grids, forward = seen["state"], seen["grids"], seen["tab"] == "forward"
    won = winners(state, x)
    flat = [r * x.shape[1] + c for r, c in won.values()]
    np.testing.assert_array_equal(shown(seen, "indices").ravel(), flat)
    looks = [i for i, look in enumerate(grids["x"]["look"]) if look == "winner"]
    assert looks == sorted({padded(state, place) for place in won.values()})
    y = {p: x[place] for p, place in won.items()}
    assert shown(seen, "x").shape == x.shape
    if forward:
        np.testing.assert_allclose(shown(seen, "x"), x)
        np.testing.assert_allclose(shown(seen, "y").ravel(), [*y.values()])
        assert {grids["x"]["text"][i] for i in lit(seen, "x", "pad")} <= {f"{MINUS}∞"}
    else:
        gx = np.zeros(x.shape)
        for place, gy in zip(won.values(), shown(seen, "y").ravel(), strict=True):
            gx[place] += gy
        np.testing.assert_allclose(shown(seen, "x"), gx)
    kernel = shown(seen, "kernel")
    for name, made in ways(state, won, kernel).items():
        if made is None:
            assert any("max_unpool2d: " in text for text in seen["groups"]) and name not in grids
            continue
        size, links = made
        if forward:
            np.testing.assert_allclose(
                shown(seen, name), applied(links, size, y), rtol=2e-3, atol=2e-2, err_msg=name
            )
            continue
        gu, back = shown(seen, name), dict.fromkeys(won, 0.0)
        assert gu.shape == size
        for (p, place), weight in links.items():
            back[p] += gu[place] * weight
        passed = shown(seen, f"{name}-back").ravel()
        np.testing.assert_allclose(passed, [*back.values()], rtol=2e-3, atol=2e-2, err_msg=name)
    taps = pairs(state)["t"]
    for name, w in (("count", np.ones(taps)), (state["weights"], kernel)):
        size, links = ways(state, won, w)["transposed"]
        expected = applied(links, size, dict.fromkeys(won, 1.0))
        np.testing.assert_allclose(shown(seen, f"map-{name}"), expected, rtol=2e-3, atol=2e-3)
    labelled(seen)
    return seen


def padded(state: dict[str, str], place: tuple[int, int]) -> int:
    """The cell of padded x at a place of x."""
    of = pairs(state)
    return (place[0] + of["p"][0]) * (of[""][1] + 2 * of["p"][1]) + place[1] + of["p"][1]


def linked(seen: dict[str, Any], p: tuple[int, int], x: np.ndarray) -> None:
    """Exactly what belongs to a pooled cell is lit: its window, and what each way makes of it."""
    state, won = seen["state"], winners(seen["state"], x)
    index = [*won].index(p)
    padding = {i for i, kind in enumerate(seen["grids"]["x"]["kind"]) if "pad" in kind.split()}
    assert lit(seen, "x") - padding == {padded(state, place) for place in windows(state)[p]}
    assert lit(seen, "y") == lit(seen, "indices") == {index}
    for name, made in ways(state, won, shown(seen, "kernel")).items():
        if made:
            size, links = made
            to = {r * size[1] + c for (q, (r, c)), weight in links.items() if q == p and weight}
            assert lit(seen, name) == to, name
            if name == "transposed":
                assert all(lit(seen, other) == to for other in MAPS)


@pytest.fixture
def room(server, browser):
    browser.go(f"{server.url}#upsampling")
    return browser


def drawn(rng: np.random.Generator) -> dict[str, str]:
    """Settings that make sense, with numbers changed by hand."""
    while True:
        state = {
            name: str(rng.choice(values).item())
            for name, (_, values) in upsampling.SETTINGS.items()
            if values is not None and name != "pass"
        }
        if fits(state):
            break
    places = rng.integers(0, 6, (3, 2))
    edits = (f"{r}.{c}:{v}" for (r, c), v in zip(places, rng.integers(-9, 10, 3), strict=True))
    weight = f"{rng.integers(2)}.{rng.integers(2)}:{rng.integers(-9, 9) / 4}"
    return state | {"x": ",".join(edits), "weight": weight, "gy": "0.0:3", "gu": "0.1:-2,1.0:0.5"}


def test_twenty_random_configurations(room):
    """Each from a link; then a slider is moved, a pooled cell pointed at, and the pass changed."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        entered(room, "upsampling", drawn(rng))
        names = room.run("page.answer.controls.concat(page.answer.groups.at(-1).controls).slice(1)"
                         ".map(one => [one.name, one.options.length])")  # fmt: skip
        name, count = names[rng.integers(len(names))]
        seen = settled(room, moved(name, int(rng.integers(count))))
        x = shown(seen, "x")
        is_right(seen, x)
        cells = [*winners(seen["state"], x)]
        index = int(rng.integers(len(cells)))
        linked(pointed(room, rng.choice(["y", "indices"]), index), cells[index], x)
        is_right(settled(room, GRADIENT), x)


def test_cells_of_the_ways_and_of_x_are_linked_back(room):
    room.click(cell("bilinear", 8))  # row 1, column 2
    seen = room.run(SEEN)
    assert seen["address"] == {"at": "bilinear.8"}
    assert lit(seen, "y") == {0, 1, 3, 4} and lit(seen, "x") == {6, 9, 13, 21}
    assert lit(seen, "bilinear", "main") == {8}
    assert seen["said"].startswith("u[1, 2] = 6.875 = y[0, 0] · 0.1875 + y[0, 1] · 0.5625 + ")
    room.press("Escape")
    seen = pointed(room, "x", 21)
    assert lit(seen, "y") == {4} and seen["said"] == "x[3, 3] = 8. In 1 window, wins y[1, 1]."
    seen = pointed(room, "map-count", 7)
    assert len(lit(seen, "y")) == 4
    assert all(lit(seen, name) == {7} for name in ("transposed", *MAPS))


def test_keys_alone(room):
    room.run(f"({cell('y', 0)}).focus()")
    x = shown(room.run(SEEN), "x")
    linked(room.run(SEEN), (0, 0), x)
    for key, p in (("ArrowRight", (0, 1)), ("ArrowDown", (1, 1)), ("End", (1, 2))):
        room.press(key)
        linked(room.run(SEEN), p, x)
    room.press(" ")
    assert room.address().endswith("at=y.5")
    room.go(room.run("location.href"))  # a link shows exactly this
    linked(room.run(SEEN), (1, 2), x)
    reached, wanted = room.tab()
    assert reached >= wanted
    assert room.run("document.querySelectorAll('td[tabindex=\"0\"]').length") == 12


def test_a_tie_is_made(room):
    seen = settled(room, "document.querySelector('[data-value=\"Make a tie\"]').click()")
    is_right(seen, shown(seen, "x"))
    assert seen["address"] == {"x": "1.1:6", "at": "y.0"}
    assert "A tie: 2 are as large, and the first in reading order wins, not x[1, 1]" in seen["said"]
    seen = typed(room, "x", 0, "6")
    is_right(seen, shown(seen, "x"))
    assert "A tie: 3 are as large" in seen["said"] and "not x[1, 0], x[1, 1]" in seen["said"]
    assert "It is x[0, 0], the largest of its window, index 0" in seen["said"]
    seen = settled(room, "document.querySelector('[data-value=reset]').click()")
    assert seen["address"] == {"at": "y.0"}


def test_gradients_are_passed_back(room):
    x = shown(room.run(SEEN), "x")
    settled(room, GRADIENT)
    seen = typed(room, "unpool", 6, "5")
    is_right(seen, x)
    assert room.run(f"document.activeElement === {cell('unpool', 6)}")
    assert seen["address"]["gu"] == "1.0:5"
    assert shown(seen, "unpool-back")[0, 0] == 5 and shown(seen, "nails-back")[0, 0] == 1
    assert seen["said"] == "gu[1, 0] = 5. It is passed back to gy[0, 0]."
    said = pointed(room, "nearest-back", 0)["said"]
    assert said == "gy[0, 0] = 8 = gu[0, 0] + gu[0, 1] + gu[1, 0] + gu[1, 1]"


def test_sizes_that_pooling_forgets(room):
    for name in ("h", "w"):
        seen = settled(room, moved(name, 3))
    is_right(seen, shown(seen, "x"))
    assert shown(seen, "unpool").shape == (5, 5) and shown(seen, "nails").shape == (4, 4)
    seen = settled(room, moved("size", 1))
    is_right(seen, shown(seen, "x"))
    assert any("output_size=(5, 5) is needed" in text for text in seen["groups"])
    assert seen["facts"]["height"] == "5 → 2 → 4, 1 row short"


def test_the_kernel_of_the_overlap(room):
    for name in ("th", "tw"):
        seen = settled(room, moved(name, 2))
    axis = np.array([1, 2, 1, 2, 1, 1])  # the last by output padding
    np.testing.assert_array_equal(shown(seen, "map-count"), np.outer(axis, axis))
    seen = settled(room, moved("weights", 1))
    is_right(seen, shown(seen, "x"))
    np.testing.assert_array_equal(shown(seen, "map-count"), np.outer(axis, axis))


def test_the_folder_of_files(browser, tmp_path, monkeypatch):
    """Of what is recorded, some of the addresses that one step leads to."""
    every = [{n: v for n, v in each.items() if v} for each in upsampling.states()]
    steps = [each for each in every if 0 < len({*each} - {"pass", "size"}) < 2][::9]
    monkeypatch.setattr(upsampling, "states", lambda: [{}, upsampling.TIE, *steps])
    monkeypatch.setattr("tinyfcn.explorer.ROOMS", ("upsampling",))
    static.write(tmp_path / "pages")
    here = (tmp_path / "pages/index.html").as_uri()
    browser.go(f"{here}#upsampling")
    x = shown(browser.run(SEEN), "x")
    for settings in steps:
        seen = entered(browser, "upsampling", settings)
        assert browser.run("document.getElementById('problem').hidden"), settings
        if seen["tab"] == "forward":
            x = shown(seen, "x")
            is_right(seen, x)
    entered(browser, "upsampling", {})
    seen = settled(browser, "document.querySelector('[data-value=\"Make a tie\"]').click()")
    assert "A tie" in seen["said"]
    browser.run(f"({cell('x', 0)}).focus()")
    browser.press("5")
    assert browser.run("document.querySelector('td input')") is None
