"""What a user can put right is one message and an exit status, not a traceback."""

import pytest

from tinyfcn.backend.cuda.device import DeviceError
from tinyfcn.backend.cuda.emulator.errors import BuildError
from tinyfcn.training.errors import plain_errors


@pytest.mark.parametrize("error", [DeviceError("no GPU"), BuildError("no g++")])
def test_a_machine_that_lacks_something(capsys, error):
    with pytest.raises(SystemExit) as exit, plain_errors():
        raise error
    assert exit.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError
