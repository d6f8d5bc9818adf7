"""The kernel room in a real browser: what is seen is what the emulator recorded."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from test_convolution_page import moved, settled

from tinyfcn.explorer import kernel, static
from tinyfcn.explorer.kernel import answer

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
    address: decodeURIComponent(location.hash),
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
    numbers = [float(text) for text in shown.split(",")]
    wanted = [np.nan if v is None else v for v in event["values"][i * each : (i + 1) * each]]
    np.testing.assert_allclose(numbers, wanted, rtol=1e-3, atol=1e-9)
    drawn = seen["sectors"] if event["memory"] == "global" else sum(seen["turns"])
    assert drawn == event["cost"] and seen["warp"].startswith(f"{event['cost']} ")
    assert seen["mine"] and all(str(lane) in m.removeprefix("lane ").split(", ")
                                for m in seen["mine"])  # fmt: skip
    assert [int(text[0]) for text in seen["lanes"] if len(text) > 1] == event["lanes"]
    return found


@pytest.fixture
def room(server, browser):
    browser.go(f"{server.url}#kernel")
    return browser


def chosen(browser: Any, name: str, text: str) -> None:
    """Choose of a list."""
    settled(browser, f"{{const e = document.querySelector('[name={name}]'); e.value = '{text}';"
            "e.dispatchEvent(new Event('change'))}")  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_random_configurations(room, seed):
    """Five from each seed: a kernel, a size, a block, a thread, a step."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        names = [name for name in kernel.KERNELS if not name.startswith("conv2d")]  # slow
        name = names[rng.integers(len(names))]
        if room.run("document.querySelector('[name=name]').value") != name:
            chosen(room, "name", name)
        sliders = room.run("[...document.querySelectorAll('.controls input')].map(e => e.name)")
        settled(room, moved(sliders[rng.integers(len(sliders))], int(rng.integers(6))))
        for picker in ("Blocks of the grid", "Threads of the block"):
            options = f"document.querySelectorAll('[aria-label=\"{picker}\"] > *')"
            at = int(rng.integers(room.run(f"{options}.length")))
            room.run(f"window.was = page.answer; {options}[{at}].click()")
            room.until("!page.asking")
        room.run(moved("step", int(rng.integers(60))))
        is_right(room.run(SEEN))


def test_steps_and_keys(room):
    is_right(room.run(SEEN))
    room.run("document.querySelector('[name=step]').focus()")
    for _ in range(3):
        room.press("ArrowRight")
    assert "step=3" in room.run("location.hash")
    is_right(room.run(SEEN))
    room.press("ArrowLeft")
    is_right(room.run(SEEN))
    room.run("document.querySelector('.lanes').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowLeft"):
        room.press(key)
        is_right(room.run(SEEN))
    assert "lane=30" in room.run("location.hash")
    room.run("document.querySelector('.threads').focus()")
    before = room.run("document.body.dataset.ready")
    room.press("ArrowDown")
    room.until(f"document.body.dataset.ready !== '{before}'")
    assert "warp=1" in room.run("location.hash") and "lane=30" in room.run("location.hash")
    is_right(room.run(SEEN))
    room.go(room.run("location.href"))  # a link shows exactly this
    is_right(room.run(SEEN))


def test_a_barrier_is_deleted(room):
    switches = "document.querySelectorAll('.source [role=switch]')"
    settled(room, f"{switches}[1].click()")
    seen = room.run(SEEN)
    race = is_right(seen)["race"]
    assert [text.strip() for text in seen["gone"]] == ["__syncthreads();"]
    assert len(seen["racing"]) == 2 and all("⚡ thread (" in text for text in seen["racing"])
    for _, _, _, thread in race["report"]["places"]:
        assert any(f"thread ({', '.join(map(str, thread))})" in text for text in seen["racing"])
    assert f"{len(race['wrong'])} of 4096 numbers are wrong." in seen["race"]
    shown = [float(text.replace(MINUS, "-")) for text in seen["bad"]]
    np.testing.assert_allclose(shown, [got for _, got, _ in race["shown"]], rtol=1e-3)
    settled(room, "document.querySelector('[data-value=seed]').click()")
    seen = room.run(SEEN)
    assert "seed=" in seen["address"] and is_right(seen)["race"]["seed"] != 1
    settled(room, f"{switches}[1].click()")
    assert not room.run(SEEN)["racing"] and "cut" not in room.run("location.hash")


def test_without_a_compiler(server, browser, monkeypatch):
    def needs(given):
        found = answer(given)
        return {"needs": "it takes g++", "controls": found["controls"], "code": found["code"]}

    monkeypatch.setattr(kernel, "answer", needs)
    browser.go(f"{server.url}#kernel")
    assert browser.run("document.querySelector('.needs').innerText") == "it takes g++"
    assert browser.run("document.querySelector('.stage').hidden")


def test_the_folder_of_files(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyfcn.explorer.ROOMS", ("kernel",))
    size = static.write(tmp_path / "pages")
    assert (tmp_path / "pages/answers-kernel.js").stat().st_size < 2_000_000 < 3_000_000 + size
    here = (tmp_path / "pages/index.html").as_uri()
    for query in ("", "?name=gemm_4&warp=3&step=9", "?cut=2&seed=3", "?name=relu&step=1"):
        browser.go(f"{here}#kernel{query}")
        is_right(browser.run(SEEN))
    browser.run("document.querySelectorAll('.threads > *')[40].click()")
    browser.until("!page.asking")
    is_right(browser.run(SEEN))
