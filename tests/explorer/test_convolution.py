"""The convolution room's answers, against plain loops and against the engine's other way."""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import met, summed

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer.convolution import (
    LARGEST,
    SETTINGS,
    Geometry,
    answer,
    controls,
    states,
)
from tinyfcn.explorer.settings import read
from tinyfcn.explorer.static import address

DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


@st.composite
def addresses(draw) -> dict[str, str]:
    """Settings that make sense, most of them small."""
    state = {
        name: draw(st.sampled_from(values))
        for name, (_, values) in SETTINGS.items()
        if values is not None
    }
    state["groups"] = draw(st.integers(1, 2))
    state["c"], state["oc"] = (state["groups"] * draw(st.integers(1, 2)) for _ in range(2))
    for a in "hw":
        least = max(1, state["d" + a] * (state["k" + a] - 1) + 1 - 2 * state["p" + a])
        assume(least <= LARGEST)
        state[a] = draw(st.integers(least, max(7, least)))
    if state["axes"] == "together":
        state |= {n + "w": state[n + "h"] for n in ("", *"kspd")}
    if draw(st.booleans()):
        state |= {"x": "0.0.0:2.25,0.9.9:3", "weight": "0.0.0.0:-1", "gy": "0.0.0:7"}
    return {name: str(value) for name, value in state.items()}


