"""What the tests of networks share."""

import pytest

from tinyfcn import backend


@pytest.fixture
def without_values():
    """Networks are made as large as they are published, without memory and random numbers."""
    with backend.using("meta"):
        yield
