"""Whom tinyfcn is measured against, and the ways in which each may do its best."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

from tinyfcn.backend.cpu import memory
from tinyfcn.benchmark.measure import Side

PEERS = ("torch",)

# What our side tells GNU malloc, to keep freed memory, as a process is told when it starts.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(memory.LARGEST),
    "MALLOC_TRIM_THRESHOLD_": str(memory.NEVER),
}


def ways(peer: str, python: str, backend: str, quick: bool) -> list[Side]:
    """The sides of a peer; ``quick`` leaves out what has to be compiled."""
    return [
        Side(peer, way + suffix, peer, python, backend, {**os.environ, **settings})
        for way in ("eager", "channels_last", "compiled")[: 2 if quick else 3]
        for suffix, settings in (("", {}), ("+malloc", MALLOC))
    ]


def missing(peers: Iterable[str], python: str) -> list[str]:
    """The peers that this Python does not have."""
    commands = {peer: [python, "-c", f"import {peer}"] for peer in peers}
    return [p for p, c in commands.items() if subprocess.run(c, capture_output=True).returncode]
