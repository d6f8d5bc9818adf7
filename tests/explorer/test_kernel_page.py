"""The kernel room in a real browser: what is seen is what the emulator recorded."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from chromium import moved
from scipy.signal import convolve2d, correlate2d
from test_kernel import cost

from tinyfcn.explorer import kernel
from tinyfcn.explorer.kernel import VALUES, answer

SEEN = """(() => {
  const all = (query, of) => [...document.querySelectorAll(query)].map(of);
  const text = query => document.querySelector(query)?.innerText;
  return {
    now: text(".now"), warp: text(".warp h3"), title: text(".stage h2"),
    step: text(".steps output"),
    current: all(".line.current", e => e.querySelector("code").textContent),
    racing: all(".line.racing", e => e.innerText), gone: all(".line.gone code", e => e.textContent),
    lanes: all(".lanes [role=option]", e => e.innerText.split("\\n")),
    mine: all(".word.mine", e => e.title), past: all(".past li", e => e.innerText),
    sectors: all(".sector", e => 1).length,
    turns: all(".part", e => Math.max(...[...e.children].map(bank => bank.children.length - 1))),
    costs: all(".costs tbody tr", e => [...e.cells].map(cell => cell.innerText)),
    bad: all(".race td.bad", e => e.innerText), race: text(".race"),
    address: decodeURIComponent((settleAddress(), location.hash)),
  } })()"""
MINUS = "\u2212"


def asked(seen: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """The answer to an address, the lane and the step."""
    state = dict(parse_qsl(seen["address"].partition("?")[2]))
    lane, step = (int(state.pop(name, 0)) for name in ("lane", "step"))
    found = answer({n: v for n, v in state.items() if n not in ("speed", "code")})
    lane = min(lane, len(found["lanes"]) - 1)
    return found, lane, min(step, max(0, len(found["lanes"][lane]) - 1))


def is_right(seen: dict[str, Any]) -> dict[str, Any]:
    """What is shown is the emulator's."""
    found, lane, step = asked(seen)
    mine = found["lanes"][lane]
    assert seen["title"].replace("\u200b", "").startswith(found["launch"]["function"])
    for shown, (name, of) in zip(seen["costs"], found["compared"], strict=True):
        numbers = [int(shown[i].replace(",", "")) for i in (1, 2, 4, 5)]
        assert shown[0] == name and numbers == [*of["global"][:2], *of["shared"][:2]]
    if not mine:
        assert seen["now"] == "This thread touches no memory."
        return found
    event = found["events"][mine[step]]
    assert seen["step"] == f"{step + 1} of {len(mine)}" and len(seen["past"]) == min(step + 1, 200)
    assert f"{event['file']}:{event['line']}" in seen["now"]
    parts = [p for p in found["listing"] if p["file"] == event["file"]]
    source = {n: line for p in parts for n, line in enumerate(p["lines"], p["first"])}
    assert seen["current"][0].startswith(source[event["line"]])
    if "memory" not in event:
        assert "wait" in seen["warp"] and seen["sectors"] == len(seen["turns"]) == 0
        return found
    i, each = event["lanes"].index(lane), event["each"]
    assert f"{event['access']} {event['name']}[{event['at'][i]}" in seen["now"]
    shown = seen["now"].replace(MINUS, "-").replace("←", "→").split("→")[1]
    if event["name"] in ("params", "grads", "velocities", "first_moments", "second_moments"):
        assert shown.strip() == f"{event['name']}[0]"  # a pointer
        return found
    numbers = [float(text) for text in shown.split(",")]
    wanted = [np.nan if v is None else v for v in event["values"][i * each : (i + 1) * each]]
    np.testing.assert_allclose(numbers, wanted, rtol=1e-3, atol=1e-9)
    drawn = seen["sectors"] if event["memory"] == "global" else sum(seen["turns"])
    assert drawn == event["cost"] and seen["warp"].startswith(f"{event['cost']} ")
    assert seen["mine"] and all(str(lane) in m.removeprefix("lane ").split(", ")
                                for m in seen["mine"])  # fmt: skip
    assert [int(text[0]) for text in seen["lanes"] if len(text) > 1] == event["lanes"]
    return found


