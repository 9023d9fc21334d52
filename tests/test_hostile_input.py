"""What benchmarks/fuzz.py and the reports of others have found, each as small as it can be."""

import io
import json
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from altered_bundle import edit, refused, replace_file
from played import a_head, an_update
from tiny_bundle import write_tiny

from instrec_live.models.bundle import Bundle, bundled
from instrec_live.models.catalog import bundle_folder
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.realtime.commands.report import run
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.watch import parse_watch
from instrec_live.realtime.config.settings import parse
from instrec_live.realtime.outputs import JsonLines, SummaryBuilder

RUN = [sys.executable, "-m", "instrec_live.realtime"]


def wav_that_hangs() -> bytes:
    """On this libsndfile 1.2.2 never comes back (its issue 1118): an item of INFO that ends before it begins."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8_000, 16_000, 2, 16)
    items = struct.pack("<4sI4s4sI8s", b"LIST", 12, b"INFO", b"junk", 2**32 - 12, b"abcdefgh")
    body = b"WAVE" + fmt + items + struct.pack("<4sI40x", b"data", 40)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_header_on_which_the_library_hangs_is_given_up_and_the_program_ends_in_order(tmp_path: Path) -> None:
    """It once said its line and then crashed: the library was unloaded under the thread that was still in it."""
    (tmp_path / "hang.wav").write_bytes(wav_that_hangs())
    done = subprocess.run(
        [*RUN, "--file", "hang.wav"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("instrec-live: error: hang.wav ")


def test_a_sample_dump_is_refused(tmp_path: Path) -> None:
    """Its decoder writes on stdout, among the data, and makes up what a false header claims."""
    soundfile.write(tmp_path / "a.sds", np.zeros(8_000), 8_000)
    content = bytearray((tmp_path / "a.sds").read_bytes())
    content[1_000:1_200] = bytes(200)
    (tmp_path / "a.wav").write_bytes(content)
    done = subprocess.run(
        [*RUN, "--file", "a.wav", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "a MIDI sample dump" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_onnx_runtime_error_in_an_unknown_encoding_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its Python part prints on stdout before it raises, unless told that there is nothing to fall back to."""
    onnx = write_tiny(tmp_path / "good").onnx.replace(b"ReduceMean", b"Reduce\xff\xfean")
    assert b"\xff\xfe" in onnx
    bundle = write_tiny(tmp_path / "tiny", onnx=onnx)
    with pytest.raises(ModelError, match=r"rejects model\.onnx") as caught:
        open_engine(bundle, "onnx")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["thresholds", "scale"])
def test_numbers_too_large_for_a_network_are_no_warning_of_numpy(tmp_path: Path, key: str) -> None:
    bundle = write_tiny(tmp_path / "tiny")
    edit(
        bundle, lambda manifest: (manifest if key in manifest else manifest["calibration"]).update({key: [1e308] * 20})
    )
    refused(bundle, "finite")


