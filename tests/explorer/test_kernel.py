"""The kernel room's answers, against NumPy and against the emulator's own profile."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfcn
from tinyfcn.backend.cuda.emulator import Emulator, build
from tinyfcn.backend.cuda.kernels import folder
from tinyfcn.explorer import kernel, kernel_runs
from tinyfcn.explorer.kernel import KERNELS, VALUES, answer
from tinyfcn.kernel_lab.cases import CASES, sizes
from tinyfcn.kernel_lab.work import exact, work

SMALL = [name for name in KERNELS if name not in ("conv2d", "conv2d_input_grad", "gemm_3")]


@st.composite
def addresses(draw) -> dict[str, str]:
    """A kernel and a size, most of them small."""
    name = draw(st.sampled_from(SMALL))
    letters = draw(st.lists(st.sampled_from(sorted(KERNELS[name])), unique=True, max_size=2))
    sizes = {n: str(draw(st.sampled_from([v for v in VALUES[n] if v <= 65]))) for n in letters}
    return {"name": name, **sizes}


def all_events(given: dict[str, str]) -> list[Any]:
    """Those of all warps of all blocks."""
    first = answer(given)
    block = int(np.prod(first["launch"]["block"]))
    return [
        event
        for number in range(int(np.prod(first["launch"]["grid"])))
        for warp in range(-(-block // 32))
        for event in answer({**given, "block": str(number), "warp": str(warp)})["events"]
    ]


def cost(event: Any) -> int:
    """Sectors, or turns at the banks, by sets."""
    size = event["bytes"] * event["each"]
    begins = [at * event["bytes"] + event["shift"] for at in event["at"]]
    if event["memory"] == "global":
        return len({(b + i) // 32 for b in begins for i in range(size)})
    lanes, turns = 32 if size <= 4 else 128 // size, 0
    for part in range(0, 32, lanes):
        words = {(b + i) // 4 for b, lane in zip(begins, event["lanes"], strict=True)
                 if part <= lane < part + lanes for i in range(size)}  # fmt: skip
        turns += max(Counter(word % 32 for word in words).values(), default=0)
    return turns


@settings(max_examples=8, deadline=None)
@given(addresses())
def test_events_add_up_to_the_profile(state):
    found = answer(state)
    if np.prod(found["launch"]["grid"]) > 20:
        return
    added: dict[tuple[Any, ...], np.ndarray] = {}
    for event in all_events(state):
        if event["access"] == "waits":
            continue
        assert event["cost"] == cost(event)
        key = event["file"], event["line"], event["memory"], event["access"]
        added[key] = added.get(key, 0) + np.array([1, event["cost"], event["least"]])
    assert {key: [*map(int, sums)] for key, sums in added.items()} == {
        tuple(c[:4]): c[4:] for c in found["costs"]
    }


@pytest.mark.parametrize("name", kernel.GEMMS)
def test_values_are_those_of_the_arrays(name):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((17, 24), (24, 33)))
    of = {"a": a, "b": b, "c": a @ b}
    state = {"name": name, "m": "17", "n": "33", "k": "24"}
    seen: dict[str, set[int]] = {"a": set(), "b": set(), "c": set()}
    for event in all_events(state):
        if event.get("memory") != "global":
            continue
        places = np.add.outer(event["at"], np.arange(event["each"]))
        values = np.reshape(event["values"], places.shape)
        np.testing.assert_allclose(values, of[event["name"]].ravel()[places], rtol=1e-4, atol=1e-5)
        assert event["access"] == ("writes" if event["name"] == "c" else "reads")
        seen[event["name"]] |= {*places.ravel().tolist()}
    assert {n: len(places) for n, places in seen.items()} == {n: v.size for n, v in of.items()}


def test_a_thread_goes_through_its_lines():
    found = answer({"name": "gemm_2", "warp": "1"})
    text = {p["file"]: dict(enumerate(p["lines"], p["first"])) for p in found["listing"]}
    for mine in found["lanes"]:
        steps = [found["events"][number] for number in mine]
        lines = [text[step["file"]][step["line"]] for step in steps]
        assert [step["access"] for step in steps[:5]] == [
            "reads", "writes", "reads", "writes", "waits"]  # fmt: skip
        assert [i for i, line in enumerate(lines) if "__syncthreads" in line] == [4, 37, 42, 75]
        # What was written to shared memory is read back.
        shared: dict[tuple[str, int], float] = {}
        for number, step in enumerate(found["events"]):
            if step.get("memory") == "shared" and step["access"] == "writes":
                shared.update(
                    {
                        (step["name"], at): v
                        for at, v in zip(step["at"], step["values"], strict=True)
                    }
                )
            elif step.get("memory") == "shared" and number in mine:
                for at, value in zip(step["at"], step["values"], strict=True):
                    assert shared.get((step["name"], at), value) == value


@pytest.mark.parametrize("seed", ["1", "2"])
def test_without_a_barrier(seed):
    before = {path: path.read_bytes() for path in folder().iterdir() if path.is_file()}
    found = answer({"name": "gemm_2", "cut": "2", "seed": seed})
    race, (file, line) = found["race"], found["barriers"][1]
    assert {path: path.read_bytes() for path in before} == before
    with kernel_runs.without(file, line) as copy:
        assert "__syncthreads" not in (copy / file).read_text().split("\n")[line - 1]
        got = work(Emulator(seed=int(seed), folder=copy), "gemm_2", (64, 64, 32), "float32")[1][0]
    assert not copy.exists()
    right = work(Emulator(), "gemm_2", (64, 64, 32), "float32")[1][0]
    assert race["wrong"] == np.flatnonzero(got.ravel() != right.ravel()).tolist() != []
    for place, wrong, good in race["shown"]:
        assert (np.float32(wrong), np.float32(good)) == (got[tuple(place)], right[tuple(place)])
    assert race["report"]["kind"] == "race"
    text = {
        line: text for p in found["listing"] for line, text in enumerate(p["lines"], p["first"])
    }
    (_, reads, block, one), (_, writes, other_block, other) = race["report"]["places"]
    assert block == other_block and one != other
    assert {"sum +=" in text[at] for at in (reads, writes)} == {True, False}


@settings(max_examples=10, deadline=None)
@given(addresses())
def test_the_code_gives_the_numbers(state):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(answer(state)["code"]["tinyfcn"], {})
    lines = printed.getvalue().splitlines()
    wanted = answer(state)["costs"]
    assert sum(f"kernel='{state['name']}<" in line for line in lines) == len(wanted)


@pytest.mark.parametrize("name", [name for name in kernel.PYTORCH if name != "batch_norm_parts"])
def test_the_code_for_pytorch(name):
    """The same names and arguments are tinyfcn's, too."""
    text = answer({"name": name, "stride": "2"})["code"]["PyTorch"]
    text = text.replace("torch.from_numpy", "tinyfcn.tensor").replace("torch", "tinyfcn")
    text = text.replace("tinyfcn.nn.functional", "tinyfcn.functional").replace("print(", "out = (")
    names: dict[str, Any] = {"tinyfcn": tinyfcn}
    exec(text.replace("import tinyfcn\n", ""), names)
    out = names["out"] if isinstance(names["out"], tuple) else (names["out"],)
    given = {**KERNELS[name], "stride": 2}
    size = tuple(given[letter.lower()] for letter in sizes(CASES[name]))
    for got, right in zip(out, exact(name, size), strict=True):
        np.testing.assert_allclose(got.numpy(), right, rtol=1e-4, atol=1e-4)


