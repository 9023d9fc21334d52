"""Networks on a Triton server say what they say here, or one line tells what is wrong: on NVIDIA's own server where
there is one, and on a small one that speaks its protocol (triton_server.py says how)."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
from demo_sound import clip
from waiting import wait_for

pytest.importorskip("tritonclient.grpc", reason="the client of a Triton server: pip install 'instrec-live[triton]'")
pytest.importorskip("onnx", reason="a repository's networks in float16 need onnx")

from tiny_bundle import write_tiny
from triton_server import Protocol, Triton, free_port, repository_of, why_no_server, windows

from instrec_live import Stream
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import triton
from instrec_live.models.engines.base import PROBABILITY_TOLERANCE
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.engines.triton_repository import write_repository
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.realtime.config.settings import parse

SERVERS = {"protocol": Protocol, "triton": Triton}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return repository_of(tmp_path_factory.mktemp("triton"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return repository_of(tmp_path_factory.mktemp("alone"), ["passt"])


@pytest.fixture(scope="module", params=SERVERS)
def server(request, repository, tmp_path_factory):
    if request.param == "triton" and why_no_server():
        pytest.skip(why_no_server())
    with SERVERS[request.param](repository, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def protocol(repository, tmp_path_factory):
    with Protocol(repository, tmp_path_factory.mktemp("protocol")) as running:
        yield running


@pytest.fixture(scope="module")
def passt():
    return Bundle.load(bundled("passt"))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(triton, "_DEADLINE", 0.5)


def on(server, precision="fp32"):
    return f"triton:{precision}@{server.address}"


# The same answers


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_the_same_probabilities_as_here(server, name):
    bundle = Bundle.load(bundled(name))
    there, here = open_engine(bundle, on(server)), open_engine(bundle, "onnx")
    assert server.address in there.name
    for frames in (192, 960, 1000):
        log_mel = np.stack([bundle.golden[0][:, :frames], bundle.golden[0][:, -frames:]])
        mine, its = (sigmoid(bundle.calibration(engine.logits(log_mel)[:, :20])) for engine in (here, there))
        assert np.abs(mine - its).max() <= PROBABILITY_TOLERANCE["fp32"]


def test_a_stream_of_the_same_clip(server, tmp_path):
    """Here no patch is heard twice, there every window is computed in full: the updates are the same."""
    soundfile.write(tmp_path / "clip.wav", clip(6.0), 44_100)

    def heard(engine):
        with Stream(file=tmp_path / "clip.wav", pace="max", engine=engine) as stream:
            return np.array([list(update.probabilities) for update in stream])

    here, there = heard("onnx"), heard(on(server))
    assert here.shape == there.shape
    assert np.abs(here - there).max() <= PROBABILITY_TOLERANCE["fp32"]
    assert here.max() > 0.5


def test_float16(server, passt):
    log_mel = passt.golden[0][None]
    its = open_engine(passt, on(server, "fp16"))
    assert its.name.endswith(" fp16")
    mine = open_engine(passt, "onnx")
    here, there = (sigmoid(passt.calibration(engine.logits(log_mel)[:, :20])) for engine in (mine, its))
    difference = np.abs(here - there).max()
    assert 0 < difference <= PROBABILITY_TOLERANCE["fp16"]


def test_more_windows_than_go_at_once(server, passt):
    log_mel = windows(67, 96)
    np.testing.assert_allclose(
        open_engine(passt, on(server)).logits(log_mel), open_engine(passt, "onnx").logits(log_mel), atol=1e-4
    )


def test_one_thread_opens_it_and_others_use_it(server, passt):
    engine, answers = open_engine(passt, on(server)), {}
    log_mel = windows(6, 192)
    expected = open_engine(passt, "onnx").logits(log_mel)

    def ask(k):
        answers[k] = engine.logits(log_mel[k : k + 1])[0]

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([answers[k] for k in range(6)], expected, atol=1e-4)


def test_the_server_batches_windows_of_many_clients(server, passt):
    if not isinstance(server, Triton):
        pytest.skip("only NVIDIA's server batches")
    engines = [open_engine(passt, on(server)) for _ in range(4)]
    log_mel = windows(1, 192)
    began = threading.Barrier(4)

    def ask(engine):
        began.wait()
        for _ in range(5):
            engine.logits(log_mel)

    threads = [threading.Thread(target=ask, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import tritonclient.grpc

    told = tritonclient.grpc.InferenceServerClient(server.address).get_inference_statistics("passt")
    sizes = {batch.batch_size for batch in told.model_stats[0].batch_stats}
    assert max(sizes - {32}) > 1


# What goes wrong


def line_of(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_server_of_other_models(server, tmp_path):
    with pytest.raises(ModelError) as caught:
        open_engine(write_tiny(tmp_path / "tiny"), on(server))
    line = line_of(caught)
    assert f"at {server.address} has no model tiny ready" in line
    assert "cbam_cnn" in line
    assert "export --triton" in line


BUNDLED = str(Bundle.load(bundled("passt")).provenance["date"])[:10]


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({"date": BUNDLED}, "has another passt, of sha256 .*; here it is "),
        ({"date": "2027-01-02"}, f"has passt in version {BUNDLED.replace('-', '')}, not 20270102"),
        ({}, f"has passt in version {BUNDLED.replace('-', '')}, not 1"),
    ],
)
def test_another_network_than_the_one_here(server, tmp_path, provenance, words):
    with pytest.raises(ModelError, match=words) as caught:
        open_engine(write_tiny(tmp_path / "passt", "passt", provenance=provenance), on(server))
    line_of(caught)


@pytest.mark.parametrize("shape", [(1, 64, 200), (1, 128, 95), (1, 128, 1001), (128, 200)])
def test_a_wrong_input_is_one_line(server, passt, shape):
    with pytest.raises(ModelError, match="passt failed on an input of") as caught:
        open_engine(passt, on(server)).logits(np.zeros(shape, np.float32))
    line_of(caught)


def test_a_model_that_is_taken_away(alone, passt, tmp_path):
    shutil.copytree(alone, path := tmp_path / "served")
    with Protocol(path, tmp_path) as running:
        engine = open_engine(passt, on(running))
        shutil.rmtree(path / "passt")
        with pytest.raises(ModelError, match=r"the Triton server at .* rejects passt: Request for unknown") as caught:
            engine.logits(windows(1, 192))
    line_of(caught)


def test_no_server_is_one_line(passt):
    """Said at once."""
    port = free_port()
    with pytest.raises(ModelError, match=rf"answers at 127\.0\.0\.1:{port}: Connection refused — .* 8001") as caught:
        open_engine(passt, f"triton@127.0.0.1:{port}")
    line_of(caught)


@pytest.mark.parametrize(
    "address", ["localhost", "http://a:8001", "a:0", "a:70000", ":8001", "a b:1", "ä:x", "", "@:1"]
)
def test_an_invalid_address_is_refused(passt, address):
    with pytest.raises((UsageError, ModelError), match=r"not the address of a server|needs the address"):
        open_engine(passt, f"triton@{address}")


@pytest.mark.usefixtures("impatient")
def test_another_kind_of_server(passt, tmp_path):
    """As at the port of Triton's HTTP."""
    web = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", port := str(free_port())],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        with pytest.raises(ModelError, match=f"127.0.0.1:{port}") as caught:
            open_engine(passt, f"triton@127.0.0.1:{port}")
        line_of(caught)
    finally:
        web.terminate()
        web.wait()


