"""The fuzzing drill: damaged and crafted files in front of every reader.

    python tests/drills/fuzz.py [--inputs 10000] [--seed 0] [--jobs 2] [--only NUMBER] [--kind WORD]

Whole small files of every kind (``inputs.py``) are mutated: bits, fields of 1 to 8 bytes that may
be lengths, cuts, insertions, repetitions, the tail of another file. Members of zip archives and
chunks of PNGs are changed and packed again with right CRCs; so are the JSON trees in checkpoints
and safetensors, and the headers and values of arrays. Hypothesis draws all that, in blocks of 100,
so that a seed and a number give the same input again: --only NUMBER shows one, with its traceback;
--kind tries those kinds alone whose name holds WORD.

Held: the reader gives a result or one of the project's own errors, for a command the exit status 2,
within 5 s, in at most 200 MB more memory than the process had and the file is long (RLIMIT_AS).
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import containers
import drilling
import inputs
import tiny_run
from inputs import OWN, Kind

BLOCK = 100
SECONDS, MEGABYTES = 5, 200

# ---- mutations ----

LENGTHS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
LENGTHS += [1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**9, -1, 1 << 31, 1 << 63, 10**30, "x" * 5000, "../..", "nan", "~array"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["~array", "~tuple", "~dict", "a"]), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip
NEAR = {  # other values of the same type
    bool: st.booleans(),
    int: st.integers(-2, 10) | st.sampled_from([300, 10**4, 10**9, 1 << 31, 1 << 63, 10**30]),
    float: st.floats() | st.sampled_from([0.0, -1.0, 1e-320, 8.0, 1e300, float("nan")]),
    str: st.text(max_size=8)
    | st.sampled_from(["", "unet", "vgg16", "cupy", "paper", "cosine", "sgd", "../..", "x" * 5000]),
}
TEXT = st.text(max_size=8).map("n{}".format)
OPERATIONS = ["flip", "length", "cut", "remove", "insert", "repeat", "splice"]


def mutated(draw: Callable[[Any], Any], data: bytes, others: list[bytes]) -> bytes:
    """A file of the kind of ``others``, changed in one of the ways above."""
    way = draw(st.sampled_from(["tree", "tree", "members", "bytes"]))
    if way != "bytes" and (container := containers.apart(data)):
        parts, together = container
        name, content = parts[0]
        if way == "tree" and (tree := containers.json_of(content)):
            parts[0] = name, tree[1](_tree_changed(draw, tree[0]))
        else:
            _change_parts(draw, parts)
        return together(parts)
    if way != "bytes" and (tree := containers.json_of(data)):
        return tree[1](_tree_changed(draw, tree[0]))
    return _bytes_changed(draw, data, others)


def _bytes_changed(draw: Callable[[Any], Any], data: bytes, others: list[bytes]) -> bytes:
    new = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        near = st.integers(0, min(64, len(new)))  # the structure is at the ends
        place = draw(near | near.map(lambda n: len(new) - n) | st.integers(0, len(new)))
        operation = draw(st.sampled_from(OPERATIONS))
        if operation == "flip" and place < len(new):
            new[place] ^= draw(st.integers(1, 255))
        elif operation == "length":
            size, order = (
                draw(st.sampled_from([1, 2, 4, 8])),
                draw(st.sampled_from(["little", "big"])),
            )
            value = draw(st.sampled_from(LENGTHS)) & ((1 << 8 * size) - 1)
            new[place : place + size] = value.to_bytes(size, order)
        elif operation == "cut":
            del new[place:]
        elif operation == "remove":
            del new[place : place + draw(st.integers(1, 16))]
        elif operation == "insert":
            new[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif operation == "repeat":
            piece = new[place : place + draw(st.integers(1, 64))]
            new[place:place] = piece * draw(st.sampled_from([1, 2, 100, 10_000]))
        elif operation == "splice":
            other = draw(st.sampled_from(others))
            new[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(new)


def _change_parts(draw: Callable[[Any], Any], parts: containers.Parts) -> None:
    """Change, rename, double or drop some of them."""
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.just(0) | st.integers(0, len(parts) - 1))  # the first is the head of all
        name, data = parts[place]
        what = draw(st.sampled_from(["bytes", "header", "values", "name", "drop", "twice"]))
        array = data.startswith(b"\x93NUMPY")
        if what == "header" and array:
            data = _header(draw, data)
        elif what == "values" and array:
            bad = draw(st.sampled_from([b"\xff", b"\x7f\x80\0\0", b"\0\0\x80\x7f", b"\0"]))
            start = 128 if len(data) > 128 else len(data) // 2
            data = data[:start] + (bad * len(data))[: len(data) - start]
        elif what == "name":
            name = draw(st.sampled_from([name[:-1], "../" + name, parts[-1][0]]) | TEXT)
        else:
            data = _bytes_changed(draw, data, [part for _, part in parts])
        parts[place : place + 1] = [(name, data)] * {"drop": 0, "twice": 2}.get(what, 1)
        if not parts:
            break


def _header(draw: Callable[[Any], Any], data: bytes) -> bytes:
    """A .npy that says something else about its numbers."""
    kind = draw(st.sampled_from(["<f4", "<f8", "|O", "|S5", "<U9", "<c8", "<M8[s]", "|V0", ">i2"]))
    size = st.integers(-1, 4) | st.sampled_from(LENGTHS)
    shape = tuple(draw(st.lists(size, max_size=draw(st.sampled_from([3, 40])))))
    order = draw(st.booleans())
    text = f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    start = 10 + int.from_bytes(data[8:10], "little")
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data[start:]


def _tree_changed(draw: Callable[[Any], Any], tree: Any) -> Any:
    """Put values into some places of a tree, or take places out."""
    for _ in range(draw(st.integers(1, 2))):
        into, key = _place(draw, tree)
        what = draw(st.sampled_from(["near", "near", "value", "other", "drop", "deep"]))
        if into is None:  # nothing is left of it
            break
        if what == "near":
            into[key] = draw(NEAR.get(type(into[key]), VALUES))
        elif what == "value":
            into[key] = draw(VALUES)
        elif what == "other":
            other, where = _place(draw, tree)
            into[key] = json.loads(json.dumps(other[where]))
        elif what == "drop":
            del into[key]
        else:
            depth = draw(st.sampled_from([50, 300]))
            for _ in range(depth):
                into[key] = [into[key]]
    return tree


def _place(draw: Callable[[Any], Any], tree: Any) -> tuple[Any, Any]:
    """A place in a tree, found from its root downwards: the list or dict, and the index there."""
    into, key = None, None
    while isinstance(tree, dict | list) and tree and (into is None or draw(st.integers(0, 3))):
        key = draw(st.sampled_from(list(tree) if isinstance(tree, dict) else range(len(tree))))
        if "state" in tree and draw(st.integers(0, 15)):  # nearly all of a checkpoint is in it
            key = "state"
        into, tree = tree, tree[key]
    return into, key


# ---- trials ----

Row = tuple[int, str, str, str]  # number, kind, what became of it, what is wrong with that


class Ledger:
    """What became of each input, written by forked processes, readable when they were killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._running = mmap.mmap(-1, 64)

    def begin(self, number: int, kind: str) -> None:
        self._running[:] = f"{number} {kind}".ljust(64).encode()

    @property
    def running(self) -> tuple[int, str]:
        number, _, kind = self._running[:].decode().rstrip().partition(" ")
        return int(number), kind

    def note(self, number: int, kind: str, what: str, problem: str = "") -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps([number, kind, what, problem]) + "\n")

    def rows(self) -> list[Row]:
        return [tuple(json.loads(line)) for line in self.path.read_text().splitlines()]


