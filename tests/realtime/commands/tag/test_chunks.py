"""A long file may be divided among many processes: the same record and the same updates, to the last bit."""

import functools
import random
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import FakeTagger, music
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from instrec_live.models import Tagger
from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.logmel import StreamingLogMel
from instrec_live.models.streaming import Window
from instrec_live.realtime.commands.tag import job as part
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.tag.find import Item
from instrec_live.realtime.commands.tag.job import ChunkResult, ChunkTask, FileTask, Job, MergeTask, Span, SplitResult
from instrec_live.realtime.commands.tag.pool import Plan, Pool
from instrec_live.realtime.commands.tag.results import Record
from instrec_live.realtime.stream import stream as streams
from instrec_live.realtime.stream.analysis import AnalysisConfig
from instrec_live.realtime.stream.stream import Stream


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 s of 44.1 kHz stereo with a pause of 14 s, and one that is shorter than the gate waits."""
    path = tmp_path_factory.mktemp("parts") / "long.flac"
    samples = music(80, 44_100, seed=3)
    for begin, end in ((36, 50), (70, 70.8)):
        samples[int(begin * 44_100) : int(end * 44_100)] = 0
    soundfile.write(path, np.stack([samples, 0.5 * samples], 1), 44_100)
    return path


def item(path: Path) -> Item:
    return Item(path.name, path, Path(path.name))


def parts(path: Path, job: Job, tagger: object, borders: list[int]) -> tuple[ChunkResult, ...]:
    spans = [Span(first, stop) for first, stop in zip([0, *borders], [*borders, None], strict=True)]
    tasks = [ChunkTask(item(path), number, span) for number, span in enumerate(spans)]
    heard = tuple(job.do(task, tagger) for task in tasks)  # type: ignore[arg-type]
    assert all(isinstance(each, ChunkResult) for each in heard)
    return heard  # type: ignore[return-value]


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger.load(DEFAULT_MODELS, "onnx")


@pytest.mark.parametrize(
    ("hop", "borders"), [(1.0, [8]), (0.5, [3, 7]), pytest.param(0.77, [8], marks=pytest.mark.slow)]
)
def test_parts_equal_the_whole_bit_for_bit(sound: Path, tagger: Tagger, hop: float, borders: list[int]) -> None:
    job = Job(AnalysisConfig(hop=hop))
    with Stream(sound, hop=hop, pace="max", tagger=tagger) as stream:
        whole = list(stream)
    told = list(part.merged_updates(parts(sound, job, tagger, borders), job, tagger))
    assert len(told) == len(whole)
    for one, other in zip(whole, told, strict=True):
        np.testing.assert_array_equal(other.probabilities, one.probabilities)
        assert other.by_model.keys() == one.by_model.keys()
        for name, probabilities in one.by_model.items():
            np.testing.assert_array_equal(other.by_model[name], probabilities)
        for field in ("time", "active", "level_db", "peak_db", "state", "filled_s", "skipped", "xruns", "bad_samples"):
            assert getattr(other, field) == getattr(one, field)


class Companionable(FakeTagger):
    """Hears a second of sound otherwise in every company, as an engine may in the last bits, and remembers it so."""

    def follow(self, mel: StreamingLogMel, hop: int) -> "CompanionableFollower":  # type: ignore[override]
        return CompanionableFollower()


class CompanionableFollower:
    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def prepare(self, windows: Sequence[Window]) -> None:
        new = sorted(
            {second for end, length, _ in windows for second in self._seconds(end, length)} - self._known.keys()
        )
        self._known |= {second: sum(new) % 97 + 1 / len(new) + second % 7 for second in new}

    def calibrated(self, end: int, length: int, whole: bool = True) -> dict[str, np.ndarray]:
        mean = np.mean([self._known[second] for second in self._seconds(end, length)]) / 50 - 1
        return {name: np.full(20, mean, np.float32) for name in ("passt", "cbam_cnn", "ms_crnn")}

    @staticmethod
    def _seconds(end: int, length: int) -> range:
        return range((end - length) // 32_000, end // 32_000)


@pytest.mark.parametrize("hop", [0.5, pytest.param(2.0, marks=pytest.mark.slow)])
def test_the_networks_hear_every_patch_in_the_same_company(sound: Path, hop: float) -> None:
    job, tagger = Job(AnalysisConfig(models=(), hop=hop)), Companionable()
    with Stream(sound, hop=hop, pace="max", tagger=tagger) as stream:  # type: ignore[arg-type]
        whole = np.stack([update.probabilities for update in stream])
    assert len(np.unique(whole)) > 30 / hop
    for border in (1, 4, 9):
        told = part.merged_updates(parts(sound, job, tagger, [border]), job, tagger)  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.stack([update.probabilities for update in told]), whole)


@functools.cache
def whole_of(path: Path, hop: float, folder: Path) -> tuple[Record, bytes, bytes]:
    return written(
        Job(AnalysisConfig(models=(), hop=hop), labels=folder / "l", per_hop=folder / "h"), FileTask(item(path)), folder
    )


def written(job: Job, task: FileTask | MergeTask, folder: Path) -> tuple[Record, bytes, bytes]:
    record = job.do(task, FakeTagger())  # type: ignore[arg-type]
    assert isinstance(record, Record)
    name = task.item.name
    hops = re.sub(rb'"created": "[^"]*", ', b"", (folder / "h" / f"{name}.jsonl").read_bytes())
    return record, (folder / "l" / f"{name}.txt").read_bytes(), hops


@pytest.mark.slow
@settings(deadline=None, max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a try takes seconds
@given(hop=st.sampled_from([0.77, 2.0, 5.0]), borders=st.sets(st.integers(1, 11), max_size=4))
def test_record_and_files_do_not_depend_on_where_a_file_is_split(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, hop: float, borders: set[int]
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"cut_{hop}"
    before = whole_of(sound, hop, folder)
    job = Job(AnalysisConfig(models=(), hop=hop), labels=folder / "l", per_hop=folder / "h")
    heard = parts(sound, job, FakeTagger(), sorted(borders))
    assert written(job, MergeTask(item(sound), heard), folder) == before


def test_causal_in_a_settings_file_changes_nothing(sound: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    told = []
    for text in ("hop = 5.0\n", "hop = 5.0\ncausal = true\n"):
        config.write_text(text)
        analysis = parse_tag(["x", "--config", str(config)]).listening.analysis
        job = Job(analysis, labels=tmp_path / "l", per_hop=tmp_path / "h")
        told.append(written(job, FileTask(item(sound)), tmp_path))
        told.append(written(job, MergeTask(item(sound), parts(sound, job, FakeTagger(), [1])), tmp_path))
    assert b'"decisions": "lookahead"' in told[0][2]
    assert all(each == told[0] for each in told)


def test_a_file_that_breaks_off_has_the_same_record_in_parts(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    job, fake = Job(AnalysisConfig(models=())), FakeTagger()
    for name, content in (("cut.flac", data[: len(data) // 2]), ("none.wav", b"no sound"), ("empty.wav", b"")):
        (tmp_path / name).write_bytes(content)
        whole = job.do(FileTask(item(tmp_path / name)), fake)  # type: ignore[arg-type]
        for borders in ([3, 8], [6]):
            heard = parts(tmp_path / name, job, fake, borders)
            assert job.do(MergeTask(item(tmp_path / name), heard), fake) == whole  # type: ignore[arg-type]
        assert isinstance(whole, Record)
        assert whole.error
    lost = tmp_path / "gone.wav"
    whole = job.do(FileTask(item(lost)), fake)  # type: ignore[arg-type]
    assert job.do(MergeTask(item(lost), parts(lost, job, fake, [2])), fake) == whole  # type: ignore[arg-type]


def test_a_channel_that_is_not_there_has_the_same_words_in_parts(sound: Path) -> None:
    job, fake = Job(AnalysisConfig(models=(), channel=3)), FakeTagger()
    whole = job.do(FileTask(item(sound)), fake)  # type: ignore[arg-type]
    assert whole == Record(sound.name, None, None, (), "has 2 channels: there is no channel 3")
    assert job.do(MergeTask(item(sound), parts(sound, job, fake, [3])), fake) == whole  # type: ignore[arg-type]


def test_only_long_files_are_cut_and_into_no_more_parts_than_asked(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTagger()
    assert isinstance(Job(AnalysisConfig(models=())).do(FileTask(item(sound), 4), fake), Record)  # type: ignore[arg-type]
    monkeypatch.setattr(part, "PART_SECONDS", 24.0)
    cut = Job(AnalysisConfig(models=())).do(FileTask(item(sound), 9), fake)  # type: ignore[arg-type]
    assert cut == SplitResult((Span(0, 3), Span(3, 7), Span(7, None)))
    assert part.chunk_spans(sound, 0.5, 2) == (Span(0, 5), Span(5, None))
    assert part.chunk_spans(sound, 0.5, 1) == ()


def test_batches_are_those_of_a_stream() -> None:
    assert streams._BATCH == part.BATCH


class Cutting(Job):
    """A job that cuts what others could hear with it, long or not."""

    def load(self) -> FakeTagger:  # type: ignore[override]
        return FakeTagger()

    def _spans(self, item: Item, share: int) -> tuple[Span, ...]:
        return (Span(0, 4), Span(4, 9), Span(9, None)) if share > 1 else ()


def test_processes_share_a_long_file(sound: Path) -> None:
    with closing(Pool(Cutting(AnalysisConfig(models=())), 2)) as pool:
        records = list(pool.records([item(sound)]))
    assert records == [Job(AnalysisConfig(models=())).do(FileTask(item(sound)), FakeTagger())]  # type: ignore[arg-type]


HEARD = ChunkResult(None, (), None)


@given(st.data())
def test_every_file_has_one_record_when_processes_die(data: st.DataObject) -> None:
    rng = random.Random(data.draw(st.integers()))
    items = [Item(f"{n}", Path(f"{n}"), Path(f"{n}")) for n in range(rng.randrange(1, 8))]
    plan, busy, records, dead = Plan(items, tries=3), [], [], Counter[str]()
    while plan.waiting or busy:
        if plan.waiting and (not busy or rng.random() < 0.5):
            busy.append(plan.next_task(4))
            continue
        task = busy.pop(rng.randrange(len(busy)))
        name = task.item.name
        if rng.random() < 0.25:
            dead[name] += 1
            record = plan.lost(task, "signal 9")
        elif isinstance(task, FileTask) and rng.random() < 0.4:
            record = plan.done(task, SplitResult((Span(0, 1), Span(1, 2), Span(2, None))))
        elif isinstance(task, ChunkTask):
            record = plan.done(task, HEARD)
        else:
            assert not isinstance(task, MergeTask) or len(task.parts) == 3
            record = plan.done(task, Record(name, 1.0, 0.0, ()))
        records += [record] if record else []
    assert sorted(record.name for record in records) == sorted(each.name for each in items)
    for record in records:
        assert (record.error is None) == (dead[record.name] < 3)
        assert record.error in (None, "crashes the process that reads it (signal 9)")


def test_a_file_is_offered_to_those_who_would_have_to_wait() -> None:
    plan = Plan([Item(f"{n}", Path(f"{n}"), Path(f"{n}")) for n in range(6)], tries=2)
    shares = [plan.next_task(4).share for _ in range(6)]  # type: ignore[union-attr]
    assert shares == [1, 1, 1, 2, 2, 4]
