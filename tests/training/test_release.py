"""One command makes the networks: its steps in order, those that are done left out."""

import argparse
import subprocess
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from parsing import assert_parses

from instrec_live.models.errors import InputFileError
from instrec_live.training import release
from instrec_live.training.release import KEEP, steps_of

ORDER = ["bank", "teachers", "mixtures", "cbam_cnn", "ms_crnn", "passt", "ensemble", "distractors"]


def options(folder: Path) -> argparse.Namespace:
    return argparse.Namespace(
        sounds=folder / "sounds", music=[folder / "music", folder / "more"], solos=folder / "solos",
        bands=folder / "bands", mn04=Path("mn04_as.npz"), teachers=folder / "teachers", golden=Path("demo.ogg"),
        work=folder / "work", to=folder / "bundles", seed=3,
    )  # fmt: skip


def test_steps_are_in_order_and_report_when_they_are_done(tmp_path: Path) -> None:
    steps = steps_of(options(tmp_path))
    assert [step.name for step in steps] == ORDER
    assert len({step.done for step in steps}) == len(steps)
    assert all(step.done.is_relative_to(tmp_path / "work") for step in steps)
    bank, teachers, _, *networks, ensemble, distractors = ([*step.command] for step in steps)
    assert bank.count("--music") == 2
    assert teachers.count("--teacher") == 3
    for name, command in zip(KEEP, networks, strict=True):
        assert command[command.index("--init") + 1] == str(tmp_path / "teachers" / name)
        assert command[command.index("--keep") + 1] == str(KEEP[name])
    assert ensemble.count("--valid") == 3
    assert ensemble[ensemble.index("--golden") + 1] == "demo.ogg"
    assert ensemble[ensemble.index("--to") + 1] == distractors[1]


def test_what_is_done_is_left_out_and_a_failure_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = options(tmp_path)
    folders = (args.sounds, *args.music, args.solos, args.bands, args.teachers)
    words = ["--sounds", args.sounds, "--music", args.music[0], "--music", args.music[1], "--solos", args.solos,
             "--bands", args.bands, "--mn04", args.mn04, "--teachers", args.teachers, "--work", args.work]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["release", *map(str, words)])
    with pytest.raises(InputFileError, match="sounds: no such folder"):
        release.main()
    for folder in folders:
        folder.mkdir(parents=True)
    ran: list[str] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        ran.append(command[3].removeprefix("instrec_live.training."))
        return subprocess.CompletedProcess(command, 5 if ran[-1] == "ms_crnn" else 0)

    monkeypatch.setattr(release.subprocess, "run", run)
    for step in steps_of(args)[:2]:
        step.done.parent.mkdir(parents=True, exist_ok=True)
        step.done.touch()
    with pytest.raises(SystemExit) as end:
        release.main()
    assert end.value.code == 5
    assert ran == ["data", "cbam_cnn", "ms_crnn"]
    assert capsys.readouterr().err.count("done already") == 2


def test_the_options_of_every_step_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training needs the [train] extra")
    pytest.importorskip("hear21passt", reason="training needs the [train] extra")
    pytest.importorskip("sklearn", reason="training needs the [train] extra")
    pytest.importorskip("tqdm", reason="training needs the [train] extra")
    for step in steps_of(options(tmp_path)):
        module, *rest = step.command
        if module == "data":
            module, rest = "data.mix", rest[1:]
        main = import_module(f"instrec_live.training.{module}").main
        monkeypatch.setattr("sys.argv", [step.name, *rest])
        assert_parses(partial(main, rest) if module == "data.mix" else main, monkeypatch)