def test_a_server_that_hangs_and_comes_back(server, passt, monkeypatch):
    engine = open_engine(passt, on(server))
    monkeypatch.setattr(triton, "_DEADLINE", 0.5)
    server.stop()
    try:
        with pytest.raises(ModelError, match=r"the Triton server at .* did not answer within 0\.5 s"):
            engine.logits(windows(1, 192))
    finally:
        server.go_on()
    monkeypatch.undo()
    assert engine.logits(windows(1, 192)).shape == (1, passt.classes)


def test_a_server_that_is_restarted_is_found_again(alone, passt, tmp_path):
    with Protocol(alone, tmp_path) as first:
        engine = open_engine(passt, on(first))
        first.kill()
        second = Protocol(alone, tmp_path, first.port)
        again = threading.Timer(0.5, second.__enter__)
        again.start()
        try:
            assert engine.logits(windows(1, 192)).shape == (1, passt.classes)
        finally:
            again.join()
            second.__exit__()


@contextmanager
def listening(server, folder, lines):
    """A run of the program that has printed so many lines, and the file that they are in."""
    soundfile.write(folder / "clip.wav", np.tile(clip(10.0), (6, 1)), 44_100)
    command = [sys.executable, "-m", "instrec_live.realtime.cli", "--file", folder / "clip.wav", "--json"]
    command += ["--no-config", "--models", "passt", "--engine", "triton", "--url", server.address]
    printed = folder / "printed.jsonl"
    with printed.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as run:
        try:
            wait_for(lambda: printed.read_text().count("\n") >= lines or run.poll() is not None)
            yield run, printed
        finally:
            run.kill()