class Trial(NamedTuple):
    """What is tried: known files by kind, the seed, and which inputs, where not all."""

    known: dict[str, Kind]
    folder: Path  # holds "place", what the readers need
    seed: int
    only: int | None = None
    word: str = ""

    @property
    def kinds(self) -> list[str]:
        """What inputs are drawn from; checkpoints, which hold most, are three."""
        return [*self.known, *(["checkpoint"] * 2 * ("checkpoint" in self.known))]


def run_block(trial: Trial, block: int) -> list[Row]:
    """The inputs of a block, in a forked process; in a new one after each that ended it."""
    with tempfile.TemporaryDirectory(prefix=f"block{block}-", dir=trial.folder) as name:
        ledger = Ledger(Path(name) / "ledger")
        first, stop = block * BLOCK, (block + 1) * BLOCK
        while first < stop:
            place = Path(name) / f"place{first}"
            shutil.copytree(trial.folder / "place", place)
            ledger.begin(stop, "")
            run = functools.partial(_run_inputs, trial, block, first, place, ledger)
            problem = drilling.forked(run, limit=BLOCK * SECONDS).problem
            if not problem:
                break
            number, kind = ledger.running
            if number == stop:
                raise RuntimeError(f"the drill itself failed: {problem}")
            slow = "SIGALRM" in problem
            ledger.note(number, kind, "ended", f"more than {SECONDS} s" if slow else problem)
            first = number + 1
        return ledger.rows()


