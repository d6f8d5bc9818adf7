"""The network room in a real browser: what is seen is what plain NumPy computes in ``fcn.py``."""

from __future__ import annotations

import itertools
import re
from functools import partial
from operator import itemgetter

import fcn
import numpy as np
import pytest
from test_network import pixels

from tinyfcn.data import Preprocessing
from tinyfcn.data.scenes import SYNTHETIC_CLASSES, SceneStyle, draw_scene
from tinyfcn.explorer import network
from tinyfcn.explorer.network_run import SHIPPED

VIEWS = ("maps", "field", "skips", "pad", "crops")
PADDED = ("fcn32s", "fcn16s", "fcn8s")
CANVAS = "[...document.querySelectorAll('.stage .picture canvas')].filter(e => e.offsetParent)[%d]"
TEXT = "document.querySelector(%s).innerText"
SCORES = (
    "[...document.querySelectorAll('.scores tbody tr')].map("
    "e => [...e.cells].map(cell => cell.innerText).concat(e.className))"
)
FCN = fcn.FCN8s(SHIPPED)


def scene(number: int, side: int = 128):
    """An image as the network reads it, in float64, and its mask."""
    style = SceneStyle(side, noise=5.0 if side == 128 else 0.0)
    drawn = draw_scene(np.random.default_rng(number), style)
    return Preprocessing().apply(drawn.image).astype(np.float64), drawn.mask


def numbers(text: str) -> list[float]:
    """All numbers of a text."""
    found = re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text.replace("\u2212", "-"))
    return [float(number) for number in found]


def at(room, canvas: int, row: int, column: int, size: int = 128) -> tuple[float, float]:
    """Where a pixel of a picture lies in the window."""
    x, y, width = room.run(
        "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
        f" return [b.x, b.y, b.width] }})({CANVAS % canvas})"
    )
    return x + (column + 0.5) * width / size, y + (row + 0.5) * width / size


def picked(room) -> tuple[int, int]:
    """The pixel that the room looks at."""
    found = room.run("['row', 'column'].map(name => page.settings[name] || '56')")
    return int(found[0]), int(found[1])


def loss(truth, scores):
    """The cross-entropy of scores (classes, H, W) over the pixels that count."""
    top = scores.max(0)
    likely = scores - top - np.log(np.exp(scores - top).sum(0))
    rows, columns = np.nonzero(truth != 255)
    return -likely[truth[rows, columns], rows, columns].mean()


