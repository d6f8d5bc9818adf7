"""Whom tinyfcn is measured against, and the ways in which each may do its best."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tinyfcn.backend.cpu import memory
from tinyfcn.benchmark.measure import Side

# By name, the library that gives each of them what the work needs.
PEERS = {"torch": "torch", "onnxruntime": "onnx", "openvino": "onnx", "one-thread": "tinyfcn"}

# What our side tells GNU malloc, to keep freed memory, as a process is told when it starts.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(memory.LARGEST),
    "MALLOC_TRIM_THRESHOLD_": str(memory.NEVER),
}


def ways(peer: str, ours: Side, python: str, quick: bool) -> Sequence[Side]:
    """The sides of a peer, beside ours; ``quick`` leaves out what has to be compiled."""
    if PEERS[peer] == "tinyfcn":
        return [replace(ours, peer=peer, threads=1)]
    theirs = replace(ours, peer=peer, library=PEERS[peer], python=python)
    if PEERS[peer] == "onnx":
        return [theirs]
    as_installed = ours.environment or os.environ
    return [
        replace(theirs, way=way + suffix, environment={**as_installed, **settings})
        for way in ("eager", "channels_last", "compiled")[: 2 if quick else 3]
        for suffix, settings in (("", {}), ("+malloc", MALLOC))
    ]


def missing(peers: Iterable[str], python: str) -> list[str]:
    """The peers that this Python does not have."""
    commands = {p: [python, "-c", f"import {p}"] for p in peers if PEERS[p] != "tinyfcn"}
    return [p for p, c in commands.items() if subprocess.run(c, capture_output=True).returncode]
