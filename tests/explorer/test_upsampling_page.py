"""The upsampling room in a real browser: what is seen is what was computed."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from test_convolution_page import moved, settled
from upsampling_loops import ways, windows, winners

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer import static, upsampling

# What a reader sees of each grid by its name, and of the sliders.
SEEN = """(() => {
  const grids = [...document.querySelectorAll(".tensor")].map(one => [one.dataset.grid, {
    name: one.querySelector("h3 b").textContent,
    text: [...one.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.textContent)),
    kind: [...one.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.className)),
    label: [...one.querySelectorAll("td")].map(cell => cell.ariaLabel),
  }]);
  const values = [...document.querySelectorAll(".controls [name]")].map(
    e => [e.name, e.matches("select") ? e.value : e.ariaValueText]);
  return {
    grids: Object.fromEntries(grids), state: Object.fromEntries(values),
    pass: document.querySelector(".passes .segments [aria-pressed=true]").dataset.value,
    said: document.querySelector(".said").innerText,
    notes: Object.fromEntries([...document.querySelectorAll(".way")].map(
      way => [way.dataset.way, way.innerText])),
    address: decodeURIComponent(location.hash),
  } })()"""
CELL = "document.querySelectorAll('[data-grid=\"%s\"] td')[%d]"
MAPS = ("map-count", "map-bilinear", "map-random")


def numbers(grid: dict[str, Any]) -> np.ndarray:
    """What stands in the cells, without padding."""
    inside = np.array([["pad" not in kind.split() for kind in row] for row in grid["kind"]])
    values = np.array(grid["text"])[inside.any(1)][:, inside.any(0)]
    return np.vectorize(lambda text: float(text.replace("\u2212", "-")))(values)


def with_class(grid: dict[str, Any], kind: str) -> set[tuple[int, int]]:
    kinds = np.array(grid["kind"])
    return {place for place in np.ndindex(kinds.shape) if kind in kinds[place].split()}


def engine(seen: dict[str, Any], x: np.ndarray) -> dict[str, Any]:
    """What the page should show, computed by the engine from what its sliders say and from x."""
    state = seen["state"]
    of = {letter: (int(state[f"{letter}h"]), int(state[f"{letter}w"])) for letter in "kstpq"}
    assert x.shape == (int(state["h"]), int(state["w"]))
    window = of["k"], of["s"], of["p"]
    y, indices = F.max_pool2d(
        leaf := tinyfcn.tensor(x[None, None], requires_grad=True), *window, return_indices=True
    )
    restored = state["size"] == "of x"
    size = {"size": x.shape} if restored else {"scale_factor": of["s"]}
    w = tinyfcn.tensor(numbers(seen["grids"]["kernel"])[None, None])
    h, v = seen["grids"]["transposed"]["text"], seen["grids"]["transposed"]["text"][0]
    extra = [
        shown - ((n - 1) * s - 2 * q + t)
        for shown, n, s, q, t in zip(
            (len(h), len(v)), y.shape[2:], of["s"], of["q"], of["t"], strict=True
        )
    ]
    back = tinyfcn.tensor(y.numpy(), requires_grad=True)
    made = {
        "nails": F.unpool_bed_of_nails(back, of["s"]),
        "nearest": F.interpolate(back, **size, mode="nearest"),
        "bilinear": F.interpolate(back, **size, mode="bilinear"),
        "transposed": F.conv_transpose2d(back, w, None, of["s"], of["q"], extra),
    }
    try:
        made["unpool"] = F.max_unpool2d(back, indices, *window, x.shape if restored else None)
    except ValueError as error:
        assert str(error) in seen["notes"]["unpool"] and "unpool" not in seen["grids"]
    return {"x": leaf, "y": y, "back": back, "indices": indices, "ways": made}


def is_right(browser: Any) -> dict[str, Any]:
    """Check each number of the page against the engine's."""
    seen = browser.run(SEEN)
    grids, forward = seen["grids"], seen["pass"] == "forward"
    # In the gradient, x itself is not shown: the room's own numbers stand for it.
    edits = dict(part.split("=") for part in seen["address"].partition("?")[2].split("&") if part)
    start = {"x": edits["x"]} if "x" in edits else {}
    given = upsampling.answer({**seen["state"], **start})["x"]
    x = np.array(given["values"]).reshape(given["rows"], given["columns"])
    if forward:
        np.testing.assert_allclose(numbers(grids["x"]), x, rtol=1e-3)
    expected = engine(seen, x)
    np.testing.assert_array_equal(numbers(grids["indices"]), expected["indices"].numpy()[0, 0])
    won = {
        (r + given["pad"][0], c + given["pad"][1]) for r, c in winners(seen["state"], x).values()
    }
    assert with_class(grids["x"], "winner") == won
    if forward:
        np.testing.assert_allclose(numbers(grids["y"]), expected["y"].numpy()[0, 0], rtol=1e-3)
        padding = [grids["x"]["text"][r][c] for r, c in with_class(grids["x"], "pad")]
        assert {*padding} <= {"\u2212∞"}
    else:
        gy = numbers(grids["y"])[None, None]
        (gx,) = tinyfcn.grad(expected["y"], expected["x"], gy)
        np.testing.assert_allclose(numbers(grids["x"]), gx.numpy()[0, 0], atol=1e-3)
    for name, u in expected["ways"].items():
        if forward:
            shown, want = numbers(grids[name]), u
        else:
            gu = numbers(grids[name])[None, None]
            shown = numbers(grids[f"{name}-back"])
            (want,) = tinyfcn.grad(u, expected["back"], gu)
        np.testing.assert_allclose(shown, want.numpy()[0, 0], rtol=2e-3, atol=2e-2, err_msg=name)
    for grid in grids.values():  # what a screen reader reads
        texts = [text for row in grid["text"] for text in row]
        for text, label in zip(texts, grid["label"], strict=True):
            assert label.removesuffix(", a winner").endswith(f" {text}")
    return seen


