"""The system's Chromium without a window, driven by playwright: what tests of pages do with it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SECONDS = 30  # for one answer of the browser


def moved(name: str, at: int) -> str:
    """Script that moves a slider, or chooses of a list."""
    return (
        f"{{const e = document.querySelector('[name={name}]');"
        f"if (e.matches('select')) e.selectedIndex = {at}; else e.value = Math.min({at}, e.max);"
        "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind))}"
    )


class Browser:
    """One page. ``run`` evaluates JavaScript in it; ``told`` is what its console said.

    Its loop runs only while something is awaited: others may run theirs in the same thread, which
    playwright's interface without ``await`` would forbid.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.told: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._page = self._wait(self._start())
        self.size(width, height)

    async def _start(self) -> Any:
        from playwright.async_api import async_playwright

        self._driver = await async_playwright().start()
        self._browser = await self._driver.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-gpu"],
            handle_sigint=False,  # close() is still called
        )
        page = await self._browser.new_page()
        page.on("console", lambda said: said.type == "debug" or self.told.append(said.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))
        return page

    def close(self) -> None:
        """End the browser."""
        self._wait(self._browser.close())
        self._wait(self._driver.stop())
        self._loop.close()

    def _wait(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(what, SECONDS))

    def size(self, width: int, height: int, dark: bool = False) -> None:
        """Make the window so large, and the system light or dark."""
        self._wait(self._page.set_viewport_size({"width": width, "height": height}))
        self._wait(self._page.emulate_media(color_scheme="dark" if dark else "light"))

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        whole = "script => Promise.resolve((0, eval)(script)).then(JSON.stringify)"
        value = self._wait(self._page.evaluate(whole, script))
        return value and json.loads(value)

    def until(self, script: str, first: str = "") -> None:
        """Wait for an expression to become true, after ``first`` was run."""
        done = self.run(  # not wait_for_function: the page allows no eval that comes later
            f"(async () => {{ {first}; const end = performance.now() + {500 * SECONDS};"
            f"while (!({script}) && performance.now() < end) await new Promise(setTimeout);"
            f"return Boolean({script}) }})()"
        )
        assert done, f"this did not become true: {script}"

    def ask(self, script: str) -> None:
        """Do something that asks the engine, and wait until its answer is drawn."""
        self.until(
            "document.body.dataset.ready !== before && !page.asking",
            f"const before = document.body.dataset.ready; {script}",
        )

    def open(self, url: str) -> None:
        """Load a page, also where it is there already."""
        self._wait(self._page.goto("about:blank"))
        self._wait(self._page.goto(url))

    def leave_and_return(self) -> None:
        """Open another page, and press Back."""
        self._wait(self._page.goto("about:blank"))
        self._wait(self._page.go_back())
        self.until("document.body.dataset.ready")

    def load(self, url: str) -> None:
        """Open the explorer, and wait until it has drawn its first answer."""
        self.open(url)
        self.until("document.body.dataset.ready")

    def go(self, url: str) -> None:
        """Open an address; its room is built anew, but a page that is there is not loaded again."""
        page, _, place = url.partition("#")
        if page != self._page.url.partition("#")[0]:
            return self.load(url)
        here = json.dumps(f"#{place}")
        self.run("settleAddress()")
        self.ask(f"page.room = ''; history.replaceState(null, '', {here}); page.enter()")

    def address(self) -> str:
        """What stands behind the #, when the page has come to rest."""
        return self.run("settleAddress(); location.hash")

    def slide(self, name: str, at: int) -> None:
        """Move a slider, or choose of a list, and wait for the answer."""
        self.ask(moved(name, at))

    def press(self, key: str) -> None:
        """Press a key: a name such as ArrowLeft, or a character."""
        self._wait(self._page.keyboard.press(key))

    def enter(self, text: str) -> None:
        """Type into what has the focus, then Enter, and wait for the answer."""
        self._wait(self._page.keyboard.type(text))
        before = self.run("document.body.dataset.ready")
        self.press("Enter")
        self.until(f"document.body.dataset.ready !== '{before}' && !page.asking")

    def tab(self) -> tuple[int, int]:
        """Press Tab through the page: how many elements had the focus, of how many that should."""
        wanted = self.run(
            "document.activeElement.blur(); window.reached = new Set();"
            "document.addEventListener('focusin', event => reached.add(event.target));"
            "[...document.querySelectorAll('button, input, select, a, summary, [tabindex=\"0\"]')]"
            ".filter(e => !e.disabled && !e.closest('details > div')).length"
        )
        for _ in range(wanted + 5):
            self.press("Tab")
        return self.run("reached.size"), wanted

    def mouse(self, kind: str, *place: float) -> None:
        """``move`` to a place in the window, or ``down`` or ``up`` with the button there."""
        self._wait(getattr(self._page.mouse, kind)(*place))

    def middle(self, script: str) -> tuple[float, float]:
        """Where the middle of an element is, after it was scrolled into the window."""
        return tuple(self.run(f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = "
                              "e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + "
                              f"b.height / 2] }})({script})"))  # fmt: skip

    def click(self, script: str) -> None:
        """Press and release the mouse on an element."""
        self._wait(self._page.mouse.click(*self.middle(script)))

    def picture(self, path: Path) -> None:
        """A picture of the window as PNG."""
        self._wait(self._page.screenshot(path=path))
