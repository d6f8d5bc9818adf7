"""The learning room in a real browser: what is seen is what the engine says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyfcn.explorer.learning import answer

SEEN = """(() => {
  const grids = [...document.querySelectorAll(".stage [data-grid]")].map(grid => [grid.dataset.grid,
    [...grid.querySelectorAll("td")].map(cell => [cell.textContent, cell.dataset.look,
      cell.className])]);
  return { grids: Object.fromEntries(grids), said: document.querySelector(".sum").innerText,
    facts: [...document.querySelectorAll("aside .formula p")].map(
      p => [...p.children].map(e => e.textContent)) } })()"""
CELL = "document.querySelector('[data-grid=\"%s\"]').querySelectorAll('td')[%d]"
MINUS = "\u2212"


def asked(browser: Any) -> dict[str, str]:
    looks = ("at", "brush", "eps", "code")
    query = browser.run("readAddress().settings")
    return {name: text for name, text in query.items() if name not in looks}


def is_right(browser: Any) -> dict[str, Any]:
    """All cells and results are those that the engine gives for the address."""
    seen, expected = browser.run(SEEN), answer(asked(browser))
    wanted = {
        f"{expected['part']}-{each['name']}": each
        for _, group in expected["groups"]
        for each in group
    }
    assert [*seen["grids"]] == [*wanted]
    for name, data in wanted.items():
        texts = [text for text, _, _ in seen["grids"][name]]
        numbers = [float(text.replace(MINUS, "-")) for text in texts]
        np.testing.assert_allclose(numbers, data["values"], rtol=0.051, atol=1e-9)
        if data["looks"] and expected["part"] != "check":
            assert [look for _, look, _ in seen["grids"][name]] == data["looks"]
    assert seen["facts"] == expected["facts"]
    return seen


def settled(browser: Any, script: str) -> None:
    before = browser.run("document.body.dataset.ready")
    browser.run(script)
    browser.until(f"document.body.dataset.ready !== '{before}' && !page.asking")


def lit(seen: dict[str, Any], name: str) -> list[int]:
    return [i for i, (_, _, kind) in enumerate(seen["grids"][name]) if kind.split()]


@pytest.fixture
def room(server, browser):
    browser.go(f"{server.url}#learning")
    return browser


def test_random_configurations(server, browser):
    rng = np.random.default_rng(7)
    queries = []
    for border in (0, 1, 2) * 3:
        places = zip(rng.integers(0, 8, 5), rng.integers(0, 5, 5), strict=True)
        mask = ",".join(f"{i}.{j}:{rng.choice([0, 1, 2, 255])}" for i, j in places)
        queries.append(f"border={border}&reduction={rng.choice(['mean', 'sum'])}&mask={mask}")
    for pool in ("max", "average", "none"):
        for activation in ("relu", "tanh"):
            cell = ".".join(map(str, rng.integers(0, 6, 2)))
            queries.append(f"part=check&cell=x.{cell}&pool={pool}&activation={activation}")
    for mode in ("train", "eval"):
        for batch in ("usual", "dead channel", "constant channel", "large mean"):
            bias = f"{rng.integers(2)}.0:{rng.integers(-3, 3)}"
            queries.append(f"part=norm&mode={mode}&batch={batch}&bias={bias}")
    assert len(queries) > 20
    for query in queries:
        browser.go(f"{server.url}#learning?{query}")
        is_right(browser)


def test_void_is_painted_by_dragging_and_by_keys(room):
    places = [room.middle(CELL % ("loss-mask", at)) for at in (0, 1, 2)]
    before = dict(is_right(room)["facts"])["loss"]
    room.mouse("moved", *places[0])
    room.mouse("pressed", *places[0])
    for place in places[1:]:
        room.drag(*place)
    room.mouse("released", *places[2])
    room.until("readAddress().settings.mask === '0.0:255,0.1:255,0.2:255' && !page.asking")
    seen = is_right(room)
    assert dict(seen["facts"])["loss"] != before and dict(seen["facts"])["loss"].endswith("/ 37")
    room.run(f"({CELL % ('loss-mask', 5)}).focus()")
    for key, label in (("2", "2"), ("v", "255"), ("0", "0"), (" ", "255")):
        room.press(key)
        room.until(f"({CELL % ('loss-mask', 5)}).textContent === '{label}' && !page.asking")
        is_right(room)
    room.press("ArrowRight")
    assert room.run(f"document.activeElement === {CELL % ('loss-mask', 6)}")
    settled(room, "document.querySelector('[data-value=reset]').click()")
    assert room.run("readAddress().settings.mask === undefined")


def test_the_matrix_and_its_pixels(room):
    matrix = answer({})["groups"][0][1][3]
    for cell in range(9):
        room.mouse("moved", *room.middle(CELL % ("loss-matrix", cell)))
        seen = room.run(SEEN)
        for name in ("loss-mask", "loss-prediction", "loss-loss"):
            assert lit(seen, name) == matrix["ids"][cell]
        assert lit(seen, "loss-gx") == sorted(
            p + 40 * c for p in matrix["ids"][cell] for c in range(3)
        )
        assert matrix["words"][cell] in seen["said"]
    for pixel in matrix["ids"][1]:  # and back
        room.mouse("moved", *room.middle(CELL % ("loss-loss", pixel)))
        seen = room.run(SEEN)
        assert lit(seen, "loss-matrix") == [1] and "taken for 1" in seen["said"]
    room.click(CELL % ("loss-matrix", 4))
    assert room.run("readAddress().settings.at") == "loss-matrix.4"
    room.press("Escape")
    assert room.run("readAddress().settings.at") is None


def test_epsilon_and_its_digits(room):
    settled(room, "document.querySelector('[data-value=check]').click()")
    results = answer({"part": "check"})["check"]["results"]
    kinds = "[...document.querySelectorAll('[data-grid=\"check-%s\"] td')].map(e => e.dataset.look)"
    for at in (0, 1, 2, 6, 11):
        room.run(f"{{const e = document.querySelector('[name=eps]'); e.value = {at};"
                 "e.dispatchEvent(new Event('input'))}")  # fmt: skip
        for dtype, result in results.items():
            row = result["rows"][at]
            read = "e => [e.textContent, e.querySelector('mark')?.textContent ?? '']"
            cells = room.run(
                f"[...document.querySelectorAll('[data-dtype={dtype}] td')].map({read})"
            )
            assert [text for text, _ in cells] == [*row["texts"], result["backward"]]
            for text, marked in cells[2:]:
                decimals = len(marked.partition(".")[2])
                assert text.startswith(marked) and decimals == max(0, row["agree"])
                assert bool(marked) == (row["agree"] >= 0)
            for name in "yp":
                bent = [i for i, look in enumerate(room.run(kinds % name)) if look == "kink"]
                assert bent == results["float64"]["rows"][at]["kinks"][name]
    assert room.run("document.querySelectorAll('.curve .hollow').length") == 4
    room.click(CELL % ("check-w", 4))
    room.until("readAddress().settings.cell === 'w.1.1' && !page.asking")
    assert room.run("document.querySelector('.groups h2:nth-child(1)') !== null")
    is_right(room)


def test_dead_pixels_and_three_terms(room):
    settled(room, "document.querySelector('[data-value=norm]').click()")
    room.mouse("moved", *room.middle(CELL % ("norm-y", 0)))
    seen = is_right(room)
    assert lit(seen, "norm-gx") == [0] and lit(seen, "norm-weight") == [0]
    assert "dead: ReLU passes 0 on" in seen["said"] and "owe reaches it" in seen["said"]
    room.mouse("moved", *room.middle(CELL % ("norm-weight", 1)))
    assert lit(room.run(SEEN), "norm-x") == [*range(12, 24)]
    room.run(f"({CELL % ('norm-bias', 1)}).focus()")
    for key in "-4":
        room.press(key)
    room.press("Enter")
    room.until("readAddress().settings.bias === '1.0:-4' && !page.asking")
    facts = dict(is_right(room)["facts"])
    assert facts["dead in channel 1"].startswith("12 of 12")
