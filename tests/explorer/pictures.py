"""Makes the pictures of the explorer for README.md: ``python tests/explorer/pictures.py``."""

from __future__ import annotations

import threading
from pathlib import Path

from chromium import Browser
from PIL import Image

from tinyfcn.explorer.server import Server

FOLDER = Path(__file__).parents[2] / "examples/pictures"
HEIGHT = 860  # of the window
ADDRESSES = {
    "explore.png": "convolution?at=y.4",
    "explore-network.png": "network?at=7.6",
    "explore-kernel.png": "kernel?cut=2&seed=2",
}


def main() -> None:
    """Write them all."""
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        browser = Browser(1280, HEIGHT)
        for name, address in ADDRESSES.items():
            browser.load(f"{server.url}#{address}")
            browser.until("[...document.images].every(image => image.complete)")
            browser.run("new Promise(done => setTimeout(done, 300))")  # canvases are drawn
            browser.picture(FOLDER / name)
            Image.open(FOLDER / name).convert("RGB").save(FOLDER / name, optimize=True)
        browser.close()
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    main()
