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
from upsampling_loops import applied, ways, windows, winners

from tinyfcn.explorer.settings import read
from tinyfcn.explorer.upsampling import SETTINGS, TIE, Geometry, answer, states

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
    assume(Geometry(read("upsampling", SETTINGS, state)).fits)
    return state | (EDITS if draw(st.booleans()) else dict.fromkeys(EDITS, ""))


def array(grid: dict[str, Any]) -> np.ndarray:
    return np.array(grid["values"]).reshape(grid["rows"], grid["columns"])


@settings(max_examples=60, deadline=None)
@given(addresses())
def test_all_numbers_are_those_of_plain_loops(state):
    found = answer(state)
    forward = answer(state | {"pass": "forward"})
    x = array(forward["x"])
    seen, won = windows(state), winners(state, x)
    # Pooling.
    y = {cell: x[place] for cell, place in won.items()}
    np.testing.assert_array_equal(array(forward["y"]).ravel(), [*y.values()])
    np.testing.assert_array_equal(found["pooled"], [*y.values()])
    flat = [r * x.shape[1] + c for r, c in won.values()]
    np.testing.assert_array_equal(array(found["indices"]).ravel(), flat)
    ph, pw = found["x"]["pad"]
    width = x.shape[1] + 2 * pw
    padded = {cell: (r + ph) * width + c + pw for cell, (r, c) in won.items()}
    assert found["winners"] == [*padded.values()]
    for cells, equals, (cell, places) in zip(
        found["windows"], found["equals"], seen.items(), strict=True
    ):
        inside = [(r + ph) * width + c + pw for r, c in places]
        assert len(cells) == int(state["kh"]) * int(state["kw"]) and {*inside} <= {*cells}
        as_large = [p for p, place in zip(inside, places, strict=True) if x[place] == y[cell]]
        assert equals == as_large and equals[0] == padded[cell]
    # The ways: what each makes of y or passes back, and its matrix.
    w = array(found["kernel"])
    cells = [*won]
    for way, (name, expected) in zip(found["ways"], ways(state, won, w).items(), strict=True):
        assert way["name"] == name
        if expected is None:
            assert way["problem"].startswith("max_unpool2d: ") and way["grid"] is None
            continue
        size, links = expected
        shown = array(way["grid"])
        assert shown.shape == size and not way["problem"]
        flat_links = {
            (cells[p], (at // size[1], at % size[1])): weight
            for p, at, weight in zip(*way["links"], strict=True)
        }
        links = {key: weight for key, weight in links.items() if weight}
        assert flat_links == pytest.approx(links, abs=1e-6)
        if state["pass"] == "forward":
            expected_u = applied(links, size, y)
            np.testing.assert_allclose(shown, expected_u, rtol=1e-5, atol=1e-4)
        else:
            back = {cell: 0.0 for cell in cells}
            for (cell, place), weight in links.items():
                back[cell] += shown[place] * weight
            passed = array(way["back"]).ravel()
            np.testing.assert_allclose(passed, [*back.values()], rtol=1e-5, atol=1e-4)
            assert set(shown.ravel()) <= {1, 2, 0.5, 4}
    if state["pass"] == "gradient":
        gx = np.zeros(x.shape)
        for place, gy in zip(won.values(), array(found["y"]).ravel(), strict=True):
            gx[place] += gy
        np.testing.assert_allclose(array(found["x"]), gx)


@settings(max_examples=40, deadline=None)
@given(addresses())
def test_the_overlap_is_that_of_plain_loops(state):
    found = answer(state)
    won = winners(state, array(answer(state | {"pass": "forward"})["x"]))
    ones = dict.fromkeys(won, 1.0)
    grids = found["overlap"]["grids"]
    kernels = {state["weights"]: array(found["kernel"])}
    for name, kernel in {"count": np.ones((int(state["th"]), int(state["tw"]))), **kernels}.items():
        size, links = ways(state, won, kernel)["transposed"]
        np.testing.assert_allclose(array(grids[name]), applied(links, size, ones), atol=1e-5)
    # In words: even along an axis where the kernel is a multiple of the stride.
    facts = dict(found["overlap"]["facts"])
    for name, a in (("height", "h"), ("width", "w")):
        fact = facts.get(name) or facts["height and width"]
        assert (", even" in fact) == (int(state["t" + a]) % int(state["s" + a]) == 0)


def test_bilinear_weights_are_even_where_random_ones_are_not():
    for t, even in ((2, False), (3, True), (4, True), (5, False), (6, False)):
        square = {"th": str(t), "tw": str(t)}
        facts = dict(answer(square)["overlap"]["facts"])
        assert (facts["Σ bilinear, inside"] == "1 everywhere") == even, t
        assert " to " in facts["Σ random, inside"]
        assert facts["even for stride 2"] == "kernels of 2, 4, 6, 8"


@settings(max_examples=30, deadline=None)
@given(addresses())
def test_the_code_gives_the_numbers(state):
    found = answer(state)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found["code"]["tinyfcn"], {})
    texts = re.findall(r"Tensor\((.*?), dtype", printed.getvalue(), re.DOTALL)
    backward = state["pass"] == "gradient"
    wanted = [found["x"]] if backward else [found["y"], found["indices"]]
    wanted += [way["back" if backward else "grid"] for way in found["ways"] if not way["problem"]]
    assert len(texts) == len(wanted)
    for text, grid in zip(texts, wanted, strict=True):
        if "..." not in text:  # NumPy shortens what is long
            values = np.ravel(ast.literal_eval(text.replace("\n", "")))
            np.testing.assert_allclose(values, grid["values"], rtol=1e-4, atol=1e-4)
    ast.parse(found["code"]["PyTorch"])


@settings(max_examples=10, deadline=None)
@given(addresses())
def test_controls_offer_what_is_valid_and_nothing_else(state):
    for control in answer(state)["controls"]:
        name, offered = control["name"], {text: change for text, change in control["options"]}
        assert control["options"][control["at"]] == [state[name], {}]
        for value in map(str, SETTINGS[name].values):
            if value in offered:
                change = {n: v or DEFAULTS[n] for n, v in offered[value].items()}
                assert state | {name: value} == state | change
                answer(state | change)
            else:
                with pytest.raises(ValueError, match=r"padding|spans|leaves"):
                    answer(state | {name: value})


def test_the_first_of_a_tie_wins():
    plain, tie = answer({}), answer(TIE)
    first = plain["winners"][0]
    assert plain["equals"][0] == [first]
    assert tie["winners"][0] == min(tie["equals"][0]) and len(tie["equals"][0]) == 2
    before = answer({"x": "0.0:6"})  # one that stands before the winner wins now
    assert before["winners"][0] == 0 and before["equals"][0] == [0, first]


def test_odd_sizes_and_what_output_size_restores():
    odd = {"h": "5", "w": "5"}
    restored, default = answer(odd), answer(odd | {"size": "default"})
    assert [axis[2] for axis in restored["formulas"]["axes"]] == ["5 → 2 → 5"] * 2
    assert default["formulas"]["axes"][0][2] == "5 → 2 → 4, 1 row short"
    assert default["formulas"]["axes"][1][1][2] == "4 to 5 are all pooled to 2; x has 5"
    assert "output_size=(5, 5)" in restored["ways"][0]["call"]
    assert "output_size" not in default["ways"][0]["call"]
    assert default["ways"][0]["note"] == (
        "The indices reach beyond this plane: output_size=(5, 5) is needed."
    )
    x = array(restored["x"])
    small = answer(odd | {"size": "default", "x": "2.1:0,0.1:8,0.3:9,1.0:7,2.0:9,3.0:0,2.2:9"})
    unpooled = array(small["ways"][0]["grid"])
    assert unpooled.shape == (4, 4) and x.shape == (5, 5)
    assert "count in rows of 5 pixels, but here a row has 4" in small["ways"][0]["note"]
    # Index 10, row 2 of 5 columns, lies at row 2, column 2 of 4: where index 12 should be.
    assert array(small["indices"]).tolist() == [[1, 3], [10, 12]]
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
