"""The explorer: a page that shows what happens inside a layer, in numbers that the engine computed.

    settings.py     what an address may say, and what a slider offers
    convolution.py  a room: ``answer(given)`` computes all that its page draws
    grids.py        groups of grids: a room whose answers are such needs no drawing of its own
    server.py       the page and its answers on this machine's own address
    static.py       the same as a folder of files
    web/            the page: it asks and draws, and computes no layer

A room is a module with ``SETTINGS``, ``answer(given)`` and ``states()``, a line in ``ROOMS``, and a
script in ``web/`` that draws its answers.
"""

from __future__ import annotations

import importlib
from typing import Any

ROOMS = ("convolution", "upsampling", "network", "learning", "kernel")


def room(name: str) -> Any:
    """The module of a room; each is imported when it is entered first.

    Raises:
        KeyError: if there is none of that name.
    """
    if name not in ROOMS:
        raise KeyError(f"no room is called {name!r}; there are {', '.join(ROOMS)}")
    return importlib.import_module(f"tinyfcn.explorer.{name}")