def test_every_map_is_drawn(room):
    maps = FCN(scene(1)[0])
    seen = room.run("[...document.querySelectorAll('.layers .map')].map(e => e.innerText)")
    assert len(seen) == len(maps)
    for text, array in zip(seen, maps, strict=True):
        *_, shape, span = text.split("\n")
        assert numbers(shape) == [*array.shape]
        np.testing.assert_allclose(numbers(span), [array.min(), array.max()], 1e-3, 1e-4)
    room.until(
        "[...document.querySelectorAll('.map img')].every(e => e.complete && e.naturalWidth)"
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_maps(room, seed):
    """Four of each seed: settings are moved, a pixel is picked by mouse, keys or sliders, a map
    opened and pointed at: scores and numbers are those of NumPy, gradients differences of it."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        number, of = int(rng.integers(1, 7)), str(rng.choice(["activations", "loss", "score"]))
        room.slide("image", number - 1)
        room.slide("values", ["activations", "loss", "score"].index(of))
        row, column = map(int, rng.integers(0, 128, 2))
        way = rng.choice(["mouse", "sliders", "keys"])
        if way == "mouse":
            place = at(room, int(rng.integers(2)), row, column)
            room.mouse("move", *place)
            room.mouse("down")
            before = room.run("document.body.dataset.ready")
            room.mouse("up")
            room.until(f"document.body.dataset.ready !== '{before}' && !page.asking")
            assert np.abs(np.subtract(picked(room), (row, column))).max() <= 1
        else:
            room.slide("row", row)
            room.slide("column", column)
            if way == "keys":
                room.run(f"({CANVAS % 0}).focus()")
                room.press("ArrowDown")
                room.press("ArrowLeft")
                room.until("!page.asking")
                row, column = min(row + 1, 127), max(column - 1, 0)
            assert picked(room) == (row, column)
        row, column = picked(room)
        label = int(rng.integers(-1, 10))
        room.slide("class", label + 1)

        x, truth = scene(number)
        maps = FCN(x)
        scores = maps[-1][:, row, column]
        likely = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        seen = room.run(SCORES)
        assert [one[0] for one in seen] == [*SYNTHETIC_CLASSES]
        np.testing.assert_allclose([numbers(one[1])[0] for one in seen], scores, 1e-3, 1e-3)
        np.testing.assert_allclose([float(one[2]) for one in seen], likely, 0, 1e-3)
        label = int(scores.argmax()) if label < 0 else label
        assert [one[3] for one in seen].index("chosen") == label

        layer = int(rng.integers(len(maps)))
        place = tuple(int(rng.integers(n)) for n in maps[layer].shape)
        room.run(f"page.look({{at: '{layer}.{place[0]}'}})")
        channel = f"channel={place[0]}&" if place[0] else ""
        shows = "document.querySelector('.one-map').dataset.shows || ''"
        room.until(f"!page.asking && /{channel}.*layer={layer}(&|$)/.test({shows})")
        side = maps[layer].shape[1]
        room.mouse("move", *at(room, 2, place[1], place[2], side))
        text = room.run(TEXT % "'.one-map .number'")
        where, found = text.split("] = ")
        shown = place[0], *(int(n) for n in where.split("[")[1].split(",")[1:])
        assert np.abs(np.subtract(shown, place)).max() <= 1
        end = partial(loss, truth) if of == "loss" else itemgetter((label, row, column))
        if of == "activations":
            assert numbers(found)[0] == pytest.approx(maps[layer][shown], rel=1e-4, abs=1e-4)
            continue
        left, right = (
            (end(FCN(x, step=(layer, shown, eps))[-1]) - end(maps[-1])) / eps
            for eps in (-1e-6, 1e-6)
        )
        if left == pytest.approx(right, rel=2e-2, abs=1e-6):  # else it is at a kink
            assert numbers(found)[0] == pytest.approx(right, rel=2e-2, abs=1e-6)


def test_a_map_is_opened_by_mouse_and_by_key(room):
    room.click("document.querySelectorAll('.layers .map img')[3]")
    assert "at=3." in room.address()
    room.run("document.querySelectorAll('.layers .map')[7].focus()")
    room.press("Enter")
    assert "at=7.0" in room.address()
    room.run("document.querySelector('.one-map [name=channel]').focus()")
    room.press("ArrowRight")
    assert "at=7.1" in room.address()
    room.until("document.querySelector('.one-map').dataset.shows?.includes('channel=1')")
    room.run("document.querySelector('.one-map canvas').focus()")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        room.press(key)
    where, found = room.run(TEXT % "'.one-map .number'").split(" = ")
    assert where == "backbone.10[1, 1, 2]"
    assert numbers(found)[0] == pytest.approx(FCN(scene(1)[0])[7][1, 1, 2], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_random_receptive_fields(room, server, seed):
    """Five of each seed, all networks: the frame of theory is that of own arithmetic; what has a
    gradient lies in it, and most of the gradient in that."""
    rng = np.random.default_rng(seed)
    room.go(f"{server.url}#network?view=field&side=128")
    names = [*fcn.LAYERS]
    for turn in range(5):
        name = names[(5 * seed + turn) % len(names)]
        room.slide("network", [*network.runs.NETWORKS].index(name))
        row, column = map(int, rng.integers(0, 128, 2))
        room.slide("row", row)
        room.slide("column", column)
        seen = room.run(
            "[...document.querySelectorAll('.gallery .facts > div')].map(e => e.innerText)"
        )
        boxes = [[*map(int, numbers(one.split("rows")[1]))] for one in seen if "rows" in one]
        theory = [*fcn.seen(name, row), *fcn.seen(name, column)]
        assert boxes[0] == theory, (name, row, column)
        high, wide = theory[1] - theory[0] + 1, theory[3] - theory[2] + 1
        assert seen[0].splitlines()[1] == f"{high} \u00d7 {wide}"
        for outer, inner in itertools.pairwise(boxes):
            assert outer[0] <= inner[0] <= inner[1] <= outer[1]
            assert outer[2] <= inner[2] <= inner[3] <= outer[3]
        said = room.run(TEXT % "'.stage .note'")
        assert ("Trained weights" in said) == name.startswith("fcn")


def test_skips_are_switched(room, server):
    """Labels and scores are those of NumPy with these skips."""
    room.go(f"{server.url}#network?view=skips")
    x, truth = scene(1)
    for name, off in (("pool4", ["pool3"]), ("no skip", ["pool4", "pool3"]), ("pool3", ["pool4"]),
                      ("pool4 + pool3", [])):  # fmt: skip
        room.ask(f"document.querySelector('[data-value=\"{name}\"]').click()")
        assert {*room.run("Object.keys(page.settings)")} == {"view", *off}
        seen = room.run("document.querySelector('.gallery .map[aria-pressed=true]').innerText")
        *maps, scores = FCN(x, off=[f"score_{pool}" for pool in off])
        shown = [numbers(one[1])[0] for one in room.run(SCORES)]
        np.testing.assert_allclose(shown, scores[:, 56, 56], 1e-3, 1e-3)
        found = scores.argmax(0)[truth != 255]
        true = truth[truth != 255]
        shares = [(found == c)[true == c].sum() / ((found == c) | (true == c)).sum()
                  for c in np.union1d(true, found)]  # fmt: skip
        assert seen.startswith(name)
        assert numbers(seen.split("IU")[1])[0] == pytest.approx(np.mean(shares), abs=2e-3)


@pytest.mark.parametrize("seed", range(2))
def test_random_paddings(room, server, seed):
    """Ten of each seed: each layer's offset, their sum, and the crop; that of the papers at 100."""
    rng = np.random.default_rng(seed)
    room.go(f"{server.url}#network?view=pad")
    for turn in range(10):
        name, pad = PADDED[turn % 3], 100 if turn < 3 else int(rng.integers(0, 121))
        room.slide("network", PADDED.index(name))
        room.slide("pad", pad)
        rows = room.run(
            "[...document.querySelectorAll('.gallery tbody tr:not(.cut)')].map("
            "e => [...e.cells].map(cell => cell.innerText))"
        )
        first, step = 0.0, 1.0
        for label, *texts in rows:
            k, s, p, _, moved, where = (numbers(text)[0] for text in texts[:6])
            assert p == (pad if label == "conv1_1" else "conv" in label)
            if label.startswith("up"):
                step /= s
                offset = (p - (k - 1) / 2) * step
            else:
                offset = ((k - 1) / 2 - p) * step
                step *= s
            first += offset
            assert (moved, where) == (offset, first)
        assert step == 1 and first == {"fcn32s": 81, "fcn16s": 73, "fcn8s": 69}[name] - pad
        title = room.run(TEXT % "'.stage h2'")
        assert title.endswith(f"why crop {int(-first)}" if first <= 0 else "why crop nowhere")
        if pad == 100:
            cut = room.run("[...document.querySelectorAll('.cut td')].map(e => e.innerText)")
            published = {"fcn32s": [19], "fcn16s": [5, 27], "fcn8s": [5, 9, 31]}[name]
            assert [numbers(text)[0] for text in cut] == published


def test_crops(room, server):
    """The 36 scores of one pass are those of the crops, and what NumPy makes of three of them; a
    crop is marked where the pointer is, and stays when it is pressed."""
    room.go(f"{server.url}#network?view=crops")
    tables = room.run(
        "['y', 'x'].map(key => [...document.querySelectorAll(`.of-${key} td`)]"
        ".map(e => e.textContent))"
    )
    one, many = (np.array([numbers(text)[0] for text in table]) for table in tables)
    np.testing.assert_allclose(one, many, rtol=6e-3)
    assert one.shape == (36,)
    weights = network.geometry.classifier().state_dict()
    rng = np.random.default_rng(0)
    for cell in rng.choice(36, 3, replace=False):
        row, column = int(cell) // 6 * 32, int(cell) % 6 * 32
        x = scene(1, 384)[0][:, row : row + 224, column : column + 224]
        for i, pooled in zip((0, 3, 6, 8, 11, 13, 16, 18), (1, 1, 0, 1, 0, 1, 0, 1), strict=True):
            w, b = (weights[f"features.{i}.{part}"].astype(float) for part in ("weight", "bias"))
            x = np.maximum(0, fcn.conv(x, w, b, 0))
            x = fcn.pool(x) if pooled else x
        y = x.ravel()
        for i in (0, 3, 6):
            y = (
                weights[f"classifier.{i}.weight"] @ np.maximum(0, y)
                + weights[f"classifier.{i}.bias"]
            )
        assert one[cell] == pytest.approx(y[0], rel=6e-3)
        x, y = room.middle(f"document.querySelectorAll('.of-y td')[{cell}]")
        room.mouse("move", x, y)
        assert f"at {row}, {column}" in room.run(TEXT % "'.crops figcaption'")
    room.click("document.querySelectorAll('.of-x td')[8]")
    assert "cell=8" in room.address()
    assert "at 32, 64" in room.run(TEXT % "'.crops figcaption'")
    room.press("ArrowRight")
    assert "at 32, 96" in room.run(TEXT % "'.crops figcaption'")
    facts = room.run("[...document.querySelectorAll('.crops dd')].map(e => e.innerText)")
    convs = [(3, 4), (4, 8), (8, 16), (16, 16), (16, 32), (32, 32), (32, 32), (32, 32)]

    def adds(n):
        total = 0
        for (c, oc), pooled in zip(convs, (1, 1, 0, 1, 0, 1, 0, 1), strict=True):
            n -= 2
            total += 9 * c * oc * n * n
            n = n // 2 if pooled else n
        return total + (9 * 32 * 256 + 256 * 256 + 256 * 10) * (n - 2) ** 2

    assert [numbers(fact)[0] for fact in facts[3:5]] == [
        round(adds(384) / 1e6), round(36 * adds(224) / 1e6)]  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_a_link_shows_its_view(browser, server, view):
    browser.go(f"{server.url}#network?view={view}")
    pressed = "document.querySelector('.stage .segments [aria-pressed=true]').dataset.value"
    assert browser.run(pressed) == view
    browser.ask(
        "document.querySelector('.stage .segments button:not([aria-pressed=true])').click()"
    )
    assert browser.run(pressed) != view and f"view={view}" not in browser.address()


@pytest.mark.parametrize("view", VIEWS)
def test_tab_alone_reaches_everything(browser, server, view):
    browser.go(f"{server.url}#network?view={view}&at=9.2")
    reached, wanted = browser.tab()
    assert reached >= wanted


def test_the_folder_of_files(browser, folder):
    here = (folder / "index.html").as_uri()
    for view in VIEWS:
        browser.go(f"{here}#network?view={view}" if view != "maps" else f"{here}#network?at=30.1")
        assert browser.run("document.getElementById('problem').hidden"), view
        assert browser.run("document.querySelector('.stage h2').textContent")
    browser.go(f"{here}#network?view=pad")
    browser.slide("pad", 40)
    assert browser.run(TEXT % "'.stage h2'").endswith("why crop nowhere")
    assert pixels(network.answer({})["picture"]).shape == (128, 128, 4)
