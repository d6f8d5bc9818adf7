"""The explorer as a folder of files, which any web host serves and ``file://`` opens.

What a page may read from there are scripts alone: so the answers that were recorded are scripts,
one for each room, compressed, and sliders offer only what there is an answer for. Many answers have
parts in common, which stand there once.

To compute them in the page was tried: under Pyodide the engine runs, on one thread, and answers in
twice CPython's time. But Python, NumPy and Pillow in WebAssembly are 18 MB, take 4 seconds to begin
with, cannot be read from ``file://`` as they are, and the kernel room would have no compiler.
"""

from __future__ import annotations

import base64
import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyfcn import explorer
from tinyfcn.explorer.server import WEB
from tinyfcn.explorer.web import FILES
from tinyfcn.files import bears, write_bytes

MARK = '<meta name="generator" content="tinyfcn explore">'  # stands in index.html


def address(state: dict[str, Any]) -> str:
    """The settings of an address in the order of their names, as ``ask.js`` writes them.

    Example:
        >>> address({"sh": "2", "kh": "1", "kw": None})
        'kh=1&sh=2'
    """
    return "&".join(f"{name}={text}" for name, text in sorted(state.items()) if text is not None)


def write(out: Path, told: Callable[[str], object] = lambda line: None) -> int:
    """Write the folder, whole or not at all; gives its size in bytes.

    Args:
        out: a folder that is not there yet, or empty, or was written by this function.
        told: is called with a line for each room.

    Raises:
        FileExistsError: if something else is there.
    """
    out = Path(os.path.realpath(out))
    names = {*FILES, *(f"answers-{room}.js" for room in explorer.ROOMS)}
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    others = [name for name in there if name not in names]
    if (
        others
        or (there and not bears(out / "index.html", MARK))
        or (os.path.lexists(out) and not out.is_dir())
    ):
        reason = "expected a new or an empty folder, or one that was written before"
        reason += f", but it holds {(others or there)[0]}" if there else ", but it is no folder"
        raise FileExistsError(errno.EEXIST, reason, str(out))
    temporary = out.with_name(f".{out.name[:200]}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise OSError(error.errno, "the folder cannot be made there", str(out)) from error
    try:
        for name in FILES:
            write_bytes(temporary / name, (WEB / name).read_bytes())
        for room in explorer.ROOMS:
            answers = record(room)
            packed = base64.b64encode(gzip.compress(shared(answers), mtime=0))
            script = b'"use strict";\npacked[%s] = "%s";\n' % (_json(room), packed)
            write_bytes(temporary / f"answers-{room}.js", script)
            told(f"{room}: {len(answers)} answers")
        write_bytes(temporary / "recorded.js", b'"use strict";\nconst RECORDED = true;\n')
        size = sum(path.stat().st_size for path in temporary.iterdir())
        if out.is_dir():  # someone may be in there
            for name in FILES[:1] + tuple(names - {FILES[0]}):  # first what says whose it is
                os.replace(temporary / name, out / name)
        else:
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return size


def record(name: str) -> dict[str, Any]:
    """All answers of a room that the static form has, by address."""
    room = explorer.room(name)
    states = {address(state): state for state in room.states()}
    return {
        key: room.answer({name: text for name, text in state.items() if text is not None})
        for key, state in sorted(states.items())
    }


def shared(answers: dict[str, dict[str, Any]]) -> bytes:
    """Answers as JSON: the different parts of each name, and by address which of them it has.

    Example:
        >>> shared({"": {"x": 5, "y": [1]}, "k=2": {"x": 5, "y": [2]}})
        b'{"of":{"":{"x":0,"y":0},"k=2":{"x":0,"y":1}},"parts":{"x":[5],"y":[[1],[2]]}}'
    """
    parts: dict[str, dict[bytes, int]] = {}
    of: dict[str, dict[str, int]] = {}
    for place, answer in answers.items():
        of[place] = {}
        for name, value in answer.items():
            known = parts.setdefault(name, {})
            of[place][name] = known.setdefault(_json(value), len(known))
    lists = (b"%s:[%s]" % (_json(name), b",".join(known)) for name, known in parts.items())
    return b'{"of":%s,"parts":{%s}}' % (_json(of), b",".join(lists))


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
