"""What belongs to a kernel besides its code: one test says all that a new one lacks, and where."""

import re
import runpy
from pathlib import Path

from tinyfcn.backend.cuda.kernels import declared, folder
from tinyfcn.kernel_lab.cases import CASES

HERE = Path(__file__).parent
PLANTED = runpy.run_path(str(HERE / "planted_mistakes.py"))
LESSON = (HERE.parents[1] / "kernels" / "README.md").read_text("utf-8")


def lacking(kernels: Path) -> list[str]:
    """What is still to be done for the kernels of a folder."""
    todo = []
    declarations = declared(kernels)
    for name, kernel in declarations.items():
        head = (kernels / kernel.file).read_text("utf-8").split("#include")[0]
        if not re.search(rf"^// .*\b{name}\b", head, re.MULTILINE):
            todo.append(f"kernels/{kernel.file}: say in the table of its head what {name} computes")
        if name not in CASES:
            todo.append(f"tinyfcn/kernel_lab/cases.py: give {name} of {kernel.file} a case")
        if f"`{name}`" not in LESSON:
            todo.append(f"kernels/README.md: {name} is missing in the table of files")
    todo += [
        f"tinyfcn/kernel_lab/cases.py: no kernel is called {n}" for n in CASES.keys() - declarations
    ]
    for path in sorted(kernels.glob("*.cu*")):
        file = path.name
        if f"`{file}`" not in LESSON:
            todo.append(f"kernels/README.md: {file} is missing in the table of files")
        run = re.findall(
            r"^// Run: +tinyfcn kernels run (\w+)$", path.read_text("utf-8"), re.MULTILINE
        )
        if path.suffix == ".cu" and [declarations[n].file for n in run if n in declarations] != [
            file
        ]:
            todo.append(f"kernels/{file}: end its head with // Run:  tinyfcn kernels run NAME")
        todo += [
            f"tests/kernels/{test}: test the kernels of {file} there"
            for test in PLANTED["tests_of"](file).split() if not (HERE / test).is_file()
        ]  # fmt: skip
        if not any(mistake.file == file for mistake in PLANTED["MISTAKES"]):
            todo.append(f"tests/kernels/planted_mistakes.py: plant mistakes in {file}")
    return todo


def test_every_kernel_has_a_head_a_case_a_place_in_the_lesson_tests_and_mistakes():
    todo = lacking(folder())
    assert not todo, "\n".join(["to do for new kernels:", *todo])


def test_a_new_kernel_is_told_all_that_it_lacks(tmp_path):
    for path in folder().glob("*.cu*"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (tmp_path / "halfstep.cu").write_text("__global__ void halfstep(float* x) {}\n")
    said = [line for line in lacking(tmp_path) if line not in lacking(folder())]
    assert [line.split(": ")[0] for line in said] == [
        "kernels/halfstep.cu",
        "tinyfcn/kernel_lab/cases.py",
        "kernels/README.md",
        "kernels/README.md",
        "kernels/halfstep.cu",
        "tests/kernels/test_halfstep.py",
        "tests/kernels/planted_mistakes.py",
    ]
