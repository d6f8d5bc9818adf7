"""setup.cfg lists what there is to install."""

import configparser
import importlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")


def test_every_package_is_listed():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "tinyfcn").rglob("__init__.py")
    }
    listed = CONFIG["options"]["packages"].split()
    beside = {"tinyfcn.examples", "tinyfcn.examples.lessons", "tinyfcn.kernels"}
    assert listed == sorted(found | beside)


def test_every_other_file_is_package_data():
    data = {
        package: [pattern.strip() for pattern in patterns.split(",")]
        for package, patterns in CONFIG["options.package_data"].items()
    }
    for path in [*(ROOT / "tinyfcn").rglob("*"), *(ROOT / "kernels").rglob("*")]:
        if path.is_dir() or path.suffix in (".py", ".pyc", ".md"):
            continue
        parts = path.parent.relative_to(ROOT).parts
        package = "tinyfcn.kernels" if parts[0] == "kernels" else ".".join(parts)
        assert any(path.match(pattern) for pattern in data.get(package, [])), path


def test_every_extra_that_is_named_exists():
    extras = CONFIG["options.extras_require"]
    paths = [ROOT / "README.md", ROOT / ".ci/run", *(ROOT / "tinyfcn").rglob("*.py")]
    named = {
        extra: path
        for path in paths
        for extra in re.findall(r"(?:tinyfcn|'\.)\[(\w+)\]", path.read_text(encoding="utf-8"))
    }
    assert {"mpi", "plot", "onnx", "test", "dev", "cuda12"} <= set(named)
    for extra, path in named.items():
        assert extra in extras, path


def test_what_is_optional_is_not_imported_with_the_package():
    program = (
        "import sys, tinyfcn, tinyfcn.cli, tinyfcn.parallel.launch, tinyfcn.training.run; "
        "print([name for name in ('mpi4py', 'cupy', 'onnx', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_import_alone_loads_no_scipy():
    program = "import sys, tinyfcn; print([name for name in sys.modules if 'scipy' in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_the_console_script_exists():
    name, _, target = CONFIG["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "tinyfcn"
    assert callable(getattr(importlib.import_module(module), function))
