"""A bundle loads only if it is whole, unaltered and for this program; everything else is one clear line."""

import hashlib
import io
import json
import os
import re
import warnings

import numpy as np
import pytest
from altered_bundle import edit, refused, replace_file
from tiny_bundle import TINY_ONNX, onnx_with_external_data, write_tiny

from instrec_live.models import bundle as bundle_file
from instrec_live.models.audioset import OTHER_SOUNDS
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled, checked_thresholds
from instrec_live.models.calibration import Platt
from instrec_live.models.engines.base import verify_golden
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path / "tiny")


def golden_of(log_mel, logits):
    packed = io.BytesIO()
    np.savez(packed, log_mel=log_mel, logits=logits)
    return packed.getvalue()


def test_a_network_may_know_other_sounds(tmp_path):
    log_mel = np.zeros((128, 200), np.float32)
    logits = np.zeros(len(INSTRUMENTS) + len(OTHER_SOUNDS), np.float32)
    wide = write_tiny(tmp_path / "wide", golden=(log_mel, logits))
    assert wide.others == Bundle.load(wide.path).others == OTHER_SOUNDS
    assert json.loads((wide.path / "manifest.json").read_text())["others"] == list(OTHER_SOUNDS)
    tiny = write_tiny(tmp_path / "tiny")
    assert tiny.others == ()
    edit(tiny, lambda manifest: manifest.pop("others", None))
    assert Bundle.load(tiny.path).others == ()
    edit(tiny, lambda manifest: manifest.update(others=list(OTHER_SOUNDS[:-1])))
    refused(tiny, f": its other sounds are not the {len(OTHER_SOUNDS)} that this version knows, in their order$")
    with pytest.raises(ModelError, match=r"golden.npz has shapes \(128, 200\) and"):
        write_tiny(tmp_path / "other", golden=(log_mel, logits[:-1]))


def test_a_checksum_is_not_of_the_order():
    sums = {bundle_file.summed(each)["checksum"] for each in ({"a": 1, "b": 2}, {"b": 2, "a": 1})}
    assert len(sums) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("name"), "'name' is missing"),
        (MemoryError(), "there is not enough memory to read it"),
        (EOFError(), "EOFError"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_without_words_still_has_a_reason(tiny, monkeypatch, error, words):
    def fail(path, most):
        raise error

    monkeypatch.setattr(bundle_file, "read_regular", fail)
    refused(tiny, f"^: not a valid model bundle: {words}$")


def test_only_the_network_may_be_large(tiny):
    manifest = tiny.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().ljust(20_000_000))
    assert Bundle.load(tiny.path).name == "tiny"
    with open(manifest, "ab") as file:
        file.write(b" ")
    refused(tiny, "larger than 20 MB")
    os.truncate(tiny.path / "model.onnx", 20_000_001)
    manifest.write_bytes(manifest.read_bytes().strip())
    refused(tiny, "sha256 differs")


def test_what_is_written_is_read(tiny):
    again = Bundle.load(tiny.path)
    assert (again.name, again.onnx) == ("tiny", TINY_ONNX.read_bytes())
    assert again.sha256 == hashlib.sha256(again.onnx).hexdigest()
    assert (again.path, again.width) == (tiny.path, 0)
    assert again.network == {"name": "tiny", "config": {}, "parameters": 2560}
    assert again.calibration.scale.tolist() == [1.5] * 20
    assert again.thresholds.tolist() == [0.5] * 20
    assert [part.shape for part in again.golden] == [(128, 200), (20,)]
    assert again.golden_tolerance == 1e-3
    assert again.provenance["seed"] == 1
    for array in (again.thresholds, *again.golden):
        assert array.dtype == np.float32
        assert not array.flags.writeable
    assert (tiny.path / "MODEL_CARD.md").read_bytes() == b"# tiny\n"
    manifest = (tiny.path / "manifest.json").read_text()
    assert manifest == json.dumps(json.loads(manifest), indent=1) + "\n"  # for people too: a line for each entry
    assert sorted(file.name for file in tiny.path.iterdir()) == [
        "MODEL_CARD.md", "golden.npz", "manifest.json", "model.onnx",
    ]  # fmt: skip


def test_writing_replaces_whole_and_leaves_no_scraps(tiny):
    (tiny.path / "stray").write_text("")
    write_tiny(tiny.path, name="newer")
    assert Bundle.load(tiny.path).name == "newer"
    assert [entry.name for entry in tiny.path.parent.iterdir()] == ["tiny"]
    assert not (tiny.path / "stray").exists()


def test_folders_on_the_way_are_made(tmp_path):
    assert write_tiny(tmp_path / "a" / "b" / "tiny").path == tmp_path / "a" / "b" / "tiny"


