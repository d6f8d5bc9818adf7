"""See what happens inside a layer, in a browser.

The page asks the engine on this machine, which answers this machine alone; Ctrl-C ends it. With
--static it becomes a folder of files, with the answers that its sliders can ask for.

tinyfcn explore                   open the page
tinyfcn explore runs/first/best.npz --image photo.jpg    your own network, your own image
tinyfcn explore --no-browser      only say its address
tinyfcn explore --static pages    for a web host, or to open pages/index.html
"""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import backend, explorer
from tinyfcn.cli.errors import UsageError, usage_errors
from tinyfcn.cli.parser import Parser, checked
from tinyfcn.explorer import static
from tinyfcn.explorer.server import PORT, Server


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn explore")
    port = checked(int, "a port from 1024 to 65535", lambda n: 1024 <= n <= 65535)
    add = parser.add_argument
    add("checkpoint", nargs="?", type=Path, help="a trained network, for the network room")
    add("--image", type=Path, metavar="PHOTO", help="an image for that room, beside its scenes")
    add(
        "--port",
        type=port,
        metavar="N",
        help=f"of the address (default: {PORT}, or one that is free)",
    )
    add("--no-browser", action="store_true", help="do not open the page")
    add("--static", type=Path, metavar="FOLDER", help="write files, and serve nothing")
    options = parser.parse(arguments)
    backend.use("numpy")
    if options.checkpoint or options.image:
        with usage_errors("the network room"):
            explorer.room("network").use(options.checkpoint, options.image)
    if options.static:
        size = static.write(options.static, print)
        print(f"{options.static / 'index.html'}: {size / 1e6:.1f} MB with all that it needs")
        return
    try:
        server = Server(options.port or PORT)
    except OSError as error:
        if options.port:
            raise UsageError(f"--port {options.port}: {error.strerror or error}") from error
        server = Server(0)
    with server:
        print(f"{server.url} shows the explorer, until Ctrl-C", flush=True)
        if not options.no_browser and has_screen():
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped")


def has_screen() -> bool:
    """Whether a browser would have a window; without one some open in the terminal."""
    shown = "DISPLAY", "WAYLAND_DISPLAY"
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in shown)