def test_a_server_that_dies_midway_ends_the_run_in_one_line(alone, tmp_path):
    """What was heard until then is in the output, with its summary. NVIDIA's server, where it is there."""
    with (
        SERVERS["protocol" if why_no_server() else "triton"](alone, tmp_path) as running,
        listening(running, tmp_path, lines=4) as (run, printed),
    ):
        running.kill()
        said = run.communicate(timeout=60)[1]
    records = [json.loads(line) for line in printed.read_text().splitlines()]
    assert run.returncode == 5, said
    assert [record["type"] for record in (records[0], records[-1])] == ["header", "summary"]
    assert records[0]["engine"].endswith(f"at {running.address}")
    assert records[-1]["updates"] == len(records) - 2 >= 3
    errors = [line for line in said.splitlines() if "Triton" in line]
    assert len(errors) == 1, said
    assert f"no Triton server answers at {running.address}" in errors[0]
    assert "Traceback" not in said


def test_interrupted_while_it_waits(protocol, tmp_path):
    with listening(protocol, tmp_path, lines=2) as (run, printed):
        protocol.stop()
        try:
            run.send_signal(signal.SIGINT)
            said = run.communicate(timeout=120)[1]
        finally:
            protocol.go_on()
    assert run.returncode == 130, said
    assert json.loads(printed.read_text().splitlines()[-1])["type"] == "summary"


class Claimed(np.ndarray):
    claimed = (1, 20)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda logits: logits[:, :19], r"returned float32 \[1, 19\] as logits of passt"),
        (lambda logits: logits[:, :3].view(Claimed), "returned nothing readable as logits of passt"),
        (lambda logits: logits + 1, "differ from the golden ones"),
        (lambda logits: logits * np.nan, "differ from the golden ones"),
    ],
    ids=["classes", "bytes", "others", "nan"],
)
def test_answers_that_are_not_to_be_believed(protocol, passt, monkeypatch, answer, words):
    monkeypatch.setattr(protocol, "answer", answer)
    with pytest.raises(ModelError, match=words) as caught:
        open_engine(passt, on(protocol))
    line_of(caught)


def test_a_model_that_maps_something_else(alone, passt, tmp_path):
    path = tmp_path / "other"
    shutil.copytree(alone / "passt", path / "passt")
    config = path / "passt" / "config.pbtxt"
    config.write_text(config.read_text().replace('"log_mel" data_type: TYPE_FP32', '"sound" data_type: TYPE_FP16'))
    with Protocol(path, tmp_path) as running, pytest.raises(ModelError, match=r"passt maps \[\('sound', 'FP16'"):
        open_engine(passt, on(running))


