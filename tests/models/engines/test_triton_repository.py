"""The repository that a Triton server serves: whole or not at all, and as Triton's own grammar has it."""

import hashlib
import os

import numpy as np
import pytest
from tiny_bundle import TINY_ONNX, write_tiny

pytest.importorskip("onnx", reason="a repository's networks in float16 need onnx")

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engines import triton_repository
from instrec_live.models.engines.triton_repository import name_of, version_of, write_repository
from instrec_live.models.errors import ModelError, UsageError


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path / "tiny")


def files(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_what_is_in_it(tiny, tmp_path):
    path = tmp_path / "deep" / "served"
    assert write_repository([tiny], path) == ["tiny", "tiny_trt"]
    assert files(path) == [
        "tiny/20250101/model.onnx",
        "tiny/config.pbtxt",
        "tiny_trt/20250101/model.onnx",
        "tiny_trt/config.pbtxt",
    ]
    assert (path / "tiny/20250101/model.onnx").read_bytes() == TINY_ONNX.read_bytes()
    assert os.listdir(path.parent) == ["served"]
    assert path.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    os.umask(mask := os.umask(0))
    return mask


def test_triton_parses_the_configuration(tiny, tmp_path):
    text_format = pytest.importorskip("google.protobuf.text_format")
    grammar = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="pip install 'instrec-live[triton]'")
    write_repository([tiny], tmp_path / "r")
    plain, half = (
        text_format.Parse((tmp_path / "r" / name / "config.pbtxt").read_text(), grammar.ModelConfig())
        for name in ("tiny", "tiny_trt")
    )
    for config, name in ((plain, "tiny"), (half, "tiny_trt")):
        assert (config.name, config.platform, config.max_batch_size) == (name, "onnxruntime_onnx", 32)
        assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [
            ("log_mel", grammar.TYPE_FP32, [128, -1])
        ]
        assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("logits", grammar.TYPE_FP32, [20])]
        assert config.dynamic_batching.max_queue_delay_microseconds == 5000
        assert config.parameters["sha256"].string_value == hashlib.sha256(TINY_ONNX.read_bytes()).hexdigest()
    (cuda,) = plain.optimization.execution_accelerators.gpu_execution_accelerator
    assert (cuda.name, dict(cuda.parameters)) == ("cuda", {"use_tf32": "0"})
    (tensorrt,) = half.optimization.execution_accelerators.gpu_execution_accelerator
    assert tensorrt.name == "tensorrt"
    assert tensorrt.parameters["precision_mode"] == "FP16"
    assert tensorrt.parameters["trt_profile_max_shapes"] == "log_mel:32x128x1000"
    assert [group.kind for group in half.instance_group] == [grammar.ModelInstanceGroup.KIND_GPU]
    (warmup,) = half.model_warmup
    assert list(warmup.inputs["log_mel"].dims) == [128, 960]


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_inputs_and_outputs_match_the_configuration(name, tmp_path):
    """Every input that must be given, and the output, of both variants; Triton's ONNX Runtime looks."""
    import onnxruntime

    bundle = Bundle.load(bundled(name))
    write_repository([bundle], tmp_path / "r")
    log_mel, golden = bundle.golden
    for precision, off in (("fp32", 1e-3), ("fp16", 0.1)):
        (file,) = (tmp_path / "r" / name_of(bundle, precision)).glob("*/model.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(file, options)
        ((given, kind, shape),) = [(i.name, i.type, i.shape) for i in session.get_inputs()]
        assert (given, kind, shape[1]) == ("log_mel", "tensor(float)", 128)
        assert not {type(shape[0]), type(shape[2])} & {int}
        logits = session.run(["logits"], {"log_mel": log_mel[None]})[0]
        np.testing.assert_allclose(logits[0], golden, atol=off)


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_there_stays(tiny, tmp_path, kind):
    path = tmp_path / "served"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError, match="served exists already"):
        write_repository([tiny], path)
    assert sorted(os.listdir(tmp_path)) == before


def test_nothing_is_left_of_half_a_repository(tiny, tmp_path, monkeypatch):
    def fails(bundle, precision):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(triton_repository, "config", fails)
    with pytest.raises(UsageError, match=r"cannot write .*served: No space left on device"):
        write_repository([tiny], tmp_path / "in" / "served")
    assert os.listdir(tmp_path / "in") == []


def test_a_folder_in_a_file(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write "):
        write_repository([tiny], tmp_path / "file" / "served")


def test_a_network_that_gives_no_logits(tmp_path):
    import onnx

    model = onnx.load_model_from_string(TINY_ONNX.read_bytes())
    model.graph.node[-1].output[0] = model.graph.output[0].name = "answer"
    bundle = write_tiny(tmp_path / "b", onnx=model.SerializeToString())
    with pytest.raises(ModelError, match=r"b: model\.onnx: its outputs are answer, not logits"):
        write_repository([bundle], tmp_path / "r")
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize("name", ["../tiny", "a/b", "", ".", "ti ny", 'a"', "tïny"])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match="is not a valid name"):
        write_repository([write_tiny(tmp_path / "b", name)], tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("date", "version"),
    [
        ("2026-11-24", 20261124),
        ("2026-11-24T10:00:00", 20261124),
        ("yesterday", 1),
        ("0000-00-00", 1),
        (None, 1),
        (3, 1),
    ],
)
def test_the_version_is_the_day_of_its_training(tmp_path, date, version):
    bundle = write_tiny(tmp_path / "b", provenance={} if date is None else {"date": date})
    assert version_of(bundle) == version


def test_command_line(tiny, tmp_path, capsys):
    pytest.importorskip("torch", reason="the export needs torch")
    from instrec_live.models.export.__main__ import main

    path = tmp_path / "served"
    assert main(["--triton", str(path), str(tiny.path)]) == 0
    assert capsys.readouterr().err.startswith(f"{path}: tiny, tiny_trt; ")
    assert main(["--triton", str(path), str(tiny.path)]) == 2
    assert capsys.readouterr().err == f"error: {path} exists already — give another folder, or move this one away\n"
    for words in (["--triton", "a", "--tensorrt"], ["a.pt", "--to", "b", "--triton", "c"], ["--triton"]):
        with pytest.raises(SystemExit):
            main(words)