def test_openvino_comes_without_its_telemetry(tmp_path: Path) -> None:
    """Imported as it is, it puts an id into the home folder and calls Google Analytics."""
    pytest.importorskip("openvino_telemetry", reason="comes with the [openvino] extra")
    bundle = write_tiny(tmp_path / "tiny")
    (tmp_path / "home").mkdir()
    program = (
        "import sys\n"
        "heard = []\n"
        "def hook(event, arguments):\n"
        "    if event.startswith('socket.'): heard.append((event, arguments))\n"
        "sys.addaudithook(hook)\n"
        "from instrec_live.models.bundle import Bundle\n"
        "from instrec_live.models.engines.registry import open_engine\n"
        "print(open_engine(Bundle.load(sys.argv[1]), 'openvino').name)\n"
        "assert not heard, heard\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle.path)],
        env={"HOME": str(tmp_path / "home"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("openvino ")
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.parametrize("words", [["--record=--"], ["-o--"], ["--output=--"], ["--device=--"], ["--theme=--"]])
def test_two_dashes_are_no_value(words: list[str]) -> None:
    """Before Python 3.13, argparse hands on an empty list for them."""
    if sys.version_info >= (3, 13) and words[0] in ("--device=--", "--theme=--"):
        pytest.skip("it is a name like any other there")
    with pytest.raises(UsageError):
        parse(["--no-config", *words])


def test_names_behind_two_dashes_may_begin_with_one() -> None:
    paths = parse_tag(["--no-config", "a.wav", "--jobs", "2", "--", "-b.wav", "--hop", "--"]).paths
    assert paths == (Path("a.wav"), Path("-b.wav"), Path("--hop"), Path("--"))
    asked = parse_watch(["--no-config", "a.wav", "--", "-b.wav"])
    assert [each.name for each in asked.sources] == ["a.wav", "-b.wav"]


@pytest.mark.parametrize("words", [[""], ["a.wav", ""], ["--", ""], ["a.wav", "--output", ""]])
def test_an_empty_name_is_not_the_current_folder(words: list[str]) -> None:
    with pytest.raises(UsageError, match="must not be empty"):
        parse_tag(["--no-config", *words])


def test_two_dashes_in_a_settings_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('record = "--"\n')
    with pytest.raises(UsageError, match="record"):
        parse(["--config", str(tmp_path / "c.toml")])


LONG = "x" * 5_000


def test_a_name_that_is_too_long_is_one_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="is not an option"):
        parse(["--no-config", LONG])
    with pytest.raises(ModelError, match="no bundled model"):
        bundled(LONG)
    for name in (LONG, f"./{LONG}"):
        with pytest.raises(ModelError, match=r"no bundled model|no such model folder"):
            bundle_folder(name)
    with pytest.raises(ModelError, match="no such model folder"):
        Bundle.load(LONG)


def packed(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def test_a_golden_clip_that_would_unpack_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny")
    bomb = packed(log_mel=np.zeros((128, 100_000), np.float32), logits=np.zeros(20, np.float32))
    assert len(bomb) < 100_000
    replace_file(bundle, "golden.npz", bomb)
    refused(bundle, "golden.npz is too large")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (20,), \n",  # never closed
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000,), }\n",  # more than there is
        b"__import__('os').system('true')\n",
    ],
)
def test_an_array_whose_header_is_damaged(tmp_path: Path, header: bytes) -> None:
    bundle, out = write_tiny(tmp_path / "tiny"), io.BytesIO()
    with zipfile.ZipFile(out, "w") as golden:
        golden.writestr("log_mel.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(80))
        golden.writestr("logits.npy", bytes(80))
    replace_file(bundle, "golden.npz", out.getvalue())
    refused(bundle, "not a valid model bundle")


def a_run(path: Path, number: int, old: str, new: str) -> Path:
    """A run of three updates, in whose line `number` something is replaced."""
    tally = SummaryBuilder(0.5)
    with open(path, "w", encoding="utf-8") as file:
        sink = JsonLines(file, a_head())
        for at in range(3):
            update = an_update(0.5 * at, "piano")
            sink.write(update)
            tally.note(update)
        sink.close(tally.summary("end"))
    lines = path.read_text().splitlines()
    lines[number - 1] = re.sub(old, new, lines[number - 1], count=1)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"time": [0-9.]+', '"time": 1e308'),
        ('"time": [0-9.]+', '"time": -1'),
        ('"skipped": 0', '"skipped": Infinity'),
        ('"skipped": 0', '"skipped": 1e999'),
        ('"xruns": 0', '"xruns": "12"'),
        ('"bad_samples": 0', '"bad_samples": -1'),
        ('"piano": [0-9.]+', '"piano": 1e300'),
    ],
)
def test_numbers_of_a_run_that_cannot_be(tmp_path: Path, old: str, new: str) -> None:
    path = a_run(tmp_path / "a.jsonl", 3, old, new)
    with pytest.raises(InputFileError, match="line 3"):
        run(
            [
                str(path),
                "-q",
                *(word for kind in ("jsonl", "csv", "vtt") for word in ("-o", str(tmp_path / f"b.{kind}"))),
            ]
        )
    for line in (tmp_path / "b.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
def test_a_header_that_is_not_json_is_refused(tmp_path: Path, number: str) -> None:
    path = a_run(tmp_path / "a.jsonl", 1, '"gate_db": [-0-9.]+', f'"gate_db": {number}')
    assert number in path.read_text()
    with pytest.raises(InputFileError, match="not a run of instrec-live"):
        run([str(path), "-q", "-o", str(tmp_path / "b.jsonl")])
