"""What the parser of all commands says."""

from __future__ import annotations

import pytest

from tinyfcn.cli.parser import Parser, image_size, integer, number, one_of

TEXT = """Double something.

It is a long story.

double --lr 2     twice as fast
"""


@pytest.fixture
def parser() -> Parser:
    parser = Parser(TEXT, prog="double")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--lr", type=number(0, 10), help="learning rate (default 1)")
    parser.add_argument("--size", type=image_size)
    parser.add_argument("--optimizer", type=one_of(["adam", "sgd"]))
    parser.add_argument("--steps", type=integer(1), help="how many")
    return parser


def test_options_and_files_in_any_order(parser: Parser) -> None:
    options = parser.parse(["a", "--lr", "2", "b", "--size", "3x4x5"])
    assert (options.files, options.lr, options.size) == (["a", "b"], 2.0, (3, 4, 5))
    assert parser.parse(["--", "--lr"]).files == ["--lr"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning-rate", "1"], "unknown option --learning-rate; did you mean --lr?"),
        (["--optimiser=adam"], "unknown option --optimiser; did you mean --optimizer?"),
        (["--opt", "adam"], "unknown option --opt (--help lists the options)"),
        (["--xyz"], "unknown option --xyz (--help lists the options)"),
        (["--optimizer", "adm"], "expected one of adam, sgd, got 'adm'; did you mean adam?"),
        (["--lr", "fast"], "--lr: expected a number between 0 and 10, got 'fast' (--help"),
        (["--lr", "nan"], "got 'nan'"),
        (["--steps", "0"], "--steps: expected an integer of at least 1, got '0'"),
        (["--size", "3,4"], "--size: expected 3x500x500, got '3,4'"),
        (["--lr"], "--lr: expected one argument"),
        ([], "required: files"),
    ],
)
def test_what_is_wrong_is_one_line(
    parser: Parser, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser.parse(arguments if words.endswith("files") else ["a", *arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("error: ") and said.count("\n") == 1
    assert words in said


def test_help_ends_with_examples(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse(["--help"])
    said = capsys.readouterr().out
    assert "Double something.\n\nIt is a long story.\n" in said
    assert said.endswith("examples:\n  double --lr 2     twice as fast\n")
