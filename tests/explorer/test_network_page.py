"""The network room in a real browser."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_network import numbers, pixels

from tinyfcn.explorer import network, static

VIEWS = ("maps", "field", "skips", "pad", "crops")
CANVAS = "[...document.querySelectorAll('.stage .picture canvas')].filter(e => e.offsetParent)[%d]"
TEXT = "document.querySelector(%s).innerText"
MINUS = "\u2212"


def settled(browser, script: str) -> None:
    """Run a script, and wait for the answer that it asks for."""
    before = browser.run("document.body.dataset.ready")
    browser.run(script)
    browser.until(f"document.body.dataset.ready !== {json.dumps(before)}")


def asked(browser) -> dict[str, str]:
    """What the page asks for now."""
    return browser.run("({...page.settings})")


@pytest.fixture
def room(browser, server):
    browser.go(f"{server.url}#network")
    return browser


def test_every_map_is_drawn(room):
    layers = network.answer({})["layers"]
    seen = room.run(
        "[...document.querySelectorAll('.layers .map')].map(e => [e.innerText,"
        " e.querySelector('img').src])"
    )
    assert len(seen) == len(layers)
    for (text, source), layer in zip(seen, layers, strict=True):
        assert layer["name"] in text and all(str(n) in text for n in layer["shape"])
        assert source == layer["png"]
    room.until(
        "[...document.querySelectorAll('.map img')].every(e => e.complete && e.naturalWidth)"
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_clicks(room, seed):
    """Maps and pixels are clicked at random, and settings moved."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        values = rng.choice(["null", "'loss'", "'score'"])
        settled(room, f"page.change({{values: {values}}})")
        x, y, width = room.run(
            "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            f" return [b.x, b.y, b.width] }})({CANVAS % 1})"
        )
        row, column = map(int, rng.integers(0, 128, 2))
        place = x + (column + 0.5) * width / 128, y + (row + 0.5) * width / 128
        before = room.run("document.body.dataset.ready")
        for kind in ("moved", "pressed", "released"):
            room.mouse(kind, *place)
        room.until(f"document.body.dataset.ready !== {json.dumps(before)}")
        state = asked(room)
        assert abs(int(state["row"]) - row) <= 1 and abs(int(state["column"]) - column) <= 1
        answer = network.answer(state)
        shown = room.run(
            "[...document.querySelectorAll('.scores tbody tr')].map(e => e.children[1].textContent)"
        )
        scores = [float(text.replace(MINUS, "-")) for text in shown]
        np.testing.assert_allclose(scores, [one[2] for one in answer["scores"]], 1e-3, 1e-3)
        layer = int(rng.integers(len(answer["layers"])))
        channel = int(rng.integers(answer["layers"][layer]["shape"][0]))
        room.run(f"page.look({{at: '{layer}.{channel}'}})")
        of = f"(^|&)layer={layer}(&|$)", f"(^|&)channel={channel}(&|$)"
        shows = "document.querySelector('.one-map').dataset.shows"
        room.until(f"/{of[0]}/.test({shows}) && ({channel} === 0 || /{of[1]}/.test({shows}))")
        found = network.answer(
            {
                **{k: v for k, v in state.items() if k != "view"},
                "layer": str(layer),
                "channel": str(channel),
            }
        )
        map_of = numbers(found)
        room.run("document.querySelector('.one-map canvas').focus()")
        for key in ("ArrowDown", "ArrowRight"):
            room.press(key)
        text = room.run(TEXT % "'.one-map .number'")
        row, column = (int(n) for n in text.split("]")[0].split(",")[1:])
        assert float(text.split("= ")[1].replace(MINUS, "-")) == pytest.approx(
            map_of[row, column], rel=1e-4, abs=1e-12
        )


def test_a_map_is_opened_by_mouse_and_by_key(room):
    room.click("document.querySelectorAll('.layers .map img')[3]")
    assert "at=3." in room.run("location.hash")
    room.run("document.querySelectorAll('.layers .map')[7].focus()")
    room.press("Enter")
    assert "at=7.0" in room.run("location.hash")
    room.run("document.querySelector('.one-map canvas').focus()")


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_shows_its_view(browser, server, view):
    browser.go(f"{server.url}#network?view={view}")
    pressed = browser.run(
        "document.querySelector('.stage .segments [aria-pressed=true]').dataset.value"
    )
    assert pressed == view
    assert browser.run("document.querySelector('.stage h2').textContent")
    settled(
        browser,
        "document.querySelector('.stage .segments button:not([aria-pressed=true])').click()",
    )
    assert f"view={view}" not in browser.run("location.hash")


def test_pixels_are_picked_by_keys(room):
    room.run(f"({CANVAS % 0}).focus()")
    before = room.run("document.body.dataset.ready")
    room.press("ArrowRight")
    room.until(f"document.body.dataset.ready !== {json.dumps(before)}")
    assert asked(room)["column"] == "57"


def test_skips_are_switched(browser, server):
    browser.go(f"{server.url}#network?view=skips")
    for name, off in (("pool4", ["pool3"]), ("no skip", ["pool4", "pool3"]), ("pool4 + pool3", [])):
        settled(browser, f"document.querySelector('[data-value={json.dumps(name)}]').click()")
        assert set(asked(browser)) == {"view", *off}
        seen = browser.run("document.querySelector('.gallery .map[aria-pressed=true]').innerText")
        assert seen.startswith(name)


def test_crops_are_marked(browser, server):
    browser.go(f"{server.url}#network?view=crops")
    browser.click("document.querySelectorAll('.of-y td')[8]")
    assert "cell=8" in browser.run("location.hash")
    assert "32, 64" in browser.run(TEXT % "'.crops figcaption'")
    tables = browser.run(
        "['y', 'x'].map(key => [...document.querySelectorAll(`.of-${key} td`)]"
        ".map(e => e.textContent))"
    )
    one, many = (np.array([float(t.replace(MINUS, "-")) for t in table]) for table in tables)
    np.testing.assert_allclose(one, many, rtol=2e-3)
    np.testing.assert_allclose(
        one, np.ravel(network.answer({"view": "crops"})["whole"][0]), rtol=1e-3
    )


def test_the_folder_of_files(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyfcn.explorer.ROOMS", ("network",))
    static.write(tmp_path / "pages")
    here = (tmp_path / "pages/index.html").as_uri()
    for view in VIEWS:
        browser.go(f"{here}#network?view={view}" if view != "maps" else f"{here}#network?at=5.0")
        assert browser.run("document.getElementById('problem').hidden"), view
        assert browser.run("document.querySelector('.stage h2').textContent")
    assert pixels(network.answer({})["picture"]).shape == (128, 128, 4)
