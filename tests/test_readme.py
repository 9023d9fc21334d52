"""The program accepts the commands of the README, and does what the README says."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from demo_sound import clip
from docs_pages import CHECKOUT, PAGES, blocks, calls, files, lines, type_in

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.commands.learn import parser as learn_parser
from instrec_live.realtime.commands.report import parser as report_parser
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.watch import parse_watch
from instrec_live.realtime.config.settings import parse, parser
from instrec_live.realtime.errors import ExitCode

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    "learn": learn_parser().parse_args,
    "report": report_parser().parse_args,
    "tag": parse_tag,
    "watch": parse_watch,
}


def lines_to_type() -> Iterator[tuple[str, str]]:
    """Where, and a line of shell with instrec-live in it: in a block, in running text, in --help."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        typed = [line for block in blocks(page, "sh") for line in lines(block)]
        typed += re.findall(r"`([^`\n]*\binstrec-live -[^`\n]*)`", page)
        yield from ((path.name, line) for line in typed if re.search(r"instrec-live(?!\[)", line))
    examples = re.findall(r"^  (.*\binstrec-live\b.*?)(?:  .*)?$", parser().epilog or "", re.MULTILINE)
    yield from (("--help", line) for line in examples)


LINES = list(lines_to_type())


def test_there_is_something_to_type() -> None:
    assert len([1 for where, _ in LINES if where == "README.md"]) > 9
    assert calls("ffmpeg -i x - | instrec-live --stdin --rate 1000 > 'a b'  # c | instrec-live") == [
        ["--stdin", "--rate", "1000"]
    ]
    assert calls("pip install . && instrec-live --demo") == [["--demo"]]


@pytest.mark.parametrize(("where", "line"), LINES, ids=[f"{where}: {line}" for where, line in LINES])
def test_every_line_is_understood(where: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources.txt").write_text("concert.wav\n")  # which a line before has made
    for page in PAGES:
        for name, content in files(page.read_text(encoding="utf-8")).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")
    assert calls(line), "no call of instrec-live found in it"
    for argv in calls(line):
        if argv and argv[0] in COMMANDS:
            COMMANDS[argv[0]](argv[1:])
        elif "--help" in argv:
            parser().parse_known_args([word for word in argv if word != "--help"])
        else:
            parse(argv)


@pytest.fixture(scope="module")
def concert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with concert.wav of three seconds in it, and concert.mp4 where ffmpeg is there."""
    folder = tmp_path_factory.mktemp("concert")
    soundfile.write(folder / "concert.wav", clip(3.0), 44_100)
    return folder


def the_line(*words: str) -> str:
    """The README's line with all these words."""
    (line,) = [line for where, line in LINES if where == "README.md" and all(word in line for word in words)]
    return line


posix = pytest.mark.skipif(os.name != "posix", reason="lines of a POSIX shell")


@posix
def test_json_lines_are_as_shown(concert: Path) -> None:
    type_in(concert, the_line("--json", "concert.jsonl"))
    head, *updates, summary = map(json.loads, (concert / "concert.jsonl").read_text().splitlines())
    assert (head["type"], summary["type"], len(updates)) == ("header", "summary", 6)
    (shown,) = map(json.loads, blocks(README, "json"))
    assert list(shown) == list(updates[-1])
    assert shown["by_model"].keys() - {"…"} <= updates[-1]["by_model"].keys()


@posix
def test_files_are_written_as_given(concert: Path) -> None:
    type_in(concert, the_line("--output", "concert.csv", "labels.txt"))
    rows = (concert / "concert.csv").read_text().splitlines()
    assert rows[0] == "time,instrument,probability,active,gap"
    assert len(rows) == 1 + 6 * 20
    assert (concert / "labels.txt").exists()


@posix
def test_the_doctor_finds_everything(concert: Path) -> None:
    assert "verdict: ready" in type_in(concert, the_line("--doctor"))


PYTHON = [*blocks(README, "python"), blocks((CHECKOUT / "docs" / "python.md").read_text(encoding="utf-8"), "python")[0]]


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_the_python_runs(code: str, concert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(concert)
    names: dict[str, Any] = {}
    exec(code, names)
    if "tags" in names:
        assert names["tags"].probabilities.shape == (20,)


def test_the_tables_are_complete() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes == {int(code) for code in ExitCode}
    twenty = README.split("## The 20 instruments")[1].split(":")[0]
    assert re.findall(r"[a-z]+(?: percussion)?", twenty) == [name.replace("_", " ") for name in INSTRUMENTS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []
