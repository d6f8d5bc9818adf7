"""The upsampling room's answers, against plain loops."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from upsampling_loops import applied, fits, ways, windows, winners

from tinyfcn.explorer.upsampling import FIRST, SETTINGS, TIE, answer, states

DEFAULTS = {name: str(setting.default) for name, setting in SETTINGS.items()}
EDITS = {"x": "0.0:9,0.1:9,3.3:-2.5,9.9:1", "weight": "0.0:0,1.1:-1", "gy": "0.0:3,1.1:-2",
         "gu": "0.0:2,2.1:0.5,9.9:4"}  # fmt: skip


@st.composite
def addresses(draw) -> dict[str, str]:
    """Settings that make sense."""
    state = {
        name: str(draw(st.sampled_from(values)))
        for name, (_, values) in SETTINGS.items()
        if values is not None
    }
    assume(fits(state))
    return state | (EDITS if draw(st.booleans()) else dict.fromkeys(EDITS, ""))


def array(grid: dict[str, Any]) -> np.ndarray:
    return np.array(grid["values"]).reshape(grid["rows"], grid["columns"])


def grids(found: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numbers of all grids."""
    return {one["key"]: array(one) for group in found["groups"] for one in group["grids"]}


def data(found: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for group in found["groups"] for one in group["grids"] if one["key"] == key)


def parts(words: str) -> dict[tuple[int, int], float]:
    """What a sentence adds up: cells and weights."""
    number = r"\[(\d+), (\d+)\](?: · (\u2212?[\d.e\u2212-]+\d))?"
    return {
        (int(r), int(c)): float(weight.replace("\u2212", "-") or 1)
        for r, c, weight in re.findall(number, words)
    }