def test_who_does_not_say_its_sha256(alone, passt, tmp_path):
    path = tmp_path / "other"
    shutil.copytree(alone / "passt", path / "passt")
    config = path / "passt" / "config.pbtxt"
    config.write_text(config.read_text().replace('key: "sha256"', 'key: "made_by"'))
    with Protocol(path, tmp_path) as running, pytest.raises(ModelError, match="that does not say its sha256"):
        open_engine(passt, on(running))


# How it is asked for


def test_auto_never_asks_a_server():
    from instrec_live.models.engines.registry import available

    found = {name: (usable, reason) for name, usable, reason in available()}
    for name in ("triton", "triton:fp16"):
        assert found[name] == (False, "it needs the address of a server: --url HOST:PORT")


def test_an_address_is_of_triton_alone(passt):
    with pytest.raises(UsageError, match="engine onnx runs on this machine, not at a:1"):
        open_engine(passt, "onnx@a:1")
    with pytest.raises(UsageError, match="engine triton has no precision 'bf16'"):
        open_engine(passt, "triton:bf16@a:1")
    with pytest.raises(ModelError, match="engine triton cannot be used: it needs the address of a server"):
        open_engine(passt, "triton")


def test_the_client_is_missing(passt, monkeypatch):
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(ModelError, match=r"is not installed: pip install 'instrec-live\[triton\]'"):
        open_engine(passt, "triton@a:1")


def test_doctor(protocol, capsys, monkeypatch):
    from instrec_live.realtime.cli import main
    from instrec_live.realtime.commands import doctor

    monkeypatch.setattr(doctor, "_choice", lambda *_: None)  # what auto would choose takes long to measure
    command = ["--doctor", "--no-config", "--engine", "triton", "--url", protocol.address, "--models", "passt"]
    main(command)
    said = capsys.readouterr()
    assert "the golden logits reproduced" in said.out + said.err
    assert f"ready, if the server at {protocol.address} is" in said.out + said.err


def test_a_whole_folder(protocol, tmp_path, capsys):
    from instrec_live.realtime.cli import main

    (tmp_path / "archive").mkdir()
    soundfile.write(tmp_path / "archive" / "a.wav", clip(3.0), 44_100)
    command = [
        "tag",
        tmp_path / "archive",
        "--no-config",
        "--jobs",
        "1",
        "--engine",
        "triton",
        "--url",
        protocol.address,
    ]
    assert main([str(word) for word in command]) == 0
    assert "a.wav" in capsys.readouterr().out


def test_a_repository_of_two_bundles_of_one_name(passt, tmp_path):
    with pytest.raises(ModelError, match="two of the models would be called passt"):
        write_repository([passt, passt], tmp_path / "r")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--engine", "triton"],
            "--engine triton needs a server's address — for example --engine triton --url 127.0.0.1:8001",
        ),
        (["--url", "a:8001"], "--url applies to a Triton server only — add --engine triton"),
        (["--url", "a:8001", "--engine", "onnx"], "--url applies to a Triton server only"),
        (["--engine", "triton", "--url", "a:1", "--benchmark"], "--benchmark measures this machine"),
    ],
)
def test_options_that_make_no_sense(words, said):
    with pytest.raises(UsageError) as caught:
        parse([*words, "--no-config"])
    assert str(caught.value).startswith(said)


def test_settings_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('engine = "triton:fp16"\nurl = "gpu.example:8001"\n')
    assert parse(["--config", str(file)]).engine == "triton:fp16@gpu.example:8001"
    assert parse(["--config", str(file), "--engine", "onnx"]).engine == "onnx"
    assert parse(["--config", str(file), "--url", "b:1"]).engine == "triton:fp16@b:1"
