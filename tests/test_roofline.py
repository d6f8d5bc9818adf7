"""What the lesson says of the roofline is what the commands print, and what follows by hand."""

from __future__ import annotations

import math
import re

import pytest

from tinyfcn import cli
from tinyfcn.backend.cuda.kernels import constant, folder
from tinyfcn.kernel_lab.cases import CASES, sizes
from tinyfcn.kernel_lab.roofline import MACHINES, SECTOR, SIZE, TURN

CHAPTER = (folder() / "README.md").read_text("utf-8").partition("## Occupancy and roofline")[2]


def numbers(paragraph: str) -> list[float]:
    """Those of a paragraph of the chapter that begins so, in their order."""
    (text,) = re.findall(rf"^\*\*{paragraph}.*?^$", CHAPTER, re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?<!\w)\d[\d,]*(?:\.\d+)?(?!\w)", re.sub("`.*?`", "", text))
    return [float(number.replace(",", "")) for number in found]


def test_the_lesson_computes_with_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        assert not cli.main(["kernels", *words])
        return capsys.readouterr().out

    def profile(kernel: str, memory: str) -> list[tuple[int, float]]:
        """Requests, and what each costs."""
        size = ["--size", *map(str, SIZE)] if kernel.startswith("gemm") else []
        lines = re.findall(rf"{memory} +(\d+) x +([\d.]+)", printed("profile", kernel, *size))
        return [(int(requests), float(each)) for requests, each in lines]

    def cost(kernel: str, memory: str) -> float:
        return sum(requests * each for requests, each in profile(kernel, memory))

    table = printed("roofline")
    assert table in (folder() / "PROFILE.md").read_text("utf-8")
    found = re.findall(r"^\| `?([\w<>]+)`? \| ([\d.%| ]+) \|$", table, re.MULTILINE)
    rows = {name: [float(cell.strip("%")) for cell in row.split(" | ")] for name, row in found}
    fourth, last, (a100, h200) = rows["gemm_4"], rows["gemm_7<Tf32>"], MACHINES
    assert numbers("Roofline") == rows["A100"][:2] + rows["H200"][:2]

    (reads, each), (writes, _) = profile("relu", r"global \w+")
    elements, moved = math.prod(sizes(CASES["relu"]).values()), (reads + writes) * each * SECTOR
    assert numbers("Left of") == [
        reads, writes, each, moved, elements, elements / moved, moved / elements,
        *(round(machine.gbytes * elements / moved) for machine in MACHINES), 16,
    ]  # fmt: skip

    tile, depth = (constant("tile.cuh", name) for name in ("TILE", "DEPTH"))
    shared, read = cost("gemm_4", r"shared \w+"), cost("gemm_4", "global reads")
    turns, products = shared + read * SECTOR / TURN, math.prod(SIZE)
    assert round(products / turns) == fourth[0] and fourth[2] == 100
    assert 2 * tile * tile * depth / (2 * tile * depth * 4) == fourth[1]
    assert numbers("Right of") == [
        depth, tile, tile, depth, 2 * tile * depth * 4, 2 * tile * tile * depth, fourth[1], TURN,
        *SIZE, shared, read, turns, products, fourth[0], a100.products[0], h200.products[0],
        fourth[4],
    ]  # fmt: skip

    turns = cost("gemm_7", r"shared \w+")
    assert round(products / turns) == last[0]
    assert numbers("Left again") == [
        2 * tile, 2 * tile, last[1], turns, last[0], a100.products[1], h200.products[1], last[3],
        last[5],
    ]  # fmt: skip

    assert numbers("The ladder") == [
        rows["gemm_1"][1], rows["gemm_2"][1], tile, tile, rows["gemm_3"][1], rows["gemm_5"][1],
        143, 128,  # registers: see tests/kernels/test_nvrtc.py
        16, 16, rows["gemm_7<Fp16>"][1],
    ]  # fmt: skip