def test_controls_offer_what_is_valid():
    state = {"name": "gemm_2", "m": "64", "n": "16", "k": "8", "block": "3", "cut": "1"}
    for control in answer(state)["controls"]:
        assert control["options"][control["at"]][1] == {}
        for _, change in control["options"][:: 5 if control["name"] != "cut" else 1]:
            then = {n: v for n, v in {**state, **change}.items() if v is not None}
            answer({**then, "cut": "no"})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "gemm_9"}, "kernel: name must be one of gemm_1, gemm_2"),
        ({"m": "63"}, "kernel: m must be one of usual, 1, 8"),
        ({"block": "16"}, "kernel: gemm_2 has 16 blocks of 8 warps at this size, got block 16"),
        ({"warp": "8"}, "kernel: gemm_2 has 16 blocks of 8 warps at this size, got block 0, warp"),
        ({"cut": "3"}, "kernel: cut is one of 2 barriers of gemm_2, got 3"),
        ({"name": "relu", "cut": "1"}, "kernel: cut is one of 0 barriers of relu, got 1"),
    ],
)
def test_a_bad_address_ends_in_a_sentence(given, sentence):
    with pytest.raises(ValueError) as error:
        answer(given)
    assert str(error.value).startswith(sentence)


def test_without_a_compiler_it_says_what_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "COMPILER", "no-such-compiler")
    monkeypatch.setenv("TINYFCN_CACHE", str(tmp_path))
    caches = kernel_runs.run, build.compiler_version
    for cache in caches:
        cache.cache_clear()
    for address in ({}, {"cut": "2", "seed": "3"}):
        found = answer(address)
        assert "apt-get install g++" in found["needs"] and found["controls"] and found["code"]
    for cache in caches:
        cache.cache_clear()


def test_a_trace_after_a_fault():
    """What a launch left that ended in a fault does no harm to the next."""
    with kernel_runs.without(*answer({})["barriers"][1]) as copy:
        engine = Emulator("check", profile=True, trace=0, folder=copy)
        with pytest.raises(Exception, match="race"):
            work(engine, "gemm_2", (64, 64, 32), "float32")
        work(engine, "gemm_1", (16, 16, 8), "float32")
    trace = engine.traces[-1]
    assert trace.function == "gemm_1<float>" and len(trace.steps) == 256 * (2 * 8 + 1)
    with pytest.raises(ValueError, match="trace needs profile"):
        Emulator("check", trace=0)


def test_what_is_recorded_is_little():
    recorded = [*kernel.states()]
    assert len(recorded) < 45
    assert {state.get("name", "gemm_2") for state in recorded} == {*KERNELS}
