"""A headless Chromium, spoken to through a pipe (DevTools protocol): no driver, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
# Chromium reads from its descriptor 3 and writes to 4, which are in use here.
START = (
    "import os, sys; _, *ends = sys.argv; os.dup2(int(ends[0]), 3); os.dup2(int(ends[1]), 4); "
    "os.execv(ends[2], ends[2:])"
)
SECONDS = 30  # for one answer of the browser


def moved(name: str, at: int | str) -> str:
    """Script that moves a slider, or chooses of a list."""
    return (
        f"{{const e = document.querySelector('[name={name}]');"
        f"if (e.matches('select')) e.selectedIndex = {at}; else e.value = Math.min({at}, e.max);"
        "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind))}"
    )


class Browser:
    """One page. ``run`` evaluates JavaScript in it; ``told`` is what its console said."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.told: list[str] = []
        self._number, self._buffer, self._session = 0, b"", {}
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ends = [
            fcntl.fcntl(end, fcntl.F_DUPFD, 10) for pair in (os.pipe(), os.pipe()) for end in pair
        ]
        theirs_in, self._out, self._in, theirs_out = ends
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), BROWSER, "--headless",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--hide-scrollbars", f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.size(width, height)

    def close(self) -> None:
        """End the browser."""
        try:
            self.send("Browser.close")
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._in)
            os.close(self._out)
            self._profile.cleanup()

    def send(self, method: str, **arguments: Any) -> Any:
        """Call a method of the protocol, and wait for its result."""
        self._number += 1
        call = {"id": self._number, "method": method, "params": arguments, **self._session}
        os.write(self._out, json.dumps(call).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], SECONDS)
            assert ready, "the browser says nothing"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        method, about = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and about["type"] != "debug":
            self.told.append(str(about["args"]))
        elif method == "Runtime.exceptionThrown":
            self.told.append(str(about["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.told.append(str(about["entry"]))
        return message

    def size(self, width: int, height: int, dark: bool = False) -> None:
        """Make the window so large, and the system light or dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True,
                         awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str, first: str = "") -> Any:
        """Wait for an expression to become true, after ``first`` was run; gives its value."""
        value = self.run(
            f"(() => {{ {first}; const end = performance.now() + {500 * SECONDS};"
            f"return new Promise((done, failed) => {{ const look = () => {{ try {{"
            f"const value = {script}; if (value || performance.now() > end) done(value);"
            "else setTimeout(look) } catch (error) { failed(error) } }; look() }) })()"
        )
        assert value, f"this did not become true: {script}"
        return value

    def ask(self, script: str) -> None:
        """Do something that asks the engine, and wait until its answer is drawn."""
        self.until(
            "document.body.dataset.ready !== before && !page.asking",
            f"const before = document.body.dataset.ready; {script}",
        )

    def load(self, url: str) -> None:
        """Open a page, and wait until it has drawn its first answer."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.until("document.body && document.body.dataset.ready")

    def go(self, url: str) -> None:
        """Open an address; its room is built anew, but a page that is there is not loaded again."""
        page, _, place = url.partition("#")
        if page != self.run("location.href.split('#')[0]"):
            return self.load(url)
        here = json.dumps(f"#{place}")
        self.ask(f"page.room = ''; history.replaceState(null, '', {here}); page.enter()")

    def slide(self, name: str, at: int) -> None:
        """Move a slider, or choose of a list, and wait for the answer."""
        self.ask(moved(name, at))

    def fastest(self, name: str, places: Sequence[int]) -> float:
        """Milliseconds from the move of a slider to what is drawn, at the median."""
        times = self.run(
            "(async () => { const times = []; const ready = () => document.body.dataset.ready;"
            f"for (const at of {[*places]}) {{ const start = performance.now(), before = ready();"
            f"{moved(name, 'at')}; while (ready() === before)"
            "await new Promise(requestAnimationFrame); times.push(performance.now() - start) }"
            "return times })()"
        )
        return statistics.median(times)

    def enter(self, text: str) -> None:
        """Type into what has the focus, then Enter, and wait for the answer."""
        for key in text:
            self.press(key)
        before = self.run("document.body.dataset.ready")
        self.press("Enter")
        self.until(f"document.body.dataset.ready !== '{before}' && !page.asking")

    def tab(self) -> tuple[int, int]:
        """Press Tab through the page: how many elements had the focus, of how many that should."""
        wanted = self.run(
            "[...document.querySelectorAll('button, input, select, a, summary, [tabindex=\"0\"]')]"
            ".filter(e => !e.disabled && !e.closest('details > div')).length"
        )
        self.run(
            "document.activeElement.blur(); window.reached = new Set();"
            "document.addEventListener('focusin', event => reached.add(event.target)); 0"
        )
        for _ in range(wanted + 5):
            self.press("Tab")
        return self.run("reached.size"), wanted

    def press(self, key: str) -> None:
        """Press a key: a name such as ArrowLeft, or a character."""
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32, "Home": 36, "End": 35,
                 "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}  # fmt: skip
        about = {"key": key, "text": text, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """``moved``, ``pressed`` or ``released`` at a place in the window."""
        held = {} if kind == "moved" else {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind.capitalize()}", x=x, y=y,
                  buttons=int(kind == "pressed"), **held)  # fmt: skip

    def drag(self, x: float, y: float) -> None:
        """Move the mouse with its button down."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left",
                  buttons=1)  # fmt: skip

    def middle(self, script: str) -> tuple[float, float]:
        """Where the middle of an element is, after it was scrolled into the window."""
        return tuple(self.run(f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = "
                              "e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + "
                              f"b.height / 2] }})({script})"))  # fmt: skip

    def click(self, script: str) -> None:
        """Press and release the mouse on an element."""
        place = self.middle(script)
        for kind in ("moved", "pressed", "released"):
            self.mouse(kind, *place)

    def picture(self, path: Path, whole: bool = True) -> None:
        """A picture of the page as PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
