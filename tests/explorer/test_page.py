"""The page in a real browser, in each room: for every width, in the dark, and for every reader."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tinyfcn.cli.lessons import folder
from tinyfcn.lessons.course import course
from tinyfcn.lessons.notebook import scripts

# Rooms in all their states; a new room adds a few.
ADDRESSES = [
    "convolution",
    "convolution?at=y.3&code=PyTorch&view=im2col",
    "convolution?ph=4&pw=4&h=10&w=10&c=4&oc=4&step=9",
    "convolution?c=2&oc=2&image=scene 1&ph=1&view=counts&at=x.9",
    "convolution?into=w&swapped=yes&view=winograd&at=w.1&weight=0.0.1.1:9",
    "convolution?view=winograd&paint=scatter&step=3",
    "upsampling?at=y.3&code=PyTorch&x=1.1:6",
    "upsampling?pass=gradient&at=unpool-back.3&weights=random&kh=3&kw=3&ph=1&pw=1&h=9&w=10",
    "upsampling?h=5&w=5&size=default&at=map-count.3",
    "learning?at=loss-mask.7&mask=0.0:255,7.4:255",
    "learning?border=2&reduction=sum&at=loss-matrix.0&code=tinyfcn",
    "learning?part=check&eps=1e-2",
    "learning?part=check&cell=w.1.1&activation=tanh&pool=average",
    "learning?part=norm&at=norm-y.0",
    "learning?part=norm&mode=eval&batch=dead channel",
    "kernel?step=30&lane=5",
    "kernel?name=gemm_4&warp=3&step=20&code=PyTorch",
    "kernel?cut=2&seed=2",
    "kernel?name=max_pool2d&w=31&step=2",
    "network?at=9.2",
    "network?values=score&at=44.1&code=PyTorch",
    *(f"network?view={view}" for view in ("field", "skips", "pad", "crops")),
]
AXE = importlib.util.find_spec("axe_core_python")
FAULTS = """axe.run({resultTypes: ['violations']}).then(all => all.violations.map(one =>
    [one.id, one.impact, ...one.nodes.slice(0, 3).map(node => node.html + node.failureSummary)]))"""


def axe() -> str:
    """The script."""
    return (Path(AXE.origin).parent / "axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_widths_and_themes(server, browser, width, dark):
    browser.size(width, 900, dark)
    is_dark = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(n => n < 100)"
    for address in ADDRESSES:
        browser.go(f"{server.url}#{address}")
        page = "document.documentElement"
        assert browser.run(f"{page}.scrollWidth - {page}.clientWidth") == 0, address
        assert browser.run(is_dark) == dark
    browser.click("document.getElementById('theme')")
    assert browser.run(is_dark) != dark
    browser.load(f"{server.url}#{ADDRESSES[0]}")
    assert browser.run(is_dark) != dark  # it was remembered


@pytest.mark.skipif(AXE is None, reason="needs axe-core-python")
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_axe_finds_nothing(server, browser, width, dark):
    browser.size(width, 900, dark)
    browser.load(server.url)
    browser.run(axe() + "; 0")
    for address in ADDRESSES[dark::2]:  # each once, as axe takes half a second
        browser.go(f"{server.url}#{address}")
        assert browser.run(FAULTS) == [], address


@pytest.mark.skipif(AXE is None, reason="needs axe-core-python")
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_axe_finds_nothing_serious_in_lessons(tmp_path, browser, width, dark):
    file = tmp_path / "lessons.html"
    file.write_text(course(scripts(folder())[3:5], lambda lesson: "", str), "utf-8")
    browser.size(width, 900, dark)
    browser.open(file.as_uri())
    browser.run(axe() + "; 0")
    assert [fault for fault in browser.run(FAULTS) if fault[1] in ("serious", "critical")] == []


@pytest.mark.parametrize("script", scripts(folder()), ids=lambda script: script.path.stem)
def test_the_link_of_a_lesson_is_understood(script, server, browser):
    address = script.link[0].partition("#")[2]
    browser.go(f"{server.url}#{address}")
    assert browser.run("byId('problem').innerText") == ""
    browser.run("page.write()")
    assert browser.address() == f"#{address}"


def test_it_is_there_in_a_second(server, browser):
    browser.load(server.url)
    assert browser.run("performance.getEntriesByType('navigation')[0].duration") < 1000
    fetched = browser.run("performance.getEntriesByType('resource').map(one => one.name)")
    assert all(name.startswith(server.url) for name in fetched)


def test_the_address_is_right_after_a_fast_player(server, browser):
    """A browser refuses what is above 200 changes in ten seconds, but not one that is driven."""
    browser.go(f"{server.url}#kernel")
    changes = browser.run(
        "const slider = document.querySelector('[name=step]'), draw = page.draw; let changes = 0;"
        "page.draw = () => {};"
        "history.replaceState = (...to) =>"
        "{ changes++; History.prototype.replaceState.apply(history, to) };"
        "for (let i = 0; i < 250; i++)"
        "{ slider.value = i % 2 + 3; slider.dispatchEvent(new Event('input')) }"
        "page.draw = draw; delete history.replaceState; changes"
    )
    assert changes < 20
    browser.until("location.hash === '#kernel?step=4'")  # by itself
    browser.run("page.look({ step: '7' }); location.href = '#convolution'")
    browser.until("page.room === 'convolution' && page.answer && !page.asking")
    assert browser.address() == "#convolution"  # what waited was of the other room
    browser.run("page.look({ at: 'y.3' }); page.look({ at: 'y.5' })")
    browser.leave_and_return()
    assert browser.run("location.hash") == "#convolution?at=y.5"