def test_numbers_of_any_kind_are_written_in_float32(tmp_path):
    log_mel, logits = np.full((128, 200), 0.1), [0.1] * 20
    bundle = write_tiny(tmp_path / "tiny", golden=(log_mel.tolist(), logits), thresholds=[0.3] * 20)
    with np.load(bundle.path / "golden.npz") as golden:
        assert {name: array.dtype for name, array in golden.items()} == {"log_mel": np.float32, "logits": np.float32}
        assert (golden["log_mel"] == np.float32(0.1)).all()
    assert (bundle.thresholds == np.float32(0.3)).all()


def test_it_is_written_under_a_temporary_name(tmp_path, monkeypatch):
    """On the same disk, so that it comes to its place at once; under a name that no `*/manifest.json` finds."""
    load, seen = Bundle.load, []
    monkeypatch.setattr(Bundle, "load", lambda path: seen.append(path) or load(path))
    write_tiny(tmp_path / "tiny")
    scratch = seen[0].parent
    assert scratch.parent == tmp_path
    assert scratch.name.startswith(".tiny-")
    assert seen[1:] == [tmp_path / "tiny"]
    assert not scratch.exists()


def test_a_refused_writing_leaves_the_old_one(tiny):
    with pytest.raises(ModelError):
        write_tiny(tiny.path, onnx=b"not a network")
    assert Bundle.load(tiny.path).name == "tiny"
    assert [entry.name for entry in tiny.path.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz"])
def test_missing_file(tiny, file):
    (tiny.path / file).unlink()
    refused(tiny, f"{file} is missing")


def test_a_folder_without_a_manifest_is_no_bundle(tiny):
    (tiny.path / "manifest.json").unlink()
    refused(tiny, "manifest.json is missing", "give a bundled name or the folder of a bundle")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "manifest.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tiny, file):
    (tiny.path / file).unlink()
    os.mkfifo(tiny.path / file)
    refused(tiny, "not a regular file")


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz"])
def test_flipped_byte(tiny, file):
    content = bytearray((tiny.path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny.path / file).write_bytes(content)
    refused(tiny, f"{file}: altered")


def test_flipped_digit(tiny):
    file = tiny.path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["thresholds"][3] += 0.01
    file.write_text(json.dumps(manifest))
    refused(tiny, r"manifest\.json: altered \(its checksum differs\)")
    del manifest["checksum"]  # as bundles of before have none
    file.write_text(json.dumps(manifest))
    assert Bundle.load(tiny.path).thresholds[3] == pytest.approx(manifest["thresholds"][3])


def test_cut_short(tiny):
    content = (tiny.path / "model.onnx").read_bytes()
    (tiny.path / "model.onnx").write_bytes(content[:-9])
    refused(tiny, "altered or cut short")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("thresholds"), "'thresholds' is missing"),
        (lambda m: m["calibration"]["scale"].__setitem__(3, float("nan")), "scale is not finite"),
        (lambda m: m["calibration"]["bias"].pop(), "must have 20 numbers"),
        (lambda m: m.update(thresholds=[0.5] * 21), "thresholds must be 20"),
        (lambda m: m.update(thresholds=[1.5] * 20), "between 0 and 1"),
        (lambda m: m.update(thresholds="high"), "could not convert"),
        (lambda m: m.update(instruments=m["instruments"][::-1]), "not the 20 instruments"),
        (lambda m: m["input"].update(sample_rate=16000), "its input is"),
        (lambda m: m.update(golden_tolerance=float("nan")), "golden_tolerance nan is not between 0 and 1$"),
        (lambda m: m.update(golden_tolerance=0), r"golden_tolerance 0\.0 is not between"),
        (lambda m: m.update(golden_tolerance=1), r"golden_tolerance 1\.0 is not between"),
        (lambda m: m.update(thresholds=[0.5] * 19 + [0]), "between 0 and 1"),
        (lambda m: m.update(thresholds=[1] + [0.5] * 19), "between 0 and 1"),
        (lambda m: m.update(thresholds=[0.5] * 19 + [float("inf")]), "thresholds: not all numbers are finite$"),
        (lambda m: m.update(provenance=7), "not a valid model bundle"),
        (lambda m: m.update(sha256=[]), "not a valid model bundle"),
        (lambda m: m["network"].update(width="wide"), "its network's width is 'wide'"),
        (lambda m: m["network"].update(width=-1), "its network's width is -1"),
        (lambda m: m.update(golden_tolerance=10**400), "too large"),
        (lambda m: m.update(thresholds=[10**400] * 20), "too large"),
    ],
)
def test_wrong_manifest(tiny, change, words):
    edit(tiny, change)
    refused(tiny, words)


