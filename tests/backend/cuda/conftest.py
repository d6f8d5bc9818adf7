"""What the tests of this folder share: a device whose arrays do not mix with those of the host."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def strict():
    """The module ``strict.py``."""
    spec = importlib.util.spec_from_file_location("strict", Path(__file__).with_name("strict.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def device(strict):
    """The CUDA backend on it."""
    return strict.strict_backend()
