"""A bundle loads only if it is whole, unaltered and for this program; everything else is one clear line."""

import io
import json
import os

import numpy as np
import pytest
from tiny_bundle import TINY_ONNX, write_tiny

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import Platt
from instrec_live.models.engines import open_engine, verify_golden
from instrec_live.models.errors import ModelError
from instrec_live.models.onnx_file import has_external_data, without_initializer


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path / "tiny")


def edit(bundle, change):
    """Alter the manifest as `change(manifest)` does."""
    file = bundle.path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def replace_file(bundle, file, content):
    """Put other content in, checksum and all."""
    import hashlib

    (bundle.path / file).write_bytes(content)
    edit(bundle, lambda manifest: manifest["sha256"].update({file: hashlib.sha256(content).hexdigest()}))


def refused(bundle, words):
    with pytest.raises(ModelError, match=words) as caught:
        Bundle.load(bundle.path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_what_is_written_is_read(tiny):
    again = Bundle.load(tiny.path)
    assert (again.name, again.onnx) == ("tiny", TINY_ONNX.read_bytes())
    assert again.calibration.scale[0] == 1.5
    assert again.thresholds.shape == (20,)
    assert again.golden[0].shape == (128, 200)
    assert again.provenance["seed"] == 1
    assert sorted(file.name for file in tiny.path.iterdir()) == [
        "MODEL_CARD.md", "golden.npz", "manifest.json", "model.onnx",
    ]  # fmt: skip


def test_writing_replaces_whole_and_leaves_no_scraps(tiny):
    (tiny.path / "stray").write_text("")
    write_tiny(tiny.path, name="newer")
    assert Bundle.load(tiny.path).name == "newer"
    assert [entry.name for entry in tiny.path.parent.iterdir()] == ["tiny"]
    assert not (tiny.path / "stray").exists()


def test_a_refused_writing_leaves_the_old_one(tiny):
    with pytest.raises(ModelError):
        write_tiny(tiny.path, onnx=b"not a network")
    assert Bundle.load(tiny.path).name == "tiny"
    assert [entry.name for entry in tiny.path.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "manifest.json"])
def test_missing_file(tiny, file):
    (tiny.path / file).unlink()
    refused(tiny, f"{file} is missing")


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz"])
def test_flipped_byte(tiny, file):
    content = bytearray((tiny.path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny.path / file).write_bytes(content)
    refused(tiny, f"{file}: altered")


def test_cut_short(tiny):
    content = (tiny.path / "model.onnx").read_bytes()
    (tiny.path / "model.onnx").write_bytes(content[:-9])
    refused(tiny, "altered or cut short")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schema=2), "schema 2, this program reads 1"),
        (lambda m: m.pop("schema"), "schema None"),
        (lambda m: m.pop("thresholds"), "'thresholds' is missing"),
        (lambda m: m["calibration"]["scale"].__setitem__(3, float("nan")), "scale is not finite"),
        (lambda m: m["calibration"]["bias"].pop(), "must have 20 numbers"),
        (lambda m: m.update(thresholds=[0.5] * 21), "thresholds must be 20"),
        (lambda m: m.update(thresholds=[1.5] * 20), "between 0 and 1"),
        (lambda m: m.update(thresholds="high"), "could not convert"),
        (lambda m: m.update(instruments=m["instruments"][::-1]), "not the 20 instruments"),
        (lambda m: m["input"].update(sample_rate=16000), "its input is"),
        (lambda m: m.update(golden_tolerance=float("nan")), "golden_tolerance"),
        (lambda m: m.update(provenance=7), "not a sound model bundle"),
        (lambda m: m.update(sha256=[]), "not a sound model bundle"),
    ],
)
def test_wrong_manifest(tiny, change, words):
    edit(tiny, change)
    refused(tiny, words)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"schema": 1}', "\udcff", "[" * 100_000])
def test_not_a_manifest(tiny, text):
    (tiny.path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError):
        Bundle.load(tiny.path)


def test_golden_of_pickles_is_not_opened(tiny):
    packed = io.BytesIO()
    np.savez(packed, log_mel=np.array([{}], dtype=object), logits=np.zeros(20))
    replace_file(tiny, "golden.npz", packed.getvalue())
    refused(tiny, "[Pp]ickle")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY"])
def test_golden_that_is_no_archive(tiny, content):
    replace_file(tiny, "golden.npz", content)
    refused(tiny, "not a sound model bundle")


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        Bundle.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["nonesuch", "../models", "/", "..", ""])
def test_no_such_bundled_model(name):
    with pytest.raises(ModelError, match="no bundled model"):
        bundled(name)


# External data


