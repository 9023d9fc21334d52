"""A device's clock that is off: seen through blocks that come late by chance, and never corrected."""

import io
import json

import numpy as np
import pytest
from fakes import ArraySource, FakeTagger, FloatArray, music
from played import an_update

from instrec_live.realtime.audio.ring_buffer import RingBuffer
from instrec_live.realtime.outputs import JsonLines, SummaryBuilder
from instrec_live.realtime.stream import capture
from instrec_live.realtime.stream.capture import Capture, Drift, DriftMeter, MonoReader
from instrec_live.realtime.stream.stream import Stream

DAY = 86_400.0


def met(ppm: float, seconds: float, delays: FloatArray, block: float = 0.1) -> DriftMeter:
    """A meter that has seen a device for so long, whose blocks come up to `delays` s late, again and again."""
    meter = DriftMeter()
    true = np.arange(1, round(seconds / block) + 1) * block  # s of the machine's
    late = np.resize(delays, len(true))
    for wall, sound in zip((1e5 + true + late).tolist(), (true * (1 + ppm / 1e6)).tolist(), strict=True):
        meter.note(sound, wall)
    return meter


def jitter(scale: float) -> FloatArray:
    """As a busy machine's: mostly little, at times a fifth of a second, s."""
    rng = np.random.default_rng(3)
    delays = rng.exponential(scale, 7_919)
    delays[rng.integers(0, len(delays), 80)] += 0.2
    return delays.astype(np.float32)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_200_ppm_over_a_day(ppm: float) -> None:
    meter = met(ppm, DAY, jitter(0.005), block=0.2)
    assert meter.drift is not None
    assert meter.drift.ppm == pytest.approx(ppm, abs=0.1)
    assert meter.drift.seconds == pytest.approx(ppm * 1e-6 * DAY, abs=0.02)  # 17.28 s
    assert len(meter._points) <= 256


@pytest.mark.parametrize("ppm", [-50.0, 0.0, 50.0])
def test_six_minutes_are_enough_to_tell(ppm: float) -> None:
    drift = met(ppm, 360, jitter(0.01)).drift
    assert drift is not None
    assert drift.ppm == pytest.approx(ppm, abs=10)


def test_nothing_is_reported_too_early() -> None:
    assert met(50, 5, jitter(0.01)).drift is None
    early = met(50, 250, jitter(0.01)).drift
    assert early is not None
    assert early.ppm is None
    assert abs(early.seconds) < 0.05


def test_sound_that_was_lost_is_in_the_seconds_and_not_in_the_slope() -> None:
    meter, sound = DriftMeter(), 0.0
    for tenth in range(36_000):
        lost = 0.5 if tenth in (9_000, 20_000, 30_000) else 0.0
        sound += 0.1 * (1 + 20e-6) - lost
        meter.note(sound, tenth / 10, segment=(tenth >= 9_000) + (tenth >= 20_000) + (tenth >= 30_000))
    assert meter.drift is not None
    assert meter.drift.ppm == pytest.approx(20, abs=0.5)
    assert meter.drift.seconds == pytest.approx(3_600 * 20e-6 - 1.5, abs=0.01)


def test_endless_gaps_take_no_memory() -> None:
    meter = DriftMeter()
    for second in range(20_000):
        meter.note(float(second), float(second), segment=second)
    assert len(meter._points) <= 256


def test_after_endless_gaps_five_minutes_without_one_are_enough() -> None:
    meter = DriftMeter()
    for second in range(20_000):
        meter.note(float(second), float(second), segment=second)
    for tenth in range(4_000):
        wall = 20_000 + tenth / 10
        meter.note(wall * (1 + 50e-6), wall, segment=20_000)
    assert meter.drift is not None
    assert meter.drift.ppm == pytest.approx(50, abs=1)


class Paced:
    """A clock that the source sets, in the place of the machine's."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def test_audio_time_stays_samples_over_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Paced()
    monkeypatch.setattr(capture, "time", clock)

    class Fast(ArraySource):  # 48,009.6 samples a second of ours
        def read(self) -> FloatArray | None:
            block = super().read()
            clock.now += 0 if block is None else len(block) / self.rate / (1 + 200e-6)
            return block

    ring = RingBuffer(32_000)
    taken = Capture(MonoReader(Fast(np.zeros(400 * 1_000, np.float32), 1_000, blocks=100)), ring, None)
    taken.start()
    taken.join(120)
    assert ring.written == 400 * 32_000
    assert taken.drift.drift is not None
    assert taken.drift.drift.ppm == pytest.approx(200, abs=0.1)


def test_the_summary_has_it_and_files_have_none() -> None:
    tally, file = SummaryBuilder(0.5), io.StringIO()
    tally.note(an_update(0.5))
    JsonLines(file, {}).close(tally.summary("stopped", Drift(-0.01234567, -12.345)))
    summary = json.loads(file.getvalue().splitlines()[-1])
    assert (summary["drift_s"], summary["drift_ppm"]) == (-0.0123, -12.3)
    stream = Stream(source=ArraySource(music(1)), pace="max", tagger=FakeTagger())  # type: ignore[arg-type]
    list(stream)
    assert stream.drift is None