def linked(seen: dict[str, Any], cell: tuple[int, int], x: np.ndarray) -> None:
    """Exactly what belongs to a pooled cell is lit: its window, its winner, what each way makes."""
    state, grids = seen["state"], seen["grids"]
    won = winners(state, x)
    ph, pw = int(state["ph"]), int(state["pw"])
    shifted = {(r + ph, c + pw) for r, c in windows(state)[cell]}
    padding = with_class(grids["x"], "pad")
    winner = (won[cell][0] + ph, won[cell][1] + pw)
    assert with_class(grids["x"], "main") == {winner}
    assert (with_class(grids["x"], "on") | {winner}) - padding == shifted
    for name in ("y", "indices"):
        assert with_class(grids[name], "main") == {cell}
    for name, way in ways(state, won, numbers(grids["kernel"])).items():
        if way:
            to = {place for (p, place), weight in way[1].items() if p == cell and weight}
            assert with_class(grids[name], "on") == to, name
            if name == "transposed":
                assert all(with_class(grids[other], "on") == to for other in MAPS)


@pytest.fixture
def room(server, browser):
    browser.go(f"{server.url}#upsampling")
    return browser


@pytest.mark.parametrize("seed", range(4))
def test_random_configurations(room, seed):
    """Five from each seed: sliders are moved at random, and pooled cells pointed at."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        for _ in range(6):
            names = room.run(
                "[...document.querySelectorAll('.controls [name]')].map(e => [e.name, e.matches("
                "'select') ? e.options.length : +e.max + 1])"
            )
            name, count = names[rng.integers(len(names))]
            settled(room, moved(name, int(rng.integers(count))))
        way = ("forward", "gradient")[rng.integers(2)]
        settled(room, f"document.querySelector('[data-value={way}]').click()")
        seen = is_right(room)
        grid = "y" if rng.integers(2) else "indices"
        shape = np.array(seen["grids"][grid]["text"]).shape
        index = int(rng.integers(shape[0] * shape[1]))
        room.mouse("moved", *room.middle(CELL % (grid, index)))
        x = upsampling.answer(seen["state"])["x"]
        cell = tuple(map(int, np.unravel_index(index, shape)))
        linked(room.run(SEEN), cell, np.reshape(x["values"], (x["rows"], x["columns"])))


def test_cells_of_the_ways_and_of_x_are_linked_back(room):
    room.click(CELL % ("bilinear", 8))  # row 1, column 2
    seen = room.run(SEEN)
    assert "at=bilinear.8" in seen["address"]
    assert with_class(seen["grids"]["y"], "on") == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert with_class(seen["grids"]["x"], "on") == {(1, 0), (1, 3), (2, 1), (3, 3)}
    assert seen["said"].startswith("u[1, 2] = 6.875 = y[0, 0] · 0.1875 + y[0, 1] · 0.5625 + ")
    room.press("Escape")
    room.mouse("moved", *room.middle(CELL % ("x", 21)))
    seen = room.run(SEEN)
    assert with_class(seen["grids"]["y"], "main") == {(1, 1)}
    assert seen["said"] == "x[3, 3] = 8. In 1 window, wins y[1, 1]."
    room.mouse("moved", *room.middle(CELL % ("map-count", 7)))
    seen = room.run(SEEN)
    assert len(with_class(seen["grids"]["y"], "on")) == 4
    assert all(with_class(seen["grids"][name], "main") == {(1, 1)} for name in MAPS)


def test_keys_alone(room):
    room.run(f"({CELL % ('y', 0)}).focus()")
    x = numbers(room.run(SEEN)["grids"]["x"])
    linked(room.run(SEEN), (0, 0), x)
    for key, cell in (("ArrowRight", (0, 1)), ("ArrowDown", (1, 1)), ("End", (1, 2))):
        room.press(key)
        linked(room.run(SEEN), cell, x)
    room.press(" ")
    assert room.run("location.hash").endswith("at=y.5")
    room.go(room.run("location.href"))  # a link shows exactly this
    linked(room.run(SEEN), (1, 2), x)
    wanted = room.run(
        "[...document.querySelectorAll('button, input, select, a, summary, [tabindex=\"0\"]')]"
        ".filter(e => !e.disabled && !e.closest('details > div')).length"
    )
    room.run("document.activeElement.blur()")
    reached = set()
    for _ in range(wanted + 5):
        room.press("Tab")
        reached.add(room.run("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached - {-1}) >= wanted
    assert room.run("document.querySelectorAll('td[tabindex=\"0\"]').length") == 12


def test_a_tie_is_made(room):
    settled(room, "document.querySelector('[data-value=tie]').click()")
    seen = is_right(room)
    assert "x=1.1:6" in seen["address"] and "at=y.0" in seen["address"]
    assert "A tie: 2 are as large, and the first in reading order wins, not x[1, 1]" in seen["said"]
    room.run(f"({CELL % ('x', 0)}).focus()")
    for key in "6":
        room.press(key)
    before = room.run("document.body.dataset.ready")
    room.press("Enter")
    room.until(f"document.body.dataset.ready !== '{before}'")
    seen = is_right(room)
    assert "A tie: 3 are as large" in seen["said"] and "not x[1, 0], x[1, 1]" in seen["said"]
    assert "x[0, 0] is the largest of its window, index 0" in seen["said"]
    settled(room, "document.querySelector('[data-value=reset]').click()")
    assert room.run("location.hash") == "#upsampling?at=y.0"


def test_gradients_are_passed_back(room):
    settled(room, "document.querySelector('[data-value=gradient]').click()")
    room.run(f"({CELL % ('unpool', 6)}).focus()")
    room.press("5")
    before = room.run("document.body.dataset.ready")
    room.press("Enter")
    room.until(f"document.body.dataset.ready !== '{before}'")
    seen = is_right(room)
    assert room.run(f"document.activeElement === {CELL % ('unpool', 6)}")
    assert "gu=1.0:5" in seen["address"]
    firsts = {n: numbers(g)[0, 0] for n, g in seen["grids"].items() if n.endswith("-back")}
    assert firsts["unpool-back"] == 5 and firsts["nails-back"] == 1
    assert firsts["nearest-back"] == 8
    assert seen["said"].startswith("gu[1, 0] = 5 is passed back to gy[0, 0]")
    room.mouse("moved", *room.middle(CELL % ("nearest-back", 0)))
    said = room.run(SEEN)["said"]
    assert said == "gy[0, 0] = 8 = gu[0, 0] + gu[0, 1] + gu[1, 0] + gu[1, 1]"


def test_sizes_that_pooling_forgets(room):
    for name in ("h", "w"):
        settled(room, moved(name, 3))
    seen = is_right(room)
    assert np.shape(seen["grids"]["unpool"]["text"]) == (5, 5)
    assert np.shape(seen["grids"]["nails"]["text"]) == (4, 4)
    settled(room, moved("size", 1))
    seen = is_right(room)
    assert "output_size=(5, 5) is needed" in seen["notes"]["unpool"]
    assert "5 → 2 → 4, 1 row short" in room.run("document.querySelector('.formula').innerText")


def test_the_kernel_of_the_overlap(room):
    settled(room, "document.querySelector('[data-value=k3]').click()")
    seen = is_right(room)
    assert (seen["state"]["th"], seen["state"]["tw"]) == ("3", "3")
    axis = np.array([1, 2, 1, 2, 1, 1])  # the last by output padding
    np.testing.assert_array_equal(numbers(seen["grids"]["map-count"]), np.outer(axis, axis))
    assert room.run("document.activeElement === document.body")
    settled(room, moved("weights", 1))
    assert "random weights" in is_right(room)["notes"]["transposed"]


def test_slider_is_answered_at_once(room):
    """At the median under 100 ms, from the move to what is drawn."""
    times = [
        room.run(
            "new Promise(done => { const start = performance.now(), before ="
            f"document.body.dataset.ready; {moved('kh', at)}; const look = () =>"
            "document.body.dataset.ready !== before ? done(performance.now() - start)"
            ": requestAnimationFrame(look); look() })"
        )
        for at in (0, 1, 2, 1, 0, 2, 1, 2, 0, 1, 2)
    ]
    assert statistics.median(times) < 250  # a machine that is busy with other tests


def test_the_folder_of_files(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyfcn.explorer.ROOMS", ("upsampling",))
    static.write(tmp_path / "pages")
    assert (tmp_path / "pages/answers-upsampling.js").stat().st_size < 2e6
    here = (tmp_path / "pages/index.html").as_uri()
    for query in ("", "?pass=gradient&size=default", "?h=5&w=5"):
        browser.go(f"{here}#upsampling{query}")
        is_right(browser)
    of = "[...document.querySelectorAll('.controls [name]')].map(e => [e.name, e.max || 1])"
    browser.go(f"{here}#upsampling")
    for name, most in browser.run(of):
        browser.go(f"{here}#upsampling")
        settled(browser, moved(name, most))
        assert browser.run("document.getElementById('problem').hidden"), name
        is_right(browser)
    browser.go(f"{here}#upsampling")
    settled(browser, "document.querySelector('[data-value=tie]').click()")
    assert "A tie" in is_right(browser)["said"]
    browser.run(f"({CELL % ('x', 0)}).focus()")
    browser.press("5")
    assert browser.run("document.querySelector('td input')") is None