def arrays(found: dict[str, Any], state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The three grids in their shapes, x with its padding."""
    grids = found["grids"]
    c, oc, groups = (int(state[name]) for name in ("c", "oc", "groups"))
    leading = {"x": (c,), "w": (oc, c // groups), "y": (oc,)}
    made = {
        key: np.array(grids[key]["values"]).reshape(
            *leading[key], grids[key]["rows"], grids[key]["columns"]
        )
        for key in "xwy"
    }
    (ph, pw) = grids["x"]["pad"]
    made["x"] = np.pad(made["x"], [(0, 0), (ph, ph), (pw, pw)])
    return made


@settings(max_examples=30, deadline=None)
@given(addresses())
def test_all_numbers_are_those_of_plain_loops(state):
    found = answer(state)
    numbers, into, triples = arrays(found, state), state["into"], met(state)
    expected = summed(into, **numbers, triples=triples)
    (ph, pw), inner = found["grids"]["x"]["pad"], slice(None)
    if into == "x":  # what falls into the padding is cut off
        inner = (slice(None), slice(ph, expected.shape[1] - ph), slice(pw, expected.shape[2] - pw))
    np.testing.assert_allclose(numbers[into][inner], expected[inner], rtol=2e-5, atol=1e-4)
    # The relation.
    shapes = [numbers[key].shape for key in "xwy"]
    flat = [[np.ravel_multi_index(p, s) for p, s in zip(t, shapes, strict=True)] for t in triples]
    np.testing.assert_array_equal(np.reshape(found["triples"], (-1, 3)), flat)
    # Painted from the input: after each step, what its pixels so far make.
    source = "x" if into == "y" else "y"
    rows, columns = found["grids"][source]["rows"], found["grids"][source]["columns"]
    assert len(found["partial"]) == rows * columns
    step = (rows * columns) // 2
    pads = found["grids"][source]["pad"]
    places = [
        [a - b for a, b in zip(t["xwy".index(source)][1:], pads, strict=True)] for t in triples
    ]
    seen = [t for t, (i, j) in zip(triples, places, strict=True) if i * columns + j <= step
            and 0 <= j < columns]  # fmt: skip
    part = summed(into, **numbers, triples=seen)[inner].ravel()
    np.testing.assert_allclose(found["partial"][step], part, rtol=2e-5, atol=1e-4)
    np.testing.assert_array_equal(found["partial"][-1], numbers[into][inner].ravel())


@settings(max_examples=20, deadline=None)
@given(addresses())
def test_swapped_passes_have_the_same_numbers(state):
    one, other = (answer(state | {"swapped": swapped}) for swapped in ("no", "yes"))
    for key in "xwy":
        assert one["grids"][key]["values"] == other["grids"][key]["values"]
    assert one["triples"] == other["triples"]
    kinds = {"x": "gy", "gy": "x", "y": "gx", "gx": "y"}
    names = [{key: each["grids"][key]["name"] for key in "xy"} for each in (one, other)]
    assert names[1] == {key: kinds[name] for key, name in names[0].items()}


@settings(max_examples=20, deadline=None)
@given(addresses())
def test_the_code_gives_the_numbers(state):
    found = answer(state)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found["code"]["tinyfcn"], {})
    text = printed.getvalue().split("Tensor(")[1].rpartition(", dtype")[0]
    if "..." not in text:  # NumPy shortens what is long
        values = np.ravel(ast.literal_eval(text.replace("\n", "")))
        want = np.array(found["grids"][state["into"]]["values"])
        np.testing.assert_allclose(values, want, rtol=1e-4, atol=1e-4)
    ast.parse(found["code"]["PyTorch"])


def offered(state: dict[str, str]) -> tuple[dict[str, Any], Any]:
    """The controls by name, and the size of y."""
    full = read("convolution", SETTINGS, state)
    geometry = Geometry(full)
    return {each["name"]: each for each in controls(full, geometry)}, geometry.out


@settings(max_examples=10, deadline=None)
@given(addresses())
def test_controls_offer_what_is_valid_and_nothing_else(state):
    all_of, out = offered(state)
    for name, control in all_of.items():
        text, nothing = control["options"][control["at"]]
        assert nothing == {}
        for text, change in control["options"]:
            then = {**state, **{n: v if v else str(DEFAULTS[n]) for n, v in change.items()}}
            there, size = offered(then)
            if name not in ("into", "swapped"):
                assert there[name]["options"][there[name]["at"]][0] == text
            if state["swapped"] == "yes" and name[0] in "kspd":
                assert size == out  # the input of the transposed convolution stays
    if state["swapped"] == "no":
        for name in {"kh", "pw", "sw", "dh", "h", "groups", "c"} & {*all_of}:
            for value in {*map(str, SETTINGS[name].values)} - {
                t for t, _ in all_of[name]["options"]
            }:
                with pytest.raises(ValueError, match=r"kernel spans|must divide|equal sizes"):
                    answer(state | {name: value})


@settings(max_examples=20, deadline=None)
@given(addresses())
def test_views_are_the_convolution(state):
    state["into"] = "y"
    found = answer(state)
    numbers = arrays(found, state)
    ws = [found["grids"]["w"]["values"][t] for t in found["triples"][1::3]]
    x, y = (np.array(found["grids"][key]["values"]) for key in "xy")
    for sheet, source in zip(found["matrix"]["sheets"], (x, y), strict=True):
        matrix = np.zeros(sheet["rows"] * sheet["columns"])
        for at, weight in zip(sheet["of"], ws, strict=True):
            if at >= 0:
                matrix[at] = weight
        matrix = matrix.reshape(sheet["rows"], sheet["columns"])
        if source is x:
            whole = matrix
            np.testing.assert_allclose(matrix @ x, y, rtol=2e-5, atol=1e-4)
    np.testing.assert_array_equal(matrix, whole.T)
    sheet = found["im2col"]["sheets"][0]
    columns = np.full(sheet["rows"] * sheet["columns"], np.nan)
    columns[sheet["of"]] = numbers["x"].ravel()[found["triples"][::3]]
    groups, (oc, *_) = int(state["groups"]), numbers["w"].shape
    kernels = numbers["w"].reshape(groups, oc // groups, -1)
    product = kernels @ columns.reshape(groups, -1, sheet["columns"])
    np.testing.assert_allclose(product.ravel(), y, rtol=2e-5, atol=1e-4)
    tables = {name: np.array(table) for name, _, table in found["counts"]["tables"]}
    inside = sum(sheet >= 0 for sheet in found["matrix"]["sheets"][0]["of"])
    assert {int(table.sum()) for table in tables.values()} == {inside}
    grid = y.reshape(numbers["y"].shape)
    for first, tables in found["winograd"].get("tiles", []):
        o, i, j = np.unravel_index(first, grid.shape)
        tile = grid[o, i : i + 2, j : j + 2]
        whole = np.array(tables[-1][2][0])[: tile.shape[0], : tile.shape[1]]
        np.testing.assert_allclose(whole, tile, rtol=2e-5, atol=1e-4)


def test_the_remainder_is_the_output_padding():
    """What the floor leaves over is what the transposed convolution has to add."""
    found = answer({"h": "6", "sh": "2", "swapped": "yes", "into": "x"})
    assert "output_padding=(1, 0)" in found["code"]["PyTorch"]
    assert [found["grids"][key]["rows"] for key in "xy"] == [6, 2]
    _, height, width = answer({"h": "6", "sh": "2"})["facts"]
    assert height[-2:] == [
        "= ⌊3 / 2⌋ + 1, and 3 = 1·2 + 1",
        "= 2; no window reaches the last row",
    ]
    assert width[-1] == "= 4"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "convolution: expected an object of settings, got list"),
        ({"k": "3"}, "convolution: no setting is called 'k'"),
        ({"kh": "0"}, "convolution: kh must be one of 1, 2, 3, 4, 5, got '0'"),
        ({"kh": 3}, "convolution: kh must be one of 1, 2, 3, 4, 5, got 3"),
        ({"into": "z" * 999}, "convolution: into must be one of y, x, w, got 'zzz"),
        ({"h": "2"}, "convolution: the kernel spans 3 pixels of height, but x has only 2 with"),
        ({"groups": "2"}, "convolution: c=1 and oc=1 must divide into groups=2"),
        ({"x": "0.0.0:nan"}, "convolution: x must be at most 1000 places with numbers"),
        ({"x": "0.0.0:1e9"}, "convolution: x must be at most"),
        ({"gy": "0:1," * 2000}, "convolution: gy must be at most"),
    ],
)
def test_a_bad_address_ends_in_a_sentence(given, sentence):
    with pytest.raises(ValueError) as error:
        answer(given)
    assert str(error.value).startswith(sentence) and len(str(error.value)) < 250


def test_an_image_and_its_edges():
    found = answer(
        {"image": "scene 2", "kernel": "edges", "h": "10", "w": "10", "dtype": "float64"}
    )
    x = np.array(found["grids"]["x"]["values"]).reshape(1, 1, LARGEST, LARGEST)
    assert x.min() == 0 and x.max() == 1 and found["grids"]["x"]["picture"]
    edges = tinyfcn.tensor([[[[-1.0, 0.0, 1.0]] * 3]], dtype="float64")
    y = F.conv2d(tinyfcn.tensor(x), edges).numpy().ravel()
    np.testing.assert_allclose(found["grids"]["y"]["values"], y, atol=1e-12)


def test_what_is_recorded_can_be_walked_through():
    """Step by step from the defaults, by what the controls offer and nothing else."""
    every = [{**state, "into": state.get("into")} for state in states()]
    for into in ("x", "w"):  # from each, other passes can be seen
        assert {address(s | {"into": None}) for s in every if s["into"] == into} == {
            address(s) for s in every if not s["into"]
        }
    recorded = {address(state) for state in every if not state["into"]}
    reached, new = {""}, [""]
    while new:
        state = dict(part.split("=") for part in new.pop().split("&") if part)
        full = read("convolution", SETTINGS, state)
        for control in controls(full, Geometry(full)):
            there = {address({**state, **change}) for _, change in control["options"]}
            new += (there & recorded) - reached
            reached |= there & recorded
    assert reached == recorded and 500 < len(recorded) < 800
    for k, s, p, d in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)):
        pairs = zip("kspd", (k, s, p, d), (3, 1, 0, 1), strict=True)
        changed = {f"{n}{a}": str(v) for n, v, usual in pairs for a in "hw" if v != usual}
        for swapped in ({}, {"swapped": "yes"}):
            assert address({"axes": "together", **changed, **swapped}) in recorded


@settings(max_examples=20, deadline=None)
@given(addresses())
def test_tiles_read_what_their_windows_share_once(state):
    found, triples = answer(state), met(state)
    grid, (ph, pw) = found["grids"]["x"], found["grids"]["x"]["pad"]
    rows, columns = found["grids"]["y"]["rows"], found["grids"]["y"]["columns"]
    alone = {}
    for m in (1, 2, 4):
        reads: dict[tuple[int, int], set[Any]] = {
            (i, j): set() for i in range(0, rows, m) for j in range(0, columns, m)
        }
        for (c, i, j), _, (_, row, column) in triples:
            if 0 <= i - ph < grid["rows"] and 0 <= j - pw < grid["columns"]:
                reads[row - row % m, column - column % m].add((c, i - ph, j - pw))
        many = np.zeros(grid["shape"], int)
        for place in itertools.chain(*reads.values()):
            many[place] += 1
        alone = alone or {tile: len(each) for tile, each in reads.items()}
        size = found["tiles"]["sizes"][str(m)]
        np.testing.assert_array_equal(size["table"][2], many)
        for words, ((i, j), each) in zip(size["words"], reads.items(), strict=True):
            inside = [n for (a, b), n in alone.items() if 0 <= a - i < m and 0 <= b - j < m]
            assert f"read {len(each)} numbers of x together, one by one {sum(inside)}: " in words


def test_height_and_width_together():
    """One slider for both; what is different becomes as the height is."""
    together = {"axes": "together"}
    names = [each["name"] for each in answer(together)["controls"]]
    assert names[3:8] == ["h", "kh", "sh", "ph", "dh"] and "kw" not in names
    kernel = {each["name"]: each for each in answer(together)["controls"]}["kh"]
    assert kernel["options"][0] == ["1", {"kh": "1", "kw": "1"}]
    apart = {"kw": "2", "h": "5"}
    axes = {each["name"]: each for each in answer(apart)["controls"]}["axes"]
    assert axes["options"][1] == ["together", {"axes": "together", "w": "5", "kw": None}]
    with pytest.raises(ValueError, match="needs equal sizes of height and width"):
        answer(apart | together)
