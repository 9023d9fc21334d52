"""Recordings as examples: each once an epoch, in their own labels, at their own length."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import log_mel
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Table
from instrec_live.training.learning.recordings import Recordings, log_odds, positive_weights


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Five clips; clip i is a tone of 200 (i + 1) Hz, instrument i, of i + 1 s."""
    paths = []
    for i in range(5):
        t = np.arange((i + 1) * 16_000) / 16_000
        paths.append(tmp_path / f"{i}.flac")
        soundfile.write(paths[-1], 0.3 * np.sin(2 * np.pi * 200 * (i + 1) * t), 16_000)
    labels = np.zeros((5, 20), np.float32)
    labels[np.arange(5), np.arange(5)] = 1
    names = np.array([str(i) for i in range(5)])
    return Table(tuple(paths), np.full(5, "openmic"), names, np.full(5, "train"), labels, np.ones_like(labels))


def which(example) -> int:
    return int(example.labels.argmax())


def test_every_clip_once_an_epoch_in_a_new_order(table: Table) -> None:
    recordings = Recordings(table, through_channel=False)
    seen = [which(recordings.example(i, np.random.default_rng(i), 100)) for i in range(15)]
    epochs = [seen[k : k + 5] for k in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_an_example_is_the_clips_sound(table: Table) -> None:
    recordings = Recordings(table, through_channel=False, gain_db=(0.0, 0.0))
    for i in range(5):
        example = recordings.example(i, np.random.default_rng(0), 1000)
        clip = load(table.paths[which(example)])
        expected = log_mel(np.pad(clip, (0, 320_000 - len(clip))))
        np.testing.assert_allclose(example.log_mel, expected, atol=1e-4)
        assert example.real


def test_crops_gains_shifts_and_the_channel_change_it(table: Table) -> None:
    plain = Recordings(table, False, (0.0, 0.0)).example(0, np.random.default_rng(0), 300)
    for changes in ({"gain_db": (6.0, 6.0)}, {"roll": 0.5}, {"jitter": True}, {"through_channel": True}):
        other = Recordings(table, **({"through_channel": False, "gain_db": (0.0, 0.0)} | changes))
        example = other.example(0, np.random.default_rng(0), 300)
        assert example.log_mel.shape == plain.log_mel.shape
        assert np.isfinite(example.log_mel).all()
        assert not np.allclose(example.log_mel, plain.log_mel, atol=1e-3), changes


def test_waveforms_mix_with_their_labels(table: Table) -> None:
    recordings = Recordings(table, False, wavmix=1.0)
    labels = np.array([recordings.example(i, np.random.default_rng(i), 100).labels for i in range(30)])
    assert ((labels > 0).sum(1) == 2).any()
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-5)
    assert (labels.max(1) >= 0.5).all()


def test_weights_make_some_clips_likelier(table: Table) -> None:
    recordings = Recordings(table, False, weights=np.array([8, 1, 1, 0, 0], np.float32))
    seen = np.array([which(recordings.example(i, np.random.default_rng((5, i)), 50)) for i in range(200)])
    assert 0.8 - 4 * 0.028 < (seen == 0).mean() < 0.8 + 4 * 0.028
    assert not np.isin(seen, (3, 4)).any()


def test_an_unreadable_clip_is_named(table: Table) -> None:
    table.paths[2].write_bytes(b"fLaC but not really")
    recordings = Recordings(table)
    with pytest.raises(InputFileError, match=r"2\.flac"):
        [recordings.example(i, np.random.default_rng(0), 100) for i in range(5)]


def test_a_song_is_a_bag_of_its_windows(tmp_path: Path) -> None:
    """A song of 30 s with another tone in each second: examples of 1 s have several of them, those of a clip two."""
    t = np.arange(30 * 32_000) / 32_000
    hz = 300.0 * (1 + np.floor(t))
    soundfile.write(tmp_path / "song.flac", 0.3 * np.sin(2 * np.pi * hz * t), 32_000)
    heard = {}
    for source in ("songs", "clips"):
        one, zeros = np.array(["a"]), np.zeros((1, 20), np.float32)
        table = Table((tmp_path / "song.flac",), np.array([source]), one, np.array(["train"]), zeros, zeros)
        recordings = Recordings(table, through_channel=False)
        examples = [recordings.example(i, np.random.default_rng(i), 100).log_mel.mean(1) for i in range(12)]
        heard[source] = np.mean([(mel > mel.max() - 1).sum() for mel in examples])
    assert heard["songs"] > 1.5 * heard["clips"]


def test_priors_count_known_cells_only(table: Table) -> None:
    mask = table.mask.copy()
    mask[:4, 4] = 0  # of instrument 4, clip 4 alone is known, and it has it
    known = Table(table.paths, table.source, table.group, table.split, np.where(mask > 0, table.labels, 1), mask)
    weights = positive_weights(known, (0.0, 3.0))
    assert weights[0] == 3.0  # 4 to 1, bounded
    assert weights[4] == 0.0
    assert weights[10] == 3.0  # 5 to none
    np.testing.assert_allclose(log_odds(known)[[0, 4]], np.log([2 / 5, 2 / 1]), rtol=1e-6)
