"""The explorer's server, and a browser that looks at it."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import BROWSER, Browser

from tinyfcn.explorer import static
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
    pytest.importorskip("playwright", reason="needs playwright")
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """A window of 1280 x 900, whose console has to stay quiet."""
    _browser.told.clear()
    _browser.size(1280, 900)
    _browser.mouse("move", 0, 0)
    yield _browser
    _browser.run("localStorage.clear(); delete document.documentElement.dataset.theme")
    assert _browser.told == []


@pytest.fixture
def room(request: pytest.FixtureRequest, server: Server, browser: Browser) -> Browser:
    """The browser in the room of this file, ``test_NAME_page.py``, as it is at first."""
    browser.go(f"{server.url}#{_room_of(request)}")
    return browser


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of files, with the answers of the room of this file alone."""
    out = tmp_path_factory.mktemp("folder") / "pages"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinyfcn.explorer.ROOMS", (_room_of(request),))
        static.write(out)
    return out


def _room_of(request: pytest.FixtureRequest) -> str:
    return request.path.stem.split("_")[1]
