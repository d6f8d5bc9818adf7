"""The learning room in a real browser: what is seen is what plain formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from groups import MINUS, SEEN, cell, entered, labelled, lit, numbers, pointed, settled, typed
from learning_formulas import chain, crossed, normed, sloped

from tinyfcn.explorer.learning import answer

DIGITS = """Object.fromEntries([...document.querySelectorAll("[data-dtype]")].map(
  table => [table.dataset.dtype, [...table.querySelectorAll("td")].map(
    e => [e.textContent, e.querySelector("mark")?.textContent ?? ""])]))"""
CLOSE = {"rtol": 0.051, "atol": 1e-9}  # two digits


def first(text: str) -> float:
    """The number that a result begins with."""
    return float(text.split()[0].rstrip(",:").replace(MINUS, "-"))


def loss_is_right(seen: dict[str, Any]) -> dict[str, Any]:
    mask, x = numbers(seen, "loss-mask")[0], numbers(seen, "loss-x")
    right, mean = crossed(mask, x), seen["state"]["reduction"] == "mean"
    counts = right["matrix"]
    total = max(1, counts.sum()) if mean else 1
    np.testing.assert_array_equal(numbers(seen, "loss-matrix")[0], counts)
    np.testing.assert_array_equal(numbers(seen, "loss-prediction")[0], right["prediction"])
    np.testing.assert_allclose(numbers(seen, "loss-loss")[0], right["loss"], **CLOSE)
    np.testing.assert_allclose(numbers(seen, "loss-gx"), right["gx"] / total, **CLOSE)
    assert first(seen["facts"]["loss"]) == pytest.approx(right["loss"].sum() / total, rel=1e-3)
    for c in range(3):
        union = counts[c].sum() + counts[:, c].sum() - counts[c, c]
        assert first(seen["facts"][f"IU of class {c}"]) == pytest.approx(counts[c, c] / union, 1e-3)
    void = mask.ravel() == 255
    wrong = (right["prediction"] != mask).ravel() & ~void
    looks = np.array(seen["grids"]["loss-prediction"]["look"])
    np.testing.assert_array_equal(looks == "void", void)
    np.testing.assert_array_equal(looks == "wrong", wrong)
    labelled(seen)
    return seen


def check_is_right(browser: Any, seen: dict[str, Any], name: str, place: tuple[int, int]) -> None:
    """The maps and gradients, and for the ε of the address all digits, marks and kinks."""
    given = {n: numbers(seen, f"check-{n}")[0] for n in "xw"}
    kinds = {"activation": seen["state"]["activation"], "pool": seen["state"]["pool"]}
    maps = chain(**given, **kinds)
    for key in "yap":
        np.testing.assert_allclose(numbers(seen, f"check-{key}")[0], maps[key], rtol=6e-3)
    slopes = {n: sloped(lambda v, n=n: chain(**{**given, n: v}, **kinds)["f"], v, 1e-7)
              for n, v in given.items()}  # fmt: skip
    for n, slope in slopes.items():
        np.testing.assert_allclose(numbers(seen, f"check-g{n}")[0], slope, rtol=0.051, atol=1e-6)
    eps, ends = float(seen["address"].get("eps", "1e-6")), []
    for step in (eps, -eps):
        moved = {n: v.copy() for n, v in given.items()}
        moved[name][place] += step
        ends.append(chain(**moved, **kinds))
    for dtype, rows in browser.run(DIGITS).items():
        values = [float(text.replace(MINUS, "-")) for text, _ in rows]
        within = 1e-12 if dtype == "float64" else 2e-5
        assert values[:2] == pytest.approx([end["f"] for end in ends], abs=within)
        quotient = (ends[0]["f"] - ends[1]["f"]) / (2 * eps)
        assert values[2] == pytest.approx(quotient, abs=within / eps)
        assert values[3] == pytest.approx(slopes[name][place], abs=max(within, 1e-6))
        error, most = abs(values[2] - values[3]), 16 if dtype == "float64" else 7
        for text, marked in rows[2:]:
            decimals = len(marked.partition(".")[2])
            assert text.startswith(marked)
            if marked:
                assert error <= 0.51 * 10.0**-decimals
            assert decimals == most or error > 0.49 * 10.0 ** -(decimals + bool(marked))
    for key, decides in (("y", "bent"), ("p", "winners")):
        looks = seen["grids"][f"check-{key}"]["look"]
        changed = np.flatnonzero(ends[0][decides] != ends[1][decides]).tolist()
        assert [i for i, look in enumerate(looks) if look == "kink"] == changed
    labelled(seen)


def norm_is_right(seen: dict[str, Any]) -> dict[str, Any]:
    training = seen["state"]["mode"] == "train"
    names = ["x", "gz", "weight", "bias", *([] if training else ["running_mean", "running_var"])]
    v = {n: numbers(seen, f"norm-{n}") for n in names}
    v = {n: each if n in ("x", "gz") else each.ravel() for n, each in v.items()}
    hat, y = normed(v, training)
    alive = y > 0
    gy = v["gz"] * alive
    gx = sloped(lambda x: (normed({**v, "x": x}, training)[1] * gy).sum(), v["x"])
    expected = {"x̂": hat, "y": y, "z": y * alive, "gy": gy}
    for name, values in expected.items():
        np.testing.assert_allclose(numbers(seen, f"norm-{name}"), values, rtol=6e-3, atol=2e-4)
    np.testing.assert_allclose(numbers(seen, "norm-gx"), gx, rtol=0.051, atol=5e-4)
    looks = np.reshape(seen["grids"]["norm-y"]["look"], y.shape)
    np.testing.assert_array_equal(looks == "dead", ~alive)
    dead = [int(first(seen["facts"][f"dead in channel {c}"])) for c in (0, 1)]
    assert dead == (~alive).sum((1, 2)).tolist()
    labelled(seen)
    return seen


@pytest.fixture
def room(server, browser):
    browser.go(f"{server.url}#learning")
    return browser


def test_twenty_random_configurations(room):
    rng = np.random.default_rng(7)
    for border in (0, 1, 2) * 3:
        places = zip(rng.integers(0, 8, 5), rng.integers(0, 5, 5), strict=True)
        mask = ",".join(f"{i}.{j}:{rng.choice([0, 1, 2, 255])}" for i, j in places)
        given = {"border": border, "reduction": rng.choice(["mean", "sum"]), "mask": mask}
        loss_is_right(entered(room, "learning", given | {"scores": f"0.1.1:{rng.integers(9)}"}))
    for pool in ("max", "average", "none"):
        for activation in ("relu", "tanh"):
            name, size = ("x", 6) if rng.integers(2) else ("w", 3)
            place = rng.integers(0, size, 2).tolist()
            given = {"part": "check", "pool": pool, "activation": activation}
            given["cell"] = f"{name}.{place[0]}.{place[1]}"
            given |= {"image": f"1.1:{rng.normal():.2f}", "eps": f"1e-{rng.integers(1, 9)}"}
            check_is_right(room, entered(room, "learning", given), name, tuple(place))
    for mode in ("train", "eval"):
        for batch in ("usual", "dead channel", "usual"):
            given = {"part": "norm", "mode": mode, "batch": batch}
            given["bias"] = f"{rng.integers(2)}.0:{rng.integers(-3, 3)}"
            norm_is_right(entered(room, "learning", given))


def test_void_is_painted_by_dragging_and_by_keys(room):
    places = [room.middle(cell("loss-mask", at)) for at in (0, 1, 2)]
    before = loss_is_right(room.run(SEEN))["facts"]["loss"]
    room.mouse("move", *places[0])
    room.mouse("down")
    for place in places[1:]:
        room.mouse("move", *place)
    room.mouse("up")
    room.until("readAddress().settings.mask === '0.0:255,0.1:255,0.2:255' && !page.asking")
    seen = loss_is_right(room.run(SEEN))
    assert seen["facts"]["loss"] != before and seen["facts"]["loss"].endswith("/ 37")
    room.run(f"({cell('loss-mask', 5)}).focus()")
    for key, label in (("2", "2"), ("v", "255"), ("0", "0"), (" ", "255")):
        room.press(key)
        room.until(f"({cell('loss-mask', 5)}).textContent === '{label}' && !page.asking")
        loss_is_right(room.run(SEEN))
    room.press("ArrowRight")
    assert room.run(f"document.activeElement === {cell('loss-mask', 6)}")
    seen = settled(room, "document.querySelector('[data-value=reset]').click()")
    assert seen["address"] == {}
    room.run("document.querySelector('[data-value=\"1\"]').click()")  # another brush
    room.click(cell("loss-mask", 39))
    room.until("readAddress().settings.mask === '7.4:1' && !page.asking")


def test_the_matrix_and_its_pixels(room):
    seen = room.run(SEEN)
    mask, found = numbers(seen, "loss-mask").ravel(), numbers(seen, "loss-prediction").ravel()
    for at in range(9):
        pixels = {*np.flatnonzero((mask == at // 3) & (found == at % 3)).tolist()}
        seen = pointed(room, "loss-matrix", at)
        for name in ("loss-mask", "loss-prediction", "loss-loss"):
            assert lit(seen, name) == pixels
        assert lit(seen, "loss-gx") == {p + 40 * c for p in pixels for c in range(3)}
        verdict = "recognized" if at % 4 == 0 else f"taken for class {at % 3}"
        assert f"{len(pixels)} of the pixels of class {at // 3}: {verdict}" in seen["said"]
    for pixel in np.flatnonzero((mask == 0) & (found == 1)).tolist():  # and back
        seen = pointed(room, "loss-loss", pixel)
        assert lit(seen, "loss-matrix") == {1} and "taken for 1" in seen["said"]
    room.click(cell("loss-matrix", 4))
    assert room.run("readAddress().settings.at") == "loss-matrix.4"
    room.press("Escape")
    assert room.run("readAddress().settings.at") is None


def test_epsilon_and_its_digits(room):
    settled(room, "document.querySelector('[data-value=check]').click()")
    slider = "document.querySelector('[name=eps]')"
    for at in range(12):
        room.run(f"{{const e = {slider}; e.value = {at}; e.dispatchEvent(new Event('input'))}}")
        seen = room.run(SEEN)
        assert seen["address"].get("eps", "1e-6") == f"1e-{at + 1}"
        check_is_right(room, seen, "x", (2, 2))
    room.run(f"{slider}.focus()")
    for key, eps in (("ArrowLeft", "1e-11"), ("ArrowRight", "1e-12")):
        room.press(key)
        room.until(f"readAddress().settings.eps === '{eps}'")
    assert room.run("document.querySelectorAll('.curve .hollow').length") == 4
    room.click(cell("check-w", 4))
    room.until("readAddress().settings.cell === 'w.1.1' && !page.asking")
    check_is_right(room, room.run(SEEN), "w", (1, 1))


def test_dead_pixels_and_three_terms(room):
    settled(room, "document.querySelector('[data-value=norm]').click()")
    seen = norm_is_right(pointed(room, "norm-y", 0))
    assert lit(seen, "norm-gx") == lit(seen, "norm-weight") == {0}
    assert "dead: ReLU passes 0 on" in seen["said"] and "owe reaches it" in seen["said"]
    assert lit(pointed(room, "norm-weight", 1), "norm-x") == {*range(12, 24)}
    seen = norm_is_right(typed(room, "norm-bias", 1, "-4"))
    assert seen["address"]["bias"] == "1.0:-4"
    assert seen["facts"]["dead in channel 1"].startswith("12 of 12")
    assert not numbers(seen, "norm-gx")[1].any()


def test_the_page_says_what_the_engine_says(room):
    """The words of results, which formulas cannot give."""
    for part in ("loss", "check", "norm"):
        seen = settled(room, f"document.querySelector('[data-value={part}]').click()")
        assert seen["facts"] == dict(answer({"part": part})["facts"])
