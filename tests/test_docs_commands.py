"""What the pages tell to type is typed, page by page, from top to bottom, in a folder with a short concert in it.

A line is run as it stands, unless it needs what is not there: `LEFT_OUT` says which, and why. Where a line names a
microphone, it hears concert.wav in its place.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from demo_sound import clip
from pages import CHECKOUT, PAGES, blocks, calls, commands, files, lines, type_in

from instrec_live.realtime.cli import COMMANDS
from instrec_live.realtime.settings import Settings, parse

pytestmark = pytest.mark.skipif(os.name != "posix", reason="lines of a POSIX shell")

ELSEWHERE = {
    "CONTRIBUTING.md": "makes an environment of its own, as .ci/run does",
    "docs/networks.md": "tests/test_networks_page.py",
    "docs/training.md": "tests/test_training_page.py: data, GPUs and hours",
}
#: what is looked for in a line, and why it cannot be typed here
LEFT_OUT = {
    r"^pip install": "installs, from the internet",
    r"-i (https?|rtsp)://|\bURL\b": "the internet",
    r"--ray": "a cluster, or half a minute; tests/test_cluster.py",
    r"python -m training\.|--models runs/": "data, and hours of training",
    r"-m instrec_live\.models\.export --tensorrt|--engine tensorrt": "a GPU",
    r"^docker |--engine triton": "a Triton server; tests/test_triton.py",
    r"passt-openmic": "fetches 342 MB",
    r"--serve": "serves until it is stopped; tests/test_serve.py",
    r"instrec-live --doctor *(#|$)": "tests/test_readme.py types it",
    r"--benchmark": "half a minute; tests/test_benchmark.py",
    r"--midi": "a MIDI port, or a receiver; tests/test_control.py",
    r"--start 60": "a concert of more than a minute",
    r"--play\b": "loudspeakers",
    r"^(arecord|parec) ": "a microphone",
    r"watch .*=device:": "two microphones",
    r"--device \S+.*--channels 4": "a microphone with four channels",
}
COMPLETIONS = (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions")  # of three shells
TOOLS = ("ffmpeg", "sox")  # what else a line may begin with
SETTINGS = 'pace = "max"\nengine = "onnx"\n'  # of whoever types: nobody waits for the music, or for a measurement


def listens_to_microphone(settings: Settings) -> bool:
    """Whether a line would open a microphone, rather than a file or nothing at all."""
    question = (settings.doctor, settings.benchmark, settings.engines, settings.print_config, settings.print_completion)
    other = (settings.list_devices, settings.serve, settings.file, settings.stdin, settings.demo)
    return not any((*question, *other))


def typed(line: str) -> tuple[str, str | None]:
    """The line as it is typed here, and why it is not, or None."""
    for pattern, reason in LEFT_OUT.items():
        if re.search(pattern, line):
            return line, reason
    for words in commands(line):
        if words[0] in TOOLS and not shutil.which(words[0]):
            return line, f"{words[0]} is not installed"
    if any(listens_to_microphone(parse(argv)) for argv in calls(line) if not argv or argv[0] not in COMMANDS):
        named = re.sub(r"""(--device|-d) ("[^"]*"|'[^']*'|\S+)""", "--file concert.wav", line)
        return named, None if named != line else "a microphone"
    return line, None


def name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


TYPED = [page for page in PAGES if name(page) not in ELSEWHERE and blocks(page.read_text(encoding="utf-8"), "sh")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with concert.wav of two seconds, take.flac and three collections of two files each; where ffmpeg is
    there, concert.mp4 and tape.m4a."""
    folder = tmp_path_factory.mktemp("prepared")
    soundfile.write(folder / "concert.wav", clip(2.0), 44_100)
    soundfile.write(folder / "take.flac", clip(1.0), 44_100)
    for collection in ("archive", "discs", "tapes"):
        (folder / collection).mkdir()
        for file, seconds in (("a.wav", 1.0), ("b.flac", 1.5)):
            soundfile.write(folder / collection / file, clip(seconds), 44_100)
    if shutil.which("ffmpeg"):
        for file in ("concert.mp4", "tape.m4a"):
            subprocess.run(["ffmpeg", "-v", "error", "-i", "concert.wav", file], cwd=folder, check=True)
    for home in (*COMPLETIONS, "settings/instrec-live"):
        (folder / home).mkdir(parents=True)
    (folder / "settings" / "instrec-live" / "config.toml").write_text(SETTINGS)
    return folder


@pytest.mark.parametrize("page", TYPED, ids=name)
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


def test_what_is_left_out_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new line is typed, unless it says otherwise; and no exception outlives its line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "band.toml").write_text("piano = 0.5\n")
    new = "instrec-live --file concert.wav --hop 0.25 --json | head -n 3 > new.jsonl  # new"
    assert typed(new) == (new, None)
    assert typed("instrec-live --device 'Big Mic' --json")[0] == "instrec-live --file concert.wav --json"
    assert typed("instrec-live --hop 1")[1] == "a microphone"
    assert typed("instrec-live --list-devices")[1] is None
    pages = [page.read_text(encoding="utf-8") for page in TYPED]
    everything = [line for page in pages for block in blocks(page, "sh") for line in lines(block)]
    idle = [pattern for pattern in LEFT_OUT if not any(re.search(pattern, line) for line in everything)]
    assert idle == [], "no page has such a line any more"
    assert sum(typed(line)[1] is None for line in everything) > len(everything) / 2
