"""Learning instruments from embeddings: the regression, its figures, and the bundle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instrec_live.models import INSTRUMENTS, Tagger
from instrec_live.models.audioset import NOT_MUSIC, OTHER_SOUNDS
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.learned import Base, LearnedBundle, bases_of, class_name, write_learned
from instrec_live.models.learning import (
    BACKGROUND,
    Background,
    Encoder,
    Examples,
    average_precision,
    learn,
    ridge,
)
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.models.tagger import CORRECTIONS, OTHERS
from instrec_live.realtime.config.settings import parse

RNG = np.random.default_rng(0)
WIDTH = 24


def background(count: int = 400) -> Background:
    """Of 20 instruments, each around a point of its own."""
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 2, (20, WIDTH))
    which = np.arange(count) % 20
    labels = np.eye(20, dtype=bool)[which]
    logits = np.where(labels, 2.0, -4.0) + rng.normal(0, 0.5, (count, 20))
    features = centres[which] + rng.normal(0, 1, (count, WIDTH))
    return Background(
        (Base("passt", "0" * 64, WIDTH),), features.astype(np.float32), logits.astype(np.float32), labels,
        tuple(f"source {n}" for n in which % 7),
    )  # fmt: skip


def examples(classes: int, each: int = 60, logits: np.ndarray | None = None, seed: int = 2) -> Examples:
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(classes), each)
    centres = rng.normal(0, 2, (classes, WIDTH))
    n = len(which)
    return Examples(
        (centres[which] + rng.normal(0, 1, (n, WIDTH))).astype(np.float32),
        np.empty((n, 0), np.float32) if logits is None else logits,
        np.zeros((n, 3), np.float32),
        np.eye(classes, dtype=bool)[which],
        (np.arange(n) % 5).astype(np.int64),
        np.arange(n) % 2 == 1,
    )


def test_held_out_scores_have_not_seen_their_fold() -> None:
    inputs = RNG.normal(size=(60, 5)).astype(np.float32)
    labels = RNG.random((60, 2)) < 0.4
    folds = np.arange(60) % 5
    weights = RNG.random(60).astype(np.float32) + 0.5
    scores, coefficients = ridge(inputs, labels, weights, folds)
    kept = folds != 3
    _, fitted = ridge(inputs[kept], labels[kept], weights[kept], folds[kept])
    assert np.allclose(scores[~kept], inputs[~kept] @ fitted, atol=1e-4)
    assert coefficients.shape == (5, 2)
    altered = labels.copy()
    altered[folds == 3] ^= True
    assert np.allclose(ridge(inputs, altered, weights, folds)[0][~kept], scores[~kept], atol=1e-4)


def test_average_precision_is_the_usual_one() -> None:
    labels, scores = np.array([1, 0, 1, 0, 0], bool), np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    assert average_precision(labels, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(labels, np.zeros(5)) == pytest.approx((1 / 4 + 2 / 5) / 2)  # the worst order
    assert np.isnan(average_precision(np.zeros(5, bool), scores))


def test_new_classes_are_told_apart_and_from_the_background() -> None:
    head = learn(examples(3), ("harp", "oud", "tuba"), background())
    for name in head.classes:
        found = head.evaluation[name]
        assert found["ap"] > 0.95
        assert found["ap_mixed"] > 0.95
        assert found["false_alarms"] <= 0.015
        assert found["found"] > 0.9
    assert (head.thresholds >= 0.2).all()


def test_confusions_are_reported() -> None:
    """Two classes that sound the same, and one that sounds like the background's first instrument."""
    given = examples(3)
    alike, like_first = given.labels[:, 1], given.labels[:, 2]
    features = given.features.copy()
    rng = np.random.default_rng(5)
    features[alike] = features[given.labels[:, 0]] + rng.normal(0, 0.3, features[alike].shape)
    ground = background()
    first = ground.features[ground.labels[:, 0]]
    features[like_first] = first[rng.integers(len(first), size=like_first.sum())]
    head = learn(replace(given, features=features), ("harp", "lyre", "concertina"), ground)
    assert "lyre" in head.evaluation["harp"]["taken_for"]
    assert "accordion" in head.evaluation["concertina"]["alarms_on"] or head.evaluation["concertina"]["found"] < 0.5
    assert head.evaluation["harp"]["ap"] < 0.9


