"""What cannot be shared out is said once, before anything is begun, and ends all ranks."""

import pytest
from mpiexec import needs_mpi, run_ranks

from tinyfcn import cli
from tinyfcn.parallel.group import Group, use


@pytest.fixture
def three_ranks():
    """What the first of three ranks knows."""
    use(Group()).size = 3
    yield
    use(Group())


@pytest.mark.usefixtures("three_ranks")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "2"], "--batch-size 2 cannot be cut into 3 parts"),
        (["--batch-size", "3", "--same-bits"], "--batch-size 3 cannot be cut into 4 parts"),
        (["--batch-size", "4", "--same-bits", "5"], "--batch-size 4 cannot be cut into 5 parts"),
        (["--same-bits", "2"], "--same-bits 2 for 3 processes; give at least 3"),
        (["--same-bits", "--sync-batch-norm"], "--sync-batch-norm and --same-bits exclude each"),
        (["--same-bits", "0"], "--same-bits"),
    ],
)
def test_what_cannot_be_shared_out(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--out", str(tmp_path / "run"), *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_what_one_process_cannot_cut(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--out", str(tmp_path / "run"), "--batch-size", "7", "--same-bits", "8"])
    assert "--batch-size 7 cannot be cut into 8 parts" in capsys.readouterr().err


@needs_mpi
def test_all_ranks_end_at_once(tmp_path):
    ended = run_ranks(2, ["-m", "tinyfcn", "train", "--batch-size", "1"], cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr.count("error: --batch-size 1 cannot be cut into 2 parts") == 1
    assert "Traceback" not in ended.stderr and ended.seconds < 10
    assert not any(tmp_path.iterdir())