def arrays(name: str, size: dict[str, int]) -> dict[str, np.ndarray]:
    """What lies behind the names of a kernel's arguments, in float64: inputs as they are drawn, and
    what NumPy and SciPy make of them."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32).astype(float)

    if name.startswith("gemm"):
        a, b = drawn(size["m"], size["k"]), drawn(size["k"], size["n"])
        return {"a": a, "b": b, "c": a @ b}
    if "count" in size:
        param, grad, velocity = (drawn(size["count"]) for _ in range(3))
        moved = "velocities[0]" if name[0] == "s" else "first_moments[0]"
        return {"params[0]": param, "grads[0]": grad, moved: velocity}
    n, c, h, w = (size[letter] for letter in "nchw")
    x = drawn(n, c, h, w)
    if "oc" in size:
        oc, k, s, p = size["oc"], size["kernel"], size["stride"], size["kernel"] // 2
        gy = drawn(n, oc, (h - 1) // s + 1, (w - 1) // s + 1)
        weight, bias, other = drawn(oc, c, k, k), drawn(oc), drawn(c)
        if name in ("conv2d_input_grad", "col2im"):
            spread = np.zeros((n, oc, h + 2 * p - k + 1, w + 2 * p - k + 1))
            spread[:, :, ::s, ::s] = gy
            gx = [[sum(convolve2d(spread[i, o], weight[o, j]) for o in range(oc))[
                p : p + h, p : p + w] for j in range(c)] for i in range(n)]  # fmt: skip
            gx = np.array(gx)
            if name == "col2im":  # of which the bias is added later
                return {"gx": gx}
            return {"gy": gy, "weight": weight, "bias": other,
                    "gx": gx + other[:, None, None]}  # fmt: skip
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        y = [[sum(correlate2d(padded[i, j], weight[o, j], "valid") for j in range(c))[::s, ::s]
              + bias[o] for o in range(oc)] for i in range(n)]  # fmt: skip
        return {"x": x, "weight": weight, "bias": bias, "y": np.array(y)}
    if name == "batch_norm":
        mean, invstd, weight, bias = (drawn(c)[:, None, None] for _ in range(4))
        return {"x": x, "mean": mean, "invstd": invstd, "weight": weight, "bias": bias,
                "y": (x - mean) * invstd * weight + bias}  # fmt: skip
    found = {"x": x}
    if name == "relu":
        found["y"] = np.maximum(x, 0)
    elif name == "sum_pixels":
        found["sums"] = x.sum((0, 2, 3))
    elif name == "batch_norm_parts":
        found["means"] = x.mean((0, 2, 3))
    elif name == "max_pool2d":
        windows = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
        found["y"] = windows.max((3, 5))
    elif name in ("scatter_plane", "gather_plane"):
        found = {}
    return found


def history(room: Any, lane: int, name: str, size: dict[str, int]) -> int:
    """All that the thread has read and written, checked; gives how much of it NumPy knows."""
    known, of = 0, arrays(name, size)
    for line in room.run("[...document.querySelectorAll('.past li')].map(e => e.innerText)"):
        found = re.search(r"(reads|writes) (\S+)\[(\d+)\S*\] . (.*)", line.replace(MINUS, "-"))
        if not found or found[2] not in of or (found[1] == "writes" and "count" in size):
            continue  # optimizers work in place
        values = [float(text) for text in found[4].split(",")]
        places = int(found[3]) + np.arange(len(values))
        wanted = of[found[2]].ravel()[places]
        np.testing.assert_allclose(values, wanted, rtol=2e-3, atol=2e-4, err_msg=line)
        known += 1
    return known


@pytest.mark.parametrize("name", kernel.KERNELS)
def test_random_configurations(server, browser, name):
    """Of each kernel one: of a size, a slider that is moved, a block, a thread, a step; every read
    and write of the thread is that of the arrays of NumPy, and sectors and turns are counted by
    hand from what the lanes touch."""
    rng = np.random.default_rng([*name.encode()])
    letters = [*kernel.KERNELS[name]]
    small = {n: [v for v in VALUES[n] if v <= {"n": 33, "m": 24, "k": 17, "oc": 16}.get(n, 1000)]
             for n in letters}  # fmt: skip
    small["n"] = [n for n in small.get("n", []) if n < 4 or "m" in letters]
    size = {letter: int(rng.choice(small[letter])) for letter in letters}
    query = "&".join(f"{n}={v}" for n, v in size.items() if v != kernel.KERNELS[name][n])
    browser.go(f"{server.url}#kernel?name={name}&{query}")
    letter = letters[rng.integers(len(letters))]
    options = browser.run(f"Number(document.querySelector('[name={letter}]').max)") + 1
    browser.slide(letter, int(rng.integers(min(options, len(small[letter])))))
    size[letter] = int(browser.run(f"document.querySelector('[name={letter}]').ariaValueText"))
    for picker in ("Blocks of the grid", "Threads of the block"):
        options = f"document.querySelectorAll('[aria-label=\"{picker}\"] > *')"
        at = int(rng.integers(browser.run(f"{options}.length")))
        browser.until("!page.asking", f"{options}[{at}].click()")
    seen = browser.run(SEEN)
    found = is_right(seen)
    _, lane, _ = asked(seen)
    browser.run(moved("step", 10_000))  # the last
    is_right(browser.run(SEEN))
    known = history(browser, lane, name, size)
    touched = {e["name"] for number in found["lanes"][lane][-200:]
               for e in [found["events"][number]] if "name" in e}  # fmt: skip
    assert known or not touched & {*arrays(name, size)}
    browser.run(moved("step", int(rng.integers(60))))
    seen = browser.run(SEEN)
    is_right(seen)
    if not found["lanes"][lane] or "memory" not in (event := event_of(seen)):
        return
    assert event["cost"] == cost(event)
    # Where the pointer is, the lane and its words light up.
    lit = (
        "[...document.querySelectorAll('.pointed')].map("
        "e => e.dataset.lanes.split(' ').map(Number))"
    )
    other = int(rng.choice(event["lanes"]))
    browser.mouse("move", *browser.middle(f"document.querySelectorAll('.lanes > *')[{other}]"))
    lanes = browser.run(lit)
    assert lanes[0] == [other] and len(lanes) > 1 and all(other in each for each in lanes)
    browser.mouse("move", 0, 0)
    assert browser.run(lit) == []


def event_of(seen: dict[str, Any]) -> dict[str, Any]:
    """What is shown."""
    found, lane, step = asked(seen)
    return found["events"][found["lanes"][lane][step]]


def test_steps_and_keys(room):
    is_right(room.run(SEEN))
    room.run("document.querySelector('[name=step]').focus()")
    for _ in range(3):
        room.press("ArrowRight")
    assert "step=3" in room.address()
    is_right(room.run(SEEN))
    room.press("ArrowLeft")
    is_right(room.run(SEEN))
    room.run("document.querySelector('.lanes').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowLeft"):
        room.press(key)
        is_right(room.run(SEEN))
    assert "lane=30" in room.address()
    room.run("document.querySelector('.threads').focus()")
    room.press("ArrowDown")
    room.until("location.hash.includes('warp=1') && !page.asking")
    assert "warp=1" in room.address() and "lane=30" in room.address()
    is_right(room.run(SEEN))
    room.go(room.run("location.href"))  # a link shows exactly this
    is_right(room.run(SEEN))


def test_a_barrier_is_deleted(room):
    switches = "document.querySelectorAll('.source [role=switch]')"
    room.ask(f"{switches}[1].click()")
    seen = room.run(SEEN)
    race = is_right(seen)["race"]
    assert [text.strip() for text in seen["gone"]] == ["__syncthreads();"]
    assert len(seen["racing"]) == 2
    for _, _, block, thread in race["report"]["places"]:
        name = f"⚡ thread ({', '.join(map(str, thread))}) of block ({', '.join(map(str, block))})"
        assert any(name in text for text in seen["racing"])
    assert f"{len(race['wrong'])} of 4096 numbers are wrong." in seen["race"]
    shown = [float(text.replace(MINUS, "-")) for text in seen["bad"]]
    np.testing.assert_allclose(shown, [got for _, got, _ in race["shown"]], rtol=1e-3)
    block, thread = race["report"]["places"][0][2:]  # a click leads there, and both light up
    room.ask("document.querySelector('.who').click()")
    here = is_right(room.run(SEEN))["launch"]
    assert here["number"] == block[0] + 4 * block[1]
    lit = (
        "[...document.querySelectorAll('.threads .races')].map("
        "e => [...e.parentElement.children].indexOf(e))"
    )
    racers = [t[0] + 16 * t[1] for _, _, _, t in race["report"]["places"]]
    assert sorted(room.run(lit)) == sorted({*racers})
    chosen = (
        "[...document.querySelectorAll('.threads > *')].findIndex(e => e.ariaSelected === 'true')"
    )
    assert room.run(chosen) in racers
    room.ask("document.querySelector('[data-value=seed]').click()")
    seen = room.run(SEEN)
    assert "seed=" in seen["address"] and is_right(seen)["race"]["seed"] != 1
    room.ask(f"{switches}[1].click()")
    assert not room.run(SEEN)["racing"] and "cut" not in room.address()


def test_without_a_compiler(server, browser, monkeypatch):
    def needs(given):
        found = answer(given)
        return {"needs": "it takes g++", "controls": found["controls"], "code": found["code"]}

    monkeypatch.setattr(kernel, "answer", needs)
    browser.go(f"{server.url}#kernel")
    assert browser.run("document.querySelector('.needs').innerText") == "it takes g++"
    assert browser.run("document.querySelector('.stage').hidden")


def test_tab_alone_reaches_everything(room):
    reached, wanted = room.tab()
    assert reached >= wanted


def test_the_folder_of_files(browser, folder):
    assert (folder / "answers-kernel.js").stat().st_size < 2_000_000
    here = (folder / "index.html").as_uri()
    for query in ("", "?name=gemm_4&warp=3&step=9", "?cut=2&seed=3", "?name=relu&step=1"):
        browser.go(f"{here}#kernel{query}")
        is_right(browser.run(SEEN))
    browser.until("!page.asking", "document.querySelectorAll('.threads > *')[40].click()")
    is_right(browser.run(SEEN))
