"""The sound that is kept: from the start, from a key on, with the seconds before, up to the last write."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FakeTagger, music
from full_disk import full_disk
from hypothesis import given
from hypothesis import strategies as st
from played import Played, an_update
from tiny_bundle import write_tiny
from waiting import wait_for

from instrec_live.models.errors import OutputError, UsageError
from instrec_live.realtime.outputs.recorder import PreRoll, Recorder
from instrec_live.realtime.outputs.session import Session
from instrec_live.realtime.stream.stream import Stream

RUN = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one", "--no-ui", "-q"]


def halves(path: Path) -> list[int]:
    """The numbers of the updates whose half seconds of sound (see `Played`) a recording holds."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 32_000
    pieces = samples.reshape(-1, 16_000) * 1024
    assert (pieces == pieces[:, :1]).all()
    return [round(float(piece[0])) for piece in pieces]


def a_journal(seconds: float = 10.0, **options: object) -> Session:
    updates = [an_update(0.5 * i) for i in range(1, round(2 * seconds) + 1)]
    return Session(Played(*updates), **options)  # type: ignore[arg-type]


def test_the_recording_is_the_sound(tmp_path: Path) -> None:
    sound = music(3.0)
    stream = Stream(source=ArraySource(sound), pace="max", tagger=FakeTagger())  # type: ignore[arg-type]
    session = Session(stream, take=tmp_path / "take.wav")
    assert session.recording is None
    assert session.record(True) == session.record(True) == session.recording == tmp_path / "take.wav"
    for _ in session:
        pass
    session.finish()
    assert session.recording is None
    recorded, rate = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert rate == 32_000
    assert soundfile.info(tmp_path / "take.wav").subtype == "PCM_16"
    np.testing.assert_allclose(recorded, np.clip(sound, -1, 1), atol=2**-16)


def test_what_is_too_loud_clips(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "take.wav")
    recorder.write(np.array([-2, -1, 0, 1, 2], np.float32))
    recorder.close()
    recorder.close()
    recorded, _ = soundfile.read(tmp_path / "take.wav", dtype="int16")
    assert recorded.tolist() == [-32768, -32768, 0, 32767, 32767]


def test_a_key_begins_it_with_the_seconds_before_and_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = a_journal(pre_roll=1.0)
    files = []
    for number, _ in enumerate(session, 1):
        if number in (1, 6, 10):
            files.append(session.record(True))
        elif number in (3, 8):
            assert session.record(False) == files[-1]
            assert session.recording is None
    session.finish()
    assert [halves(path) for path in files] == [[1, 2, 3], [5, 6, 7, 8], [*range(9, 21)]]
    assert len(set(files)) == 3
    assert all(re.fullmatch(r"instrec-\d{8}-\d{6}(-\d)?\.wav", str(path)) for path in files)


def test_the_first_one_takes_the_name_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = a_journal(take=tmp_path / "mine.wav", pre_roll=0.0)
    names = []
    for number, _ in enumerate(session):
        names.append(session.record(number % 2 == 0).name)
    assert names[:2] == ["mine.wav", "mine.wav"]
    assert "mine.wav" not in names[2:]
    assert len(set(names)) == 10
    assert [len(halves(tmp_path / name)) for name in names[::2]] == [1] * 10
    with pytest.raises(UsageError, match="nothing is being recorded"):
        session.record(False)
    session.finish()


def test_it_does_not_write_over_anything(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        a_journal(take=tmp_path / "mine.wav").record(True)
    assert (tmp_path / "mine.wav").read_text() == "precious"
    a_journal(take=tmp_path / "mine.wav", force=True).record(True)
    assert soundfile.info(tmp_path / "mine.wav").frames == 0
    with pytest.raises(UsageError, match=r"cannot write .*: No such file"):
        Recorder(tmp_path / "no" / "take.wav")


@given(st.integers(0, 4), st.lists(st.integers(1, 70_000), max_size=12))
def test_the_pre_roll_is_the_newest_sound_and_no_more(seconds: int, sizes: list[int]) -> None:
    before, everything = PreRoll(seconds), np.arange(sum(sizes), dtype=np.float32)
    for piece in np.split(everything, np.cumsum(sizes)[:-1]) if sizes else []:
        before.write(piece)
        assert sum(map(len, before._pieces)) < seconds * 32_000 + 70_000
    np.testing.assert_array_equal(
        before.sound(), everything[len(everything) - min(len(everything), seconds * 32_000) :]
    )


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = a_journal(take=tmp_path / "take.wav")
    with full_disk(200_000):  # six half seconds of 32 000 bytes, and a piece
        session.record(True)
        assert len(list(session)) == 20
        assert session.recording is None
        assert session.finish().updates == 20
    assert halves(tmp_path / "take.wav") == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "take.wav").stat().st_size == 44 + 6 * 32_000
    assert session.failed
    assert "take.wav (File too large); continuing" in caplog.text
    (line,) = session.notices()
    assert "take.wav: File too large" in line


def test_no_room_for_the_seconds_before_is_reported_by_the_key(tmp_path: Path) -> None:
    session = a_journal(take=tmp_path / "take.wav")
    with full_disk(100_000):
        for number, _ in enumerate(session):
            if number == 12:
                with pytest.raises(OutputError, match=r"cannot write .*take\.wav: File too large"):
                    session.record(True)
        assert session.recording is None
    assert soundfile.info(tmp_path / "take.wav").frames == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_without_room_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "full.wav").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot write .*full\.wav: No space left"):
        Recorder(tmp_path / "full.wav", force=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("recording")
    write_tiny(here / "one", "one")
    soundfile.write(here / "good.wav", music(8.0), 32_000, subtype="PCM_16")
    return here


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_after_kill_9_the_file_can_be_read(place: Path) -> None:
    process = subprocess.Popen([*RUN, "--file", "good.wav", "--record", "killed.wav", "-o", "killed.jsonl"], cwd=place)
    wait_for(lambda: len(_read(place / "killed.jsonl").splitlines()) >= 4)
    process.kill()
    process.wait()
    recorded, _ = soundfile.read(place / "killed.wav", dtype="int16")
    sound, _ = soundfile.read(place / "good.wav", dtype="int16")
    assert len(recorded) >= 3 * 16_000  # three updates
    np.testing.assert_array_equal(recorded, sound[: len(recorded)])
    assert (place / "killed.wav").stat().st_size == 44 + 2 * len(recorded)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.skipif(os.name != "posix", reason="limits of a POSIX shell")
def test_the_program_on_a_full_disk(place: Path) -> None:
    command = f"ulimit -f 150; exec {' '.join(RUN)} --file good.wav --pace max --record full.wav -o full.jsonl"
    done = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line == "instrec-live: cannot write full.wav (File too large); continuing without it"
    assert soundfile.info(place / "full.wav").frames == 4 * 16_000  # of 150 KiB
    assert len((place / "full.jsonl").read_text().splitlines()) == 1 + 16 + 1


@pytest.mark.parametrize("seconds", ["-1", "61", "ten"])
def test_a_pre_roll_that_makes_no_sense(place: Path, seconds: str) -> None:
    done = subprocess.run(
        [*RUN, "--file", "good.wav", "--pre-roll", seconds], cwd=place, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("instrec-live: error: --pre-roll: must be a number from 0 to 60")