def test_a_correction_finds_what_the_networks_missed_and_leaves_the_rest() -> None:
    """The user's cello is heard as nothing by the networks; their own cello stays as it was."""
    n = 60
    logits = np.full((n, 20), -3.5, np.float32)  # 3 more are above the threshold
    given = examples(1, each=n, logits=logits)
    head = learn(given, ("cello",), background())
    found = head.evaluation["cello"]
    assert found["ap_before"] < 0.7 < 0.8 < found["ap"]
    corrected = given.features @ head.weight[0] + head.bias[0]
    assert np.median(corrected) > 2


@pytest.mark.parametrize(("networks", "found"), [(-5.0, 0.0), (0.0, 1.0)])
def test_figures_of_a_correction_are_those_of_a_run(networks: float, found: float) -> None:
    """It adds at most 3 logits, and the ensemble's threshold stays."""
    head = learn(examples(1, logits=np.full((60, 20), networks, np.float32)), ("cello",), background())
    threshold = Tagger.load(engine="onnx").thresholds[INSTRUMENTS.index("cello")]
    assert 1 / (1 + np.exp(2)) < threshold < 0.9  # above -5 + 3 logits
    assert head.thresholds[0] == pytest.approx(threshold)
    assert head.evaluation["cello"]["found"] == pytest.approx(found, abs=0.1)


def test_the_background_belongs_to_the_bundled_networks() -> None:
    """When networks are replaced: benchmarks/make_background.py makes it again."""
    ground = Background.load()
    assert BACKGROUND.stat().st_size <= 1_000_000
    networks = {bundle.name: bundle for bundle in map(Bundle.load, map(bundled, DEFAULT_MODELS))}
    for base in ground.bases:
        assert networks[base.name].sha256 == base.sha256
    assert ground.features.shape == (len(ground.labels), sum(base.numbers for base in ground.bases))
    assert np.isfinite(ground.features).all()
    assert (ground.labels.sum(axis=0) >= 15).all()  # every instrument is there
    assert {"sf_timgm6mb", "tamtam", "sms_tools"}.isdisjoint(ground.sources)


def test_a_background_of_other_networks_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "background.npz"
    background().save(path)
    with pytest.raises(ModelError, match=r"background\.npz was made with other networks"):
        Background.load(path)
    now = bases_of([Bundle.load(bundled("passt"))])[0]
    ground = replace(background(), bases=(replace(now, numbers=WIDTH),))
    ground.save(path)
    again = Background.load(path)
    assert [base.name for base in again.bases] == ["passt"]
    assert np.allclose(again.features, ground.features, atol=0.05)