@pytest.mark.parametrize(("schema", "said"), [(2, "2"), ("1", "'1'"), (None, "None")])
def test_another_schema(tiny, schema, said):
    edit(tiny, lambda manifest: manifest.update(schema=schema))
    refused(
        tiny,
        rf"/manifest\.json: schema {said}, this program reads 1$",
        hint="use a bundle made by this version of instrec-live",
    )


def test_a_tolerance_just_within_its_limits(tiny):
    edit(tiny, lambda manifest: manifest.update(golden_tolerance=0.999))
    assert Bundle.load(tiny.path).golden_tolerance == 0.999


def test_a_number_too_large_for_float32_is_refused_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^thresholds: not all numbers are finite$"):
            checked_thresholds([1e300] * 20)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"schema": 1}', "\udcff", "[" * 100_000])
def test_not_a_manifest(tiny, text):
    (tiny.path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError):
        Bundle.load(tiny.path)


def test_golden_of_pickles_is_not_opened(tiny, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    replace_file(tiny, "golden.npz", golden_of(np.array([Trap()], dtype=object), np.zeros(20)))
    refused(tiny, "Object arrays cannot be loaded when allow_pickle=False$")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("log_mel", "logits"), [((127, 200), (20,)), ((128,), (20,)), ((128, 200, 1), (20,)), ((128, 200), (1, 20))]
)
def test_golden_of_other_shapes(tiny, log_mel, logits):
    replace_file(tiny, "golden.npz", golden_of(np.zeros(log_mel), np.zeros(logits)))
    refused(tiny, re.escape(f"golden.npz has shapes {log_mel} and {logits}"))


@pytest.mark.parametrize("name", ["log_mel", "logits"])
def test_golden_that_is_not_finite(tiny, name):
    arrays = {"log_mel": np.zeros((128, 200)), "logits": np.zeros(20)}
    arrays[name].flat[7] = np.nan
    replace_file(tiny, "golden.npz", golden_of(**arrays))
    refused(tiny, "golden: not all numbers are finite$")


def test_how_large_golden_may_be(tiny, monkeypatch):
    unpacked = 4 * (128 * 200 + 20) + 2 * 128  # bytes; npy files have a header of 128
    monkeypatch.setattr(bundle_file, "_LARGEST_GOLDEN", unpacked)
    assert Bundle.load(tiny.path).name == "tiny"
    monkeypatch.setattr(bundle_file, "_LARGEST_GOLDEN", unpacked - 1)
    refused(tiny, r"golden\.npz is too large$")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY"])
def test_a_golden_file_that_is_not_an_archive_is_refused(tiny, content):
    replace_file(tiny, "golden.npz", content)
    refused(tiny, "not a valid model bundle")


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelError) as caught:
        Bundle.load(tmp_path / "none")
    assert caught.value.message == f"{tmp_path / 'none'}: no such model folder"
    assert caught.value.hint == "give a bundled name or the folder of a bundle"


@pytest.mark.parametrize("name", ["nonesuch", "../models", "/", "..", "", "./passt", "passt/", "passt/../passt"])
def test_no_such_bundled_model(name):
    with pytest.raises(ModelError) as caught:
        bundled(name)
    assert caught.value.message == f"no bundled model {name!r}"
    assert caught.value.hint == "bundled models: cbam_cnn, ms_crnn, passt; or give the folder of a bundle"


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_bundled_models_are_found_by_their_names(name):
    assert bundled(name) == bundle_file.BUNDLES / name


def test_without_any_bundled_model(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_file, "BUNDLES", tmp_path)
    with pytest.raises(ModelError, match=r"bundled models: none; or give the folder of a bundle$"):
        bundled("passt")


# Networks


def test_external_data_is_refused(tiny):
    """Else a bundle could have the engine read any file: loading from bytes does resolve paths."""
    replace_file(tiny, "model.onnx", onnx_with_external_data("weights.bin"))
    refused(tiny, r"model\.onnx refers to other files for its weights$")


def test_a_network_that_is_none_is_refused(tiny):
    replace_file(tiny, "model.onnx", b"not a network")
    refused(tiny, r"model\.onnx: not a valid model bundle: \w+")


# The bundles that ship


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_bundled_models_reproduce_their_golden_logits(name):
    path = bundled(name)
    bundle = Bundle.load(path)
    assert bundle.name == name
    assert (path / "MODEL_CARD.md").stat().st_size > 100
    verify_golden(open_engine(bundle, "onnx"), bundle)


def test_platt_in_a_bundle_survives_json(tmp_path):
    platt = Platt(np.linspace(0.1, 3, 20), np.linspace(-2, 2, 20))
    again = write_tiny(tmp_path / "b", calibration=platt).calibration
    np.testing.assert_array_equal(again.scale, platt.scale)
    np.testing.assert_array_equal(again.bias, platt.bias)
