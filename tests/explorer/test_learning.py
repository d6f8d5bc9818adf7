"""The learning room's answers, against plain NumPy in double precision."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_formulas import chain, crossed, normed, sloped

from tinyfcn.explorer.learning import SETTINGS, answer, states
from tinyfcn.explorer.settings import read


def each_grid(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [grid for group in found["groups"] for grid in group["grids"]]


def grids(found: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numbers of all grids by name, planes first."""
    made = {}
    for grid in each_grid(found):
        shape = len(grid["planes"]), grid["rows"], grid["columns"]
        made[grid["name"]] = np.reshape(grid["values"], shape).astype(float)
        for more in ("ids", "looks", "words"):
            given = grid.get(more)
            assert not isinstance(given, list) or len(given) == len(grid["values"])
    return made


def data(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(grid for grid in each_grid(found) if grid["name"] == name)


paint = st.dictionaries(
    st.tuples(st.integers(0, 7), st.integers(0, 4)), st.sampled_from((0, 1, 2, 255)), max_size=40
)


def written(edits: dict[Any, Any]) -> str:
    return ",".join(f"{'.'.join(map(str, place))}:{value}" for place, value in edits.items())


@settings(max_examples=25, deadline=None)
@given(paint, st.sampled_from(("mean", "sum")), st.sampled_from("012"), st.floats(-9, 9))
def test_loss_gradient_and_scores(painted, reduction, border, score):
    given = {"reduction": reduction, "border": border, "mask": written(painted),
             "scores": f"1.2.3:{score:.3f}"}  # fmt: skip
    found = answer(given)
    seen = grids(found)
    mask, x = seen["mask"][0].astype(int), seen["x"]
    assert all(mask[place] == label for place, label in painted.items())
    assert x[1, 2, 3] == pytest.approx(round(score, 3))
    right = crossed(mask, x)
    counts, wrong = right["matrix"], (right["prediction"] != mask) & (mask != 255)
    number = max(1, counts.sum()) if reduction == "mean" else 1
    np.testing.assert_array_equal(seen["prediction"][0], right["prediction"])
    np.testing.assert_allclose(seen["loss"][0], right["loss"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen["gx"], right["gx"] / number, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(seen["matrix"][0], counts)
    pixels: dict[tuple[int, int], list[int]] = {}
    for n, (label, guess) in enumerate(zip(mask.flat, right["prediction"].flat, strict=True)):
        assert ("void" in found["words"][n]) == (label == 255)
        assert (data(found, "mask")["looks"][n] == "void") == (label == 255)
        assert (data(found, "prediction")["looks"][n] == "wrong") == wrong.flat[n]
        pixels.setdefault((label, guess), []).append(n)
    cells = data(found, "matrix")["ids"]
    assert cells == [pixels.get(cell, []) for cell in np.ndindex(3, 3)]
    facts = dict(found["facts"])
    value = float(facts["loss"].split(" =")[0].split(",")[0].split(":")[0])
    assert value == pytest.approx(right["loss"].sum() / number, rel=2e-3, abs=1e-6)
    for c in range(3):
        union = counts[c].sum() + counts[:, c].sum() - counts[c, c]
        text = facts[f"IU of class {c}"].split(" = ")[0]
        assert text == "undefined (0 / 0)" if not union else (
            float(text) == pytest.approx(counts[c, c] / union, rel=1e-3))  # fmt: skip


def test_what_stands_under_void_does_not_matter():
    one, other = (answer({"mask": "0.0:255", "scores": f"2.0.0:{v}"}) for v in (-50, 50))
    for name in ("loss", "gx", "matrix"):
        np.testing.assert_array_equal(grids(one)[name], grids(other)[name])
    assert one["facts"] == other["facts"]
    none = answer({"mask": written(dict.fromkeys(np.ndindex(8, 5), 255))})
    assert dict(none["facts"])["loss"] == "0: no pixel counts"
    assert dict(none["facts"])["mean IU"] == "undefined (0 / 0)"


@pytest.mark.parametrize("activation", ["relu", "tanh", "none"])
@pytest.mark.parametrize("pool", ["max", "average", "none"])
def test_quotients(activation, pool):
    rng = np.random.default_rng(len(activation + pool))
    cell, row = rng.choice(SETTINGS["cell"].values), int(rng.integers(6))
    found = answer({"part": "check", "activation": activation, "pool": pool, "cell": cell,
                    "image": f"{row}.1:0.37", "kernel": "1.1:-0.21"})  # fmt: skip
    seen, check = grids(found), found["check"]
    arrays = {"x": seen["x"][0], "w": seen["w"][0]}
    assert arrays["x"][row, 1] == 0.37 and arrays["w"][1, 1] == -0.21
    (name, *place), gradient = cell.split("."), check["results"]["float64"]["backward"]
    place = tuple(map(int, place))
    gradient = float(gradient.replace("\u2212", "-"))
    assert gradient == pytest.approx(seen["g" + name][0][place], abs=1e-9)
    assert check["cell"] == f"{name}[{place[0]}, {place[1]}]"
    for dtype, result in check["results"].items():
        for eps, each in zip(check["epsilons"], result["rows"], strict=True):
            ends = []
            for step in (float(eps), -float(eps)):
                moved = {n: v.copy() for n, v in arrays.items()}
                moved[name][place] += step
                ends.append(chain(**moved, activation=activation, pool=pool))
            plus, minus, quotient = (float(t.replace("\u2212", "-")) for t in each["texts"])
            within = 1e-12 if dtype == "float64" else 2e-5
            assert plus == pytest.approx(ends[0]["f"], abs=within)
            assert minus == pytest.approx(ends[1]["f"], abs=within)
            true = (ends[0]["f"] - ends[1]["f"]) / (2 * float(eps))
            assert quotient == pytest.approx(true, abs=within / float(eps) + 1e-9)
            if dtype == "float64" and float(eps) > 1e-9:
                changed = any((ends[0][n] != ends[1][n]).any() for n in ("bent", "winners"))
                assert any(each["kinks"].values()) == changed
                if not changed and activation != "tanh":  # linear between: only rounding is left
                    assert each["error"] <= within / float(eps)
            decimals = check["decimals"][dtype]
            assert each["agree"] <= decimals
            assert each["error"] <= 0.5 * 10.0 ** -each["agree"] or each["error"] < 1e-16
    verdict = dict(found["facts"])
    assert "float32 rounds too coarsely" in verdict[f"tinyfcn.gradcheck of {name} in float32"]
    assert "passes" in verdict[f"tinyfcn.gradcheck of {name} in float64"]


def test_the_default_shows_kinks_then_digits_then_rounding():
    rows = answer({"part": "check"})["check"]["results"]
    double, single = rows["float64"]["rows"], rows["float32"]["rows"]
    assert double[0]["kinks"]["y"] and double[0]["kinks"]["p"] and double[0]["agree"] < 1
    assert double[2]["agree"] >= 10 > double[-1]["agree"] and not any(double[2]["kinks"].values())
    assert [row["agree"] for row in single[-3:]] == [-1] * 3  # x + ε is x
    curved = answer({"part": "check", "activation": "tanh", "pool": "average"})["check"]["results"]
    errors = [curved["float64"]["rows"][at]["error"] for at in (0, 1, 2)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)  # of order ε²
    assert errors[1] / errors[2] == pytest.approx(100, rel=0.1)


def test_a_kink_is_no_wrong_gradient_but_gradcheck_stumbles():
    zeros = written(dict.fromkeys(np.ndindex(6, 6), 0))
    found = answer({"part": "check", "image": zeros, "pool": "none"})
    assert dict(found["facts"])["tinyfcn.gradcheck of x in float64"].startswith("the derivative")


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(("train", "eval")), st.sampled_from(("usual", "dead channel")),
       st.floats(-3, 3), st.floats(-3, 3))  # fmt: skip
def test_batch_norm_and_its_three_terms(mode, batch, bias, value):
    training = mode == "train"
    found = answer({"part": "norm", "mode": mode, "batch": batch, "bias": f"0.0:{bias:.2f}",
                    "x": f"1.2.1:{value:.2f}", "running_var": "1.0:2.5"})  # fmt: skip
    seen = grids(found)
    v = {n: seen[n] for n in ("x", "gz", "weight", "bias")}
    v |= {n: seen[n].copy() for n in ("running_mean", "running_var")}
    hat, y = normed(v, training)
    np.testing.assert_allclose(seen["x̂"], hat, atol=1e-4)
    np.testing.assert_allclose(seen["y"], y, atol=1e-4)
    np.testing.assert_array_equal(seen["z"], np.maximum(seen["y"], 0))
    np.testing.assert_array_equal(seen["gy"], np.where(seen["y"] > 0, v["gz"], 0))
    dead = np.reshape([look == "dead" for look in data(found, "y")["looks"]], y.shape)
    np.testing.assert_array_equal(dead, seen["y"] <= 0)
    gradient = sloped(lambda x: (normed({**v, "x": x}, training)[1] * seen["gy"]).sum(), v["x"])
    np.testing.assert_allclose(seen["gx"], gradient, atol=2e-4)
    names = ["s·gy", "\u2212s·Σgy/M", "\u2212s·x̂·Σgy·x̂/M"]
    np.testing.assert_allclose(sum(seen[n] for n in names), seen["gx"], atol=1e-5)
    if not training:
        assert not any(seen[n].any() for n in names[1:])
    np.testing.assert_allclose(seen["gbias"].ravel(), seen["gy"].sum((1, 2)), atol=1e-5)
    np.testing.assert_allclose(seen["gweight"].ravel(), (seen["gy"] * hat).sum((1, 2)), atol=1e-4)
    if training:  # the running ones follow, with the unbiased variance
        np.testing.assert_allclose(seen["mean"].ravel(), v["x"].mean((1, 2)), atol=1e-5)
        start = answer({"part": "norm", "mode": "eval", "running_var": "1.0:2.5"})
        old = grids(start)["running_var"].ravel()
        follow = 0.9 * old + 0.1 * v["x"].var((1, 2), ddof=1)
        np.testing.assert_allclose(seen["running_var"].ravel(), follow, rtol=1e-4)
    if batch == "dead channel":
        assert dict(found["facts"])["dead in channel 1"].startswith("12 of 12: nothing comes back")
        assert not seen["gx"][1].any()


def printed(program: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {})
    return out.getvalue()


def test_the_code_prints_the_numbers():
    text = printed(answer({"mask": "0.0:255"})["code"]["tinyfcn"])
    assert f"Tensor({float(text.split('Tensor(')[2].split(',')[0])}" in text
    assert "mean_iu=" in text
    found = answer({"part": "check"})
    lines = printed(found["code"]["tinyfcn"]).splitlines()
    for start, result in zip((0, 13), found["check"]["results"].values(), strict=True):
        for line, row in zip(lines[start + 1 : start + 13], result["rows"], strict=True):
            quotient = float(row["texts"][2].replace("\u2212", "-"))
            assert float(line.split()[1]) == pytest.approx(quotient, abs=1e-6)
    for mode in ("train", "eval"):
        assert (
            printed(answer({"part": "norm", "mode": mode})["code"]["tinyfcn"]).count("Tensor") == 7
        )
    for part in ("loss", "check", "norm"):
        compile(answer({"part": part})["code"]["PyTorch"], part, "exec")


@pytest.mark.parametrize(
    "given, said",
    [
        ({"mask": "0.0:7"}, "mask must hold 0, 1, 2 or 255, got 7"),
        ({"part": "norm", "running_var": "0.0:-1"}, "running_var must be at least 0"),
        ({"part": "check", "cell": "x.9.9"}, "cell must be one of"),
        ({"part": "sleep"}, "part must be one of loss, check, norm, got 'sleep'"),
    ],
)
def test_mistakes_end_in_a_sentence(given, said):
    with pytest.raises(ValueError, match="learning: ") as found:
        answer(given)
    assert said in str(found.value)


def test_what_is_recorded_makes_sense():
    every = [*states()]
    known = {tuple(sorted(each.items())) for each in every}
    assert 500 < len(every) < 1000 and () in known
    assert (("mask", "3.2:255"),) in known
    for each in every[::40]:
        read("learning", SETTINGS, {k: v for k, v in each.items() if v is not None})
