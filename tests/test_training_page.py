"""The page on training shows the results, and its commands have valid options."""

import importlib
import re
import shlex
from pathlib import Path

import pages
import pytest
from parsing import assert_parses

TEXT = (pages.DOCS / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if "-m training." in line
]


def test_figures_come_from_the_files() -> None:
    record = {"date": "2030-01-02T", "dev": {row: {"auc": 0.5} for row in pages.SYNTHETIC}}
    record["dev"]["paper"] = {"auc": 0.987}
    table = pages.shortcuts(record)
    assert "| the paper's mixtures | 0.99 |" in table
    assert "2030-01-02" in table
    assert "unlabelled" not in table


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_has_valid_options(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training needs the [train] extra")
    pytest.importorskip("tqdm", reason="training needs the [train] extra")
    words = shlex.split(line, comments=True)
    name, options = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
    package = Path(pages.CHECKOUT, *name.split("."))
    module = importlib.import_module(f"instrec_live.{name}" + (".__main__" if package.is_dir() else ""))
    monkeypatch.setattr("sys.argv", [name, *options])
    assert_parses(module.main, monkeypatch)