def _run_inputs(trial: Trial, block: int, first: int, place: Path, ledger: Ledger) -> None:
    numbers = iter(range(block * BLOCK, (block + 1) * BLOCK))

    @hypothesis.seed(trial.seed * 1_000_003 + block)
    @hypothesis.settings(
        max_examples=BLOCK, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(st.data())
    def every(data: Any) -> None:
        name = data.draw(st.sampled_from(trial.kinds))
        kind = trial.known[name]
        content = mutated(data.draw, data.draw(st.sampled_from(kind.seeds)), kind.seeds)
        read = data.draw(st.sampled_from(kind.read))
        number = next(numbers, -1)
        if number < first or trial.only not in (None, number) or trial.word not in name:
            return
        ledger.begin(number, name)
        path = place / kind.place
        path.write_bytes(content)
        what, problem = attempt(read, path, show=trial.only is not None)
        ledger.note(number, name, what, problem and f"{read.__name__}: {problem}")
        path.write_bytes(kind.seeds[0])

    tiny_run.page.train = lambda run, loss: None  # what comes before the first step is tried
    tiny_run.page.draw_scenes = lambda root, train: place / "voc"
    every()


def attempt(read: Callable[[Path], Any], path: Path, show: bool) -> tuple[str, str]:
    """Read a file within the bounds: "read" or "refused", and what is wrong with that."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    most = now + path.stat().st_size + (MEGABYTES << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(said := _Said()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            read(path)
        return "read", ""
    except OWN as error:
        return "refused", "no memory" if _out_of_memory(error) else ""
    except SystemExit as stop:
        if show:
            print(said.text, stop.code)
        bad = stop.code != 2 or "not enough memory" in said.text
        return "refused", f"status {stop.code}, {said.text.strip()[-200:]}" if bad else ""
    except BaseException as error:
        if show:
            traceback.print_exc()
        return "failed", f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        shutil.rmtree(path.parent / "another run", ignore_errors=True)


class _Said(list[str]):
    """What was written to it; a file for print."""

    write = list.append

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        """No."""
        return False

    @property
    def text(self) -> str:
        return "".join(self)


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def main(arguments: list[str] | None = None) -> int:
    """The drill; gives the exit status."""
    parser = drilling.options(__doc__ or "", inputs=10_000)
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--kind", metavar="WORD", default="")
    chosen = parser.parse_args(arguments)
    since, only = time.monotonic(), chosen.only
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        known = inputs.kinds(folder / "place")
        blocks = range(-(-chosen.inputs // BLOCK))
        if only is not None:
            blocks = range(only // BLOCK, only // BLOCK + 1)
        trial = Trial(known, folder, chosen.seed, only, chosen.kind)
        tried = drilling.spread(functools.partial(run_block, trial), blocks, chosen.jobs)
        rows = sorted(row for block in tried for row in block)
    counts = Counter((kind, what) for _, kind, what, _ in rows)
    for kind in known:
        found = [counts[kind, what] for what in ("read", "refused", "failed", "ended")]
        print("{:12} read {:4}, refused {:4}, failed {:3}, ended {:3}".format(kind, *found))
    failed = [f"{number} {kind}: {problem}" for number, kind, _, problem in rows if problem]
    return drilling.summary("fuzz", len(rows), failed, since)


if __name__ == "__main__":
    sys.exit(main())