def written(
    path: Path, classes: tuple[str, ...] = ("harp",), seed: int = 0, kinds: tuple[str, ...] = ()
) -> LearnedBundle:
    """A head of random numbers on the bundled networks; its classes are held back by these kinds of sound."""
    bases = bases_of([Bundle.load(bundled(name)) for name in DEFAULT_MODELS])
    rng = np.random.default_rng(seed)
    numbers = sum(base.numbers for base in bases)
    return write_learned(
        path, bases=bases, classes=classes, weight=rng.normal(0, 0.05, (len(classes), numbers)).astype(np.float32),
        bias=np.zeros(len(classes), np.float32), thresholds=np.full(len(classes), 0.5, np.float32),
        held_back_by={name: kinds for name in classes if name not in INSTRUMENTS},
        provenance={}, evaluation={}, model_card="# test\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(classes=["harp", "harp"]), "head"),
        (lambda m: m.update(classes=[]), "1 to 100 different classes"),
        (lambda m: m.update(classes=["../x"]), "cannot be the name"),
        (lambda m: m.update(thresholds=[1.5]), "thresholds are not between"),
        (lambda m: m["sha256"].update({"head.npz": "0" * 64}), "altered or cut short"),
        (lambda m: m.update(schema=9), "not known to this version"),
        (lambda m: m.pop("bases"), "bases is missing|'bases'"),
        (lambda m: m["bases"][0].update(numbers=3), "do not fit"),
        (lambda m: m.pop("held_back_by"), "'held_back_by' is missing"),
        (lambda m: m.update(held_back_by=["harp"]), "not a valid learned bundle"),
        (lambda m: m.update(held_back_by={"oud": []}), "must have its new classes"),
        (lambda m: m.update(held_back_by={"harp": ["rain"]}), "'rain' holds nothing back"),
    ],
)
def test_an_altered_bundle_is_refused(tmp_path: Path, change, words: str) -> None:  # type: ignore[no-untyped-def]
    written(tmp_path / "mine")
    file = tmp_path / "mine" / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=words if words != "head" else "different classes"):
        Tagger.load([tmp_path / "mine"])


def test_another_version_of_a_network_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "mine")
    file = tmp_path / "mine" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["bases"][0]["sha256"] = "1" * 64
    file.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="learned with another version of the network"):
        Tagger.load([tmp_path / "mine"])


def test_with_the_twenty_alone_and_as_a_correction(tmp_path: Path) -> None:
    samples = (0.1 * RNG.standard_normal(4 * SAMPLE_RATE)).astype(np.float32)
    mel = log_mel(samples)
    plain = Tagger.load(engine="onnx")
    before = plain.ensemble(plain.calibrated(mel))
    head = written(tmp_path / "mine", ("harp", "oud"))

    beside = Tagger.load([*DEFAULT_MODELS, tmp_path / "mine"], engine="onnx")
    assert beside.instruments == (*INSTRUMENTS, "harp", "oud")
    assert beside.models == (*DEFAULT_MODELS, "mine")
    calibrated = beside.calibrated(mel)
    assert np.isnan(calibrated["passt"][20:]).all()
    assert np.isnan(calibrated["mine"][:20]).all()
    logits = beside.ensemble(calibrated)
    assert np.array_equal(logits[:20], before)  # the 20 are what they were
    tags = beside.tag(samples, SAMPLE_RATE)
    assert tags.probabilities.shape == (22,)

    alone = Tagger.load([tmp_path / "mine"], engine="onnx")
    assert alone.instruments == ("harp", "oud")
    own = alone.ensemble(alone.calibrated(mel))
    assert np.allclose(own, logits[20:], atol=1e-4)
    encoder = Encoder(head.bases)
    window = samples[: 2 * SAMPLE_RATE]
    features, _, _ = encoder(window[None])
    assert np.allclose(alone.calibrated(log_mel(window))["mine"], head.weight @ features[0] + head.bias, atol=1e-4)

    written(tmp_path / "cello", ("cello",), seed=3)
    corrected = Tagger.load([*DEFAULT_MODELS, tmp_path / "cello"], engine="onnx")
    assert corrected.instruments == INSTRUMENTS
    heard = corrected.calibrated(mel)
    after = corrected.ensemble(heard)
    row = INSTRUMENTS.index("cello")
    assert abs(heard[CORRECTIONS][row]) <= 3
    assert after[row] == pytest.approx(before[row] + heard[CORRECTIONS][row], abs=1e-5)
    assert np.array_equal(np.delete(after, row), np.delete(before, row))
    with pytest.raises(ModelError, match="only corrects instruments"):
        Tagger.load([tmp_path / "cello"])
    with pytest.raises(UsageError, match=r"--models .*cello: it only corrects.*cannot run alone") as refused:
        parse(["--no-config", "--models", str(tmp_path / "cello")])
    assert refused.value.hint == f"--models {','.join(DEFAULT_MODELS)},{tmp_path / 'cello'}"


