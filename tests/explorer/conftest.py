"""The explorer's server, and a browser that looks at it."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import BROWSER, Browser

from tinyfcn.explorer.server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    if not BROWSER:
        pytest.skip("needs Chromium")
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """A window of 1280 x 900, whose console has to stay quiet."""
    _browser.told.clear()
    _browser.size(1280, 900)
    yield _browser
    _browser.run("localStorage.clear()")
    assert _browser.told == []
