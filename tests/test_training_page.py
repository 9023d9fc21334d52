"""The page on training says what the result files say, and what it tells to type is understood."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import training_page as page

TEXT = page.PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if "-m training." in line
]


def test_the_page_is_up_to_date() -> None:
    assert page.main(["--check"]) == 0, "run python benchmarks/training_page.py"


def test_figures_come_from_the_files() -> None:
    record = {"date": "2030-01-02T", "dev": {row: {"auc": 0.5} for row in page.ROWS}}
    record["dev"]["paper"] = {"auc": 0.987}
    table = page.shortcuts(record)
    assert "| the paper's mixtures | 0.99 |" in table
    assert "2030-01-02" in table
    assert "unlabelled" not in table


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module has a main, and main's options are those that the page tells; nothing is carried out."""
    pytest.importorskip("torch", reason="training needs the [train] extra")
    pytest.importorskip("tqdm", reason="training needs the [train] extra")
    argparse = importlib.import_module("argparse")
    words = shlex.split(line, comments=True)
    name, options = words[words.index("-m") + 1], words[words.index("-m") + 2 :]

    class UnderstoodError(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def understood(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understood)
    package = Path(page.CHECKOUT, *name.split("."))
    module = importlib.import_module(f"instrec_live.{name}" + (".__main__" if package.is_dir() else ""))
    monkeypatch.setattr("sys.argv", [name, *options])
    with pytest.raises(UnderstoodError):
        module.main()
