"""Runs the commands of the pages, page by page, from top to bottom, in a folder with a short concert.

A line is run as it stands, unless it needs what is not there: `LEFT_OUT` says which, and why. Where a line names a
microphone, it hears concert.wav in its place.
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
from demo_sound import clip
from docs_pages import CHECKOUT, PAGES, blocks, calls, commands, files, lines, type_in

from instrec_live.realtime.cli import COMMANDS
from instrec_live.realtime.config.settings import Settings, parse

pytestmark = pytest.mark.skipif(os.name != "posix", reason="lines of a POSIX shell")

ELSEWHERE = {
    "CONTRIBUTING.md": "makes an environment of its own, as .ci/run does",
    "docs/networks.md": "tests/test_networks_page.py",
    "docs/training.md": "tests/test_training_page.py: data, GPUs and hours",
}
#: what is looked for in a line, and why it cannot be typed here
LEFT_OUT = {
    r"^pip install": "installs, from the internet",
    r"-i (https?|rtsp)://|\bURL\b|https://example\.org|^curl ": "the internet",
    r"--ray": "a cluster, or half a minute; tests/realtime/commands/tag/test_cluster.py",
    r"python -m training\.|--models runs/": "data, and hours of training",
    r"-m instrec_live\.models\.export --tensorrt|--engine tensorrt": "a GPU",
    r"^docker |--engine triton": "a Triton server; tests/models/engines/test_triton.py",
    r"passt-openmic": "fetches 342 MB",
    r"--serve": "serves until it is stopped; tests/test_serve.py",
    r"instrec-live --doctor *(#|$)": "tests/test_readme.py types it",
    r"--benchmark": "half a minute; tests/realtime/commands/benchmark/test_benchmark.py",
    r"--midi": "a MIDI port, or a receiver; tests/realtime/outputs/test_control.py",
    r"--start 60": "a concert of more than a minute",
    r"--play\b": "loudspeakers",
    r"^(arecord|parec) ": "a microphone",
    r"--device \S+.*--channels 4": "a microphone with four channels",
}
COMPLETIONS = (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions")  # of three shells
PACKAGES = {r"\.parquet\b": "pyarrow", r"-m instrec_live\.models\.export": "torch"}  # which a line may need
TOOLS = ("ffmpeg", "sox")  # what else a line may begin with
FILMS = r"\.(m4a|mkv)\b"  # which ffmpeg makes for it
SETTINGS = 'pace = "max"\nengine = "onnx"\n'  # of whoever types: nobody waits for the music, or for a measurement


def listens_to_microphone(settings: Settings) -> bool:
    """Whether a line would open a microphone, by name or the default one, rather than a file or nothing at all."""
    question = (settings.doctor, settings.benchmark, settings.engines, settings.print_config, settings.print_completion)
    other = (settings.list_devices, settings.serve, settings.file, settings.stdin, settings.demo)
    return not any((*question, *other))


def typed(line: str) -> tuple[str, str | None]:
    """The line as it is typed here, with concert.wav for every microphone; and why it is not, or None."""
    for pattern, reason in LEFT_OUT.items():
        if re.search(pattern, line):
            return line, reason
    for pattern, package in PACKAGES.items():
        if re.search(pattern, line) and find_spec(package) is None:
            return line, f"{package} is not installed"
    for words in commands(line):
        if words[0] in TOOLS and not shutil.which(words[0]):
            return line, f"{words[0]} is not installed"
    if re.search(FILMS, line) and not shutil.which("ffmpeg"):
        return line, "ffmpeg is not installed"
    line = re.sub(r"=device:\S+", "=concert.wav", line)
    if any(listens_to_microphone(parse(argv)) for argv in calls(line) if not argv or argv[0] not in COMMANDS):
        named = re.sub(r"""(--device|-d) ("[^"]*"|'[^']*'|\S+)""", "--file concert.wav", line)
        return (named if named != line else line.replace("instrec-live", "instrec-live --file concert.wav", 1)), None
    return line, None


def name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


TYPED = [page for page in PAGES if name(page) not in ELSEWHERE and blocks(page.read_text(encoding="utf-8"), "sh")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with concert.wav of two seconds, take.flac and three collections of two files each; where ffmpeg is
    there, concert.mp4, concert.m4a, tape.m4a and film.mkv, which has two tracks."""
    folder = tmp_path_factory.mktemp("prepared")
    soundfile.write(folder / "concert.wav", clip(2.0), 44_100)
    soundfile.write(folder / "take.flac", clip(1.0), 44_100)
    for collection in ("archive", "discs", "tapes"):
        (folder / collection).mkdir()
        for file, seconds in (("a.wav", 1.0), ("b.flac", 1.5)):
            soundfile.write(folder / collection / file, clip(seconds), 44_100)
    if shutil.which("ffmpeg"):
        for arguments in (["concert.mp4"], ["concert.m4a"], ["tape.m4a"], ["-map", "0", "-map", "0", "film.mkv"]):
            subprocess.run(["ffmpeg", "-v", "error", "-i", "concert.wav", *arguments], cwd=folder, check=True)
    for home in (*COMPLETIONS, "settings/instrec-live"):
        (folder / home).mkdir(parents=True)
    (folder / "settings" / "instrec-live" / "config.toml").write_text(SETTINGS)
    return folder


@pytest.mark.slow  # a program for each line; tests/test_readme.py types those that matter most
@pytest.mark.parametrize("page", TYPED, ids=[name(page) for page in TYPED])
def test_a_page_can_be_typed_from_top_to_bottom(
    page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    text = page.read_text(encoding="utf-8")
    for file, content in files(text).items():
        (folder / file).write_text(content, encoding="utf-8")
    env = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "settings")}
    reasons = []
    for line in (line for block in blocks(text, "sh") for line in lines(block)):
        as_typed, reason = typed(line)
        if reason is None:
            print(as_typed)  # shown if it fails
            type_in(folder, as_typed, env=env)
        else:
            reasons.append(f"{line.split('  ')[0]}: {reason}")
    print("\n".join(reasons))
    if len(reasons) == sum(len(lines(block)) for block in blocks(text, "sh")):
        pytest.skip("; ".join(reasons))


def test_every_page_is_in_the_index() -> None:
    index = (CHECKOUT / "docs" / "README.md").read_text(encoding="utf-8")
    others = [page.name for page in PAGES if page.parent.name == "docs" and page.name != "README.md"]
    assert [page for page in others if f"({page})" not in index] == []


def test_skipped_commands_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new line is typed, unless it says otherwise; and no exception outlives its line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "band.toml").write_text("piano = 0.5\n")
    new = "instrec-live --file concert.wav --hop 0.25 --json | head -n 3 > new.jsonl  # new"
    assert typed(new) == (new, None)
    assert typed("instrec-live --device 'Big Mic' --json")[0] == "instrec-live --file concert.wav --json"
    assert typed("instrec-live --hop 1") == ("instrec-live --file concert.wav --hop 1", None)
    assert typed("instrec-live watch hall=device:0 a.wav") == ("instrec-live watch hall=concert.wav a.wav", None)
    assert typed("instrec-live --list-devices")[1] is None
    pages = [page.read_text(encoding="utf-8") for page in TYPED]
    everything = [line for page in pages for block in blocks(page, "sh") for line in lines(block)]
    idle = [pattern for pattern in LEFT_OUT if not any(re.search(pattern, line) for line in everything)]
    assert idle == [], "no page has such a line any more"
    left = [line for line in everything if any(re.search(pattern, line) for pattern in LEFT_OUT)]
    assert len(left) < 0.5 * len(everything)