@settings(max_examples=40, deadline=None)
@given(addresses())
def test_all_numbers_are_those_of_plain_loops(state):
    found = {way: answer(state | {"pass": way}) for way in ("forward", "gradient")}
    forward, backward = (grids(each) for each in found.values())
    x = forward["x"]
    seen, won = windows(state), winners(state, x)
    # Pooling.
    y = {cell: x[place] for cell, place in won.items()}
    np.testing.assert_array_equal(forward["y"].ravel(), [*y.values()])
    flat = [r * x.shape[1] + c for r, c in won.values()]
    for each in (forward, backward):
        np.testing.assert_array_equal(each["indices"].ravel(), flat)
    gx = np.zeros(x.shape)
    for place, gy in zip(won.values(), backward["y"].ravel(), strict=True):
        gx[place] += gy
    np.testing.assert_allclose(backward["x"], gx)
    ph, pw = data(found["forward"], "x")["pad"]
    width = x.shape[1] + 2 * pw
    looks = data(found["forward"], "x")["looks"]
    assert {i for i, look in enumerate(looks) if look == "winner"} == {
        (r + ph) * width + c + pw for r, c in won.values()
    }
    near = found["forward"]["near"]
    for p, (cell, places) in enumerate(seen.items()):
        window = {q - FIRST for q in near[p] if q // FIRST == 1}
        assert len(window) == int(state["kh"]) * int(state["kw"])
        assert {(r + ph) * width + c + pw for r, c in places} <= window
        equal = [place for place in places if x[place] == y[cell]]
        words = data(found["forward"], "y")["words"][p]
        assert (f"A tie: {len(equal)} are as large" in words) == (len(equal) > 1)
        assert [*parts(words)] == equal and equal[0] == won[cell]
    # The ways: what each makes of y, or passes back.
    cells = [*won]
    for k, (name, expected) in enumerate(ways(state, won, forward["kernel"]).items()):
        group = found["forward"]["groups"][k + 1]
        if expected is None:
            assert group["problem"].startswith("max_unpool2d: ") and not group["grids"]
            continue
        size, links = expected
        links = {key: weight for key, weight in links.items() if weight}
        assert forward[name].shape == backward[name].shape == size and not group["problem"]
        np.testing.assert_allclose(forward[name], applied(links, size, y), rtol=1e-5, atol=1e-4)
        back = dict.fromkeys(cells, 0.0)
        for (cell, place), weight in links.items():
            back[cell] += backward[name][place] * weight
        passed = backward[f"{name}-back"].ravel()
        np.testing.assert_allclose(passed, [*back.values()], rtol=1e-5, atol=1e-4)
        assert set(backward[name].ravel()) <= {1, 2, 0.5, 4}
        for p, cell in enumerate(cells):  # what is lit
            lit = {q % FIRST for q in near[p] if q // FIRST == k + 2}
            assert lit == {r * size[1] + c for q, (r, c) in links if q == cell}
        for at, words in enumerate(data(found["forward"], name)["words"]):  # and what is said
            place = divmod(at, size[1])
            into = {q: weight for (q, to), weight in links.items() if to == place}
            assert parts(words) == pytest.approx(into, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(addresses())
def test_the_overlap_is_that_of_plain_loops(state):
    found = answer(state | {"pass": "forward"})
    seen = grids(found)
    won = winners(state, seen["x"])
    ones = dict.fromkeys(won, 1.0)
    kernels = {state["weights"]: seen["kernel"]}
    for name, kernel in {"count": np.ones((int(state["th"]), int(state["tw"]))), **kernels}.items():
        size, links = ways(state, won, kernel)["transposed"]
        np.testing.assert_allclose(seen[f"map-{name}"], applied(links, size, ones), atol=1e-5)
    # In words: even along an axis where the kernel is a multiple of the stride.
    facts = dict(found["groups"][-1]["facts"])
    for name, a in (("height", "h"), ("width", "w")):
        fact = facts.get(name) or facts["height and width"]
        assert (", even" in fact) == (int(state["t" + a]) % int(state["s" + a]) == 0)


def test_bilinear_weights_are_even_where_random_ones_are_not():
    for t, even in ((2, False), (3, True), (4, True), (5, False), (6, False)):
        square = {"th": str(t), "tw": str(t)}
        facts = dict(answer(square)["groups"][-1]["facts"])
        assert (facts["Σ bilinear, inside"] == "1 everywhere") == even, t
        assert " to " in facts["Σ random, inside"]


@settings(max_examples=30, deadline=None)
@given(addresses())
def test_the_code_gives_the_numbers(state):
    found = answer(state)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found["code"]["tinyfcn"], {})
    texts = re.findall(r"Tensor\((.*?), dtype", printed.getvalue(), re.DOTALL)
    backward = state["pass"] == "gradient"
    names = ["unpool", "nails", "nearest", "bilinear", "transposed"]
    seen = grids(found)
    names = [f"{name}-back" if backward else name for name in names if name in seen]
    wanted = [seen[name] for name in (["x"] if backward else ["y", "indices"]) + names]
    assert len(texts) == len(wanted)
    for text, expected in zip(texts, wanted, strict=True):
        if "..." not in text:  # NumPy shortens what is long
            values = np.ravel(ast.literal_eval(text.replace("\n", "")))
            np.testing.assert_allclose(values, expected.ravel(), rtol=1e-4, atol=1e-4)
    ast.parse(found["code"]["PyTorch"])


@settings(max_examples=20, deadline=None)
@given(addresses())
def test_controls_offer_what_is_valid_and_nothing_else(state):
    found = answer(state)
    for control in [*found["controls"], *found["groups"][-1]["controls"]]:
        name, offered = control["name"], {text: change for text, change in control["options"]}
        assert control["options"][control["at"]] == [state[name], {}]
        for value in map(str, SETTINGS[name].values):
            assert (value in offered) == fits(state | {name: value})
            if value in offered:
                change = {n: v or DEFAULTS[n] for n, v in offered[value].items()}
                assert state | {name: value} == state | change


@settings(max_examples=20, deadline=None)
@given(addresses(), st.sampled_from(["h", "kh", "sw", "ph", "th", "qw"]), st.data())
def test_all_that_fits_is_answered_and_all_else_ends_in_a_sentence(state, name, data):
    state[name] = str(data.draw(st.sampled_from(SETTINGS[name].values)))
    if fits(state):
        answer(state)
    else:
        with pytest.raises(ValueError, match=r"padding|spans|leaves"):
            answer(state)


def test_the_first_of_a_tie_wins():
    def words(given: dict[str, str]) -> str:
        return data(answer(given), "y")["words"][0]

    assert words({}) == "It is x[1, 0], the largest of its window, index 6."
    ((_, setting, place, value, at),) = answer({})["actions"]
    assert {setting: f"{place}:{value:g}"} == TIE and at == "y.0"
    assert words(TIE).endswith("2 are as large, and the first in reading order wins, not x[1, 1].")
    before = words({"x": "0.0:6"})  # one that stands before the winner wins now
    assert before.startswith("It is x[0, 0]") and before.endswith("not x[1, 0].")
    assert answer({"pass": "gradient"})["actions"] == []


def test_odd_sizes_and_what_output_size_restores():
    odd = {"h": "5", "w": "5"}
    restored, default = answer(odd), answer(odd | {"size": "default"})
    assert [axis[-1] for axis in restored["facts"]] == ["5 → 2 → 5"] * 2
    assert default["facts"][0][-1] == "5 → 2 → 4, 1 row short"
    assert default["facts"][1][-2] == "4 to 5 are all pooled to 2; x has 5"
    assert "output_size=(5, 5)" in restored["groups"][1]["code"]
    assert "output_size" not in default["groups"][1]["code"]
    assert default["groups"][1]["note"] == (
        "The indices reach beyond this plane: output_size=(5, 5) is needed."
    )
    small = answer(odd | {"size": "default", "x": "2.1:0,0.1:8,0.3:9,1.0:7,2.0:9,3.0:0,2.2:9"})
    unpooled = grids(small)["unpool"]
    assert unpooled.shape == (4, 4) and grids(restored)["x"].shape == (5, 5)
    assert "count in rows of 5 pixels, but here a row has 4" in small["groups"][1]["note"]
    # Index 10, row 2 of 5 columns, lies at row 2, column 2 of 4: where index 12 should be.
    assert grids(small)["indices"].tolist() == [[1, 3], [10, 12]]
    assert unpooled[2, 2] == 9 and unpooled[3, 0] == 9 and unpooled[2, 0] == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "upsampling: expected an object of settings, got list"),
        ({"k": "3"}, "upsampling: no setting is called 'k'"),
        ({"kh": "5"}, "upsampling: kh must be one of 1, 2, 3, 4, got '5'"),
        ({"size": "6"}, "upsampling: size must be one of of x, default, got '6'"),
        ({"h": "1"}, "max_pool2d: the window spans 2 pixels of height, but x has only 1"),
        ({"kh": "3", "ph": "2"}, "max_pool2d: padding (2, 0) must be at most half the kernel"),
        ({"th": "1", "qh": "4"}, "conv_transpose2d: padding 4 leaves -2 pixels of height"),
        ({"gu": "0.0:nan"}, "upsampling: gu must be at most 1000 places with numbers"),
    ],
)
def test_a_bad_address_ends_in_a_sentence(given, sentence):
    with pytest.raises(ValueError) as error:
        answer(given)
    assert str(error.value).startswith(sentence) and len(str(error.value)) < 250


def test_what_is_recorded_can_be_walked_through():
    recorded = {tuple(sorted((n, v) for n, v in s.items() if v)) for s in states()}
    assert 400 < len(recorded) < 800
    for change in ({}, TIE, {"h": "5"}, {"h": "5", "w": "5"}, {"th": "3", "tw": "3"}):
        for way in ("forward", "gradient"):
            for size in ("of x", "default"):
                named = {"pass": way, "size": size} | change
                key = {n: v for n, v in named.items() if v != DEFAULTS[n]}
                assert tuple(sorted(key.items())) in recorded