def test_noise_holds_a_learned_class_back_as_it_does_the_twenty(tmp_path: Path) -> None:
    """Unless the class itself is noise; alone, beside the 20, and beside a network that knows no other sounds."""
    noise = (0.05 * RNG.standard_normal(3 * SAMPLE_RATE)).astype(np.float32)
    noisy = np.full(len(OTHER_SOUNDS), -3.0, np.float32)
    noisy[OTHER_SOUNDS.index("noise")] = -2.0
    written(tmp_path / "whistle", ("whistle",), kinds=("speech", "applause", "noise"))
    written(tmp_path / "rain", ("rain",), kinds=("speech", "applause"))
    learned = [tmp_path / "whistle", tmp_path / "rain"]
    plain = Tagger.load(["cbam_cnn"], engine="onnx").tag(noise, SAMPLE_RATE)
    for networks in ([], ["cbam_cnn"], [*DEFAULT_MODELS]):
        tagger = Tagger.load([*networks, *learned], engine="onnx")
        calibrated = tagger.calibrated(log_mel(noise))
        assert calibrated[OTHERS].shape == noisy.shape
        after = tagger.ensemble({**calibrated, OTHERS: noisy})[-2:]
        before = np.array([calibrated["whistle"][-2], calibrated["rain"][-1]])
        assert np.allclose(before - after, [4 * (1.0 - 0.3), 0], atol=1e-5)
        tags = tagger.tag(noise, SAMPLE_RATE)
        assert tags.kind is not None
        if networks == ["cbam_cnn"]:
            assert np.array_equal(tags.probabilities[:20], plain.probabilities)
            assert np.array_equal(tags.hops[:, :20], plain.hops)


def test_a_class_is_not_held_back_by_what_it_is_itself() -> None:
    """Noise leads in a third of the second class's own windows, and in one of the first's, which is then missed."""
    given = examples(2)
    back = given.back.copy()
    first, second = (np.flatnonzero(given.labels[:, column] & ~given.mixed) for column in (0, 1))
    back[first[0], NOT_MUSIC.index("noise")] = 80.0
    back[second[::3], NOT_MUSIC.index("noise")] = 8.0
    head, plain = (learn(each, ("oud", "rain"), background()) for each in (replace(given, back=back), given))
    assert head.held_back_by == {"oud": NOT_MUSIC, "rain": ("speech", "applause")}
    assert np.array_equal(head.thresholds, plain.thresholds)
    assert head.evaluation["rain"] == plain.evaluation["rain"]
    assert head.evaluation["oud"]["found"] == pytest.approx(plain.evaluation["oud"]["found"] - 1 / len(first), abs=1e-4)


def test_what_leads_in_a_window_is_told_while_learning() -> None:
    noise = (0.5 * np.random.default_rng(3).standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    chord = sum(0.1 * np.sin(2 * np.pi * hz * t) * np.exp(-2 * (t % 0.5)) for hz in (220, 277.2, 329.6))
    encoder = Encoder(bases_of([Bundle.load(bundled("passt"))]))
    back = encoder(np.stack([noise, chord.astype(np.float32)]))[2]
    assert back[0].argmax() == NOT_MUSIC.index("noise")
    assert back[0].max() > 0.3
    assert not back[1].any()
    nothing = Encoder(bases_of([Bundle.load(bundled("cbam_cnn"))]))(noise[None])[2]
    assert not nothing.any()


def test_names() -> None:
    assert class_name("French Horn") == class_name("french-horn ") == "french_horn"
    assert class_name("Đàn tranh") == "đàn_tranh"
    for bad in ("", "  ", "a/b", "<b>", "x" * 41, "\x1b[31m"):
        with pytest.raises(ValueError, match="cannot be the name"):
            class_name(bad)