def with_external_tensor(location):
    onnx = pytest.importorskip("onnx", reason="making an external tensor needs onnx")
    model = onnx.load(TINY_ONNX)
    matrix = model.graph.initializer[1]
    matrix.ClearField("raw_data")
    matrix.data_location = onnx.TensorProto.EXTERNAL
    matrix.external_data.add(key="location", value=location)
    return model.SerializeToString()


def test_external_data_is_refused(tiny):
    """Else a bundle could have the engine read any file: loading from bytes does resolve paths."""
    replace_file(tiny, "model.onnx", with_external_tensor("weights.bin"))
    refused(tiny, "refers to other files")


def test_loading_from_bytes_alone_would_not_protect(tmp_path, monkeypatch):
    """Why the protobuf is walked: if onnxruntime ever refuses this by itself, the walk may go."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.zeros((128, 20), np.float32).tobytes())
    onnxruntime.InferenceSession(with_external_tensor("weights.bin"), providers=["CPUExecutionProvider"])


def test_external_data_is_found_wherever_tensors_hide():
    onnx = pytest.importorskip("onnx", reason="making hidden tensors needs onnx")
    from onnx import helper

    hidden = onnx.TensorProto(dims=[1], data_type=1)
    hidden.external_data.add(key="location", value="x")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    inner = helper.make_graph([constant], "inner", [], [])
    nested = helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=hidden)
    graphs = {
        "node": helper.make_graph([constant], "g", [], []),
        "subgraph": helper.make_graph([nested], "g", [], []),
        "sparse": helper.make_graph([], "g", [], [], sparse_initializer=[sparse]),
        "sparse attribute": helper.make_graph(
            [helper.make_node("Constant", [], ["c"], sparse_value=sparse)], "g", [], []
        ),
    }
    for where, graph in graphs.items():
        assert has_external_data(helper.make_model(graph).SerializeToString()), where
    empty = helper.make_graph([], "g", [], [])
    function = helper.make_function("d", "f", [], ["c"], [constant], [])
    assert has_external_data(helper.make_model(empty, functions=[function]).SerializeToString())
    assert not has_external_data(helper.make_model(empty).SerializeToString())


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40, b"\x3a\x05ab", os.urandom(0) + b"\x08"])
def test_not_an_onnx_file(content):
    with pytest.raises(ValueError, match=r".+"):
        has_external_data(content)


def test_a_flood_of_nested_graphs_is_refused():
    graph = b""
    for _ in range(60):  # node { attribute { g } }
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size = len(graph)
            graph = key + bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, size >> 14]) + graph
    size = len(graph)
    with pytest.raises(ValueError, match="nested too deeply"):
        has_external_data(b"\x3a" + bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, size >> 14]) + graph)


# The bundles that ship


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_bundled_models_reproduce_their_golden_logits(name):
    path = bundled(name)
    bundle = Bundle.load(path)
    assert bundle.name == name
    assert (path / "MODEL_CARD.md").stat().st_size > 100
    verify_golden(open_engine(bundle), bundle)


def test_platt_in_a_bundle_survives_json(tmp_path):
    platt = Platt(np.linspace(0.1, 3, 20), np.linspace(-2, 2, 20))
    again = write_tiny(tmp_path / "b", calibration=platt).calibration
    np.testing.assert_array_equal(again.scale, platt.scale)
    np.testing.assert_array_equal(again.bias, platt.bias)


def test_an_input_loses_its_value_and_nothing_else():
    onnx = pytest.importorskip("onnx", reason="making another network needs onnx")
    plain = TINY_ONNX.read_bytes()
    model = onnx.load_model_from_string(plain)
    model.graph.initializer.add(name="heard", data_type=1, dims=(0, 8))
    model.graph.input.append(onnx.helper.make_tensor_value_info("heard", 1, ("patches", 8)))
    without = onnx.load_model_from_string(without_initializer(model.SerializeToString(), "heard"))
    del model.graph.initializer[-1]
    assert without == model
    assert without_initializer(plain, "heard") == plain


def test_a_network_in_8_bits_may_lie_beside_the_other(tmp_path):
    from tiny_bundle import TINY_ONNX

    plain, both = write_tiny(tmp_path / "plain"), write_tiny(tmp_path / "both", int8=TINY_ONNX.read_bytes())
    assert both.int8() == TINY_ONNX.read_bytes()
    assert open_engine(both, "onnx:int8").name.endswith(" int8")
    with pytest.raises(ModelError, match="without a network in 8 bits — use --engine onnx"):
        open_engine(plain, "onnx:int8")
    (both.path / "model.int8.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.int8\.onnx: altered or cut short"):
        Bundle.load(both.path).int8()
