"""File, pipe, `tag` and `Tagger` agree on the instruments and the length of a sound in every format."""

import io
from pathlib import Path

import numpy as np
import pytest
from inputs import INPUTS, RATE, SECONDS, music

from instrec_live.models.tagger import Tagger
from instrec_live.realtime.audio import FileSource
from instrec_live.realtime.commands.tag.find import Item
from instrec_live.realtime.commands.tag.job import ChunkTask, FileTask, Job, MergeTask, SplitResult
from instrec_live.realtime.commands.tag.results import TaggedCsv
from instrec_live.realtime.errors import InputFileError
from instrec_live.realtime.stream.analysis import AnalysisConfig
from instrec_live.realtime.stream.stream import Stream

NAMES = (
    "wav", "claims-half", "two-mp3", "xing-20", "cut-wma", "cut-wav", "cut-flac", "cut-ogg", "rf64", "adts",
    "s24-in-4-low", "opposed", "one-of-64", "floats-of-16-bits", "flac-of-unknown-length", "chained-rates",
    "claims-nothing", "offset", "opposed-with-an-offset",
    "m4a", "mp4-with-pictures", "webm", "wma", "two-wav", "wav-then-mono-48k",
    "two-data", "two-m4a", "two-wavpack", "ogg-page-missing", "floats-between-16-bits",
    "mkv-late-sound", "wav-then-100-hz",
)  # fmt: skip


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger.load(("cbam_cnn",), engine="onnx")


def through(stream: Stream) -> tuple[float, set[str], str | None]:
    """Seconds heard, instruments that were active, and the error's words without the name before them."""
    time, active, error = 0.0, set(), None
    try:
        with stream:
            for update in stream:
                time, active = update.time, active | set(update.active)
    except InputFileError as fault:
        error = fault.message.partition(" ")[2]
    return time, active, error


@pytest.mark.parametrize("name", NAMES)
def test_the_four_ways_agree(name: str, tmp_path: Path, tagger: Tagger) -> None:
    given = INPUTS[name]
    data = given.make()
    path = tmp_path / f"a{given.suffix}"
    path.write_bytes(data)
    in_file = through(Stream(path, pace="max", tagger=tagger))
    in_pipe = through(Stream(stdin=io.BytesIO(data), pace="max", tagger=tagger))
    record = Job(AnalysisConfig(models=("cbam_cnn",))).tag(Item("a", path, path), tagger)
    tagged = {tag.instrument for tag in record.tags if tag.first_s is not None}
    assert in_file[0] == pytest.approx(given.seconds, abs=max(given.within, 0.011))
    assert in_pipe == (pytest.approx(in_file[0], abs=0.011), in_file[1], in_file[2])
    assert record.duration_s == pytest.approx(in_file[0], abs=0.011)
    assert tagged == in_file[1]
    assert (record.error is None) == (in_file[2] is None) == (given.error is None)
    if given.error is None and given.seconds == SECONDS:
        source = FileSource(path)
        blocks = []
        while (block := source.read()) is not None:
            blocks.append(block)
        samples = np.concatenate(blocks)
        assert len(samples) / source.rate == pytest.approx(in_file[0], abs=0.011)
        probabilities = tagger.tag(samples, source.rate).probabilities
        np.testing.assert_allclose(probabilities, tagger.tag(music(), RATE).probabilities, atol=0.15)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claims-half", "claims"),
        ("opposed", "its channels cancel each other out"),
        ("floats-of-16-bits", "instead of ±1"),
        ("nan", "58 % of its samples are not numbers"),
        ("ogg-page-cut", "no end mark"),
        ("ts-gap", "1.00 s of sound are missing"),
        ("junk-after", "not sound in a known format"),
    ],
)
def test_what_is_odd_is_in_the_results(
    name: str, said: str, tmp_path: Path, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{INPUTS[name].suffix}"
    path.write_bytes(INPUTS[name].make())
    job, item = Job(AnalysisConfig(models=("cbam_cnn",))), Item("a", path, path)
    record = job.tag(item, tagger)
    assert said in (record.warning or "")
    assert not (record.warning or "").startswith("a.")
    assert (record.error, TaggedCsv().write(record).failed) == (None, False)
    monkeypatch.setattr("instrec_live.realtime.commands.tag.job.PART_SECONDS", 2.0)
    split = job.do(FileTask(item, 2), tagger)
    if name in ("ogg-page-cut", "ts-gap"):  # their length is not known before they are read
        assert split == record
        return
    assert isinstance(split, SplitResult)
    parts = [job.do(ChunkTask(item, number, span), tagger) for number, span in enumerate(split.spans)]
    assert len(parts) == 2
    assert job.do(MergeTask(item, tuple(parts)), tagger) == record  # type: ignore[arg-type]
