"""The table is the same with Ray as without, even if processes die; one line if there is no cluster.

On a cluster of two nodes on this machine, each with a processor.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny
from waiting import wait_for

ray = pytest.importorskip("ray")

from cluster import cluster, once_each, sorted_lines

from instrec_live.models import Tagger
from instrec_live.realtime.commands.tag.cluster import Cluster
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.tag.find import find
from instrec_live.realtime.commands.tag.job import Job
from instrec_live.realtime.commands.tag.pool import cores
from instrec_live.realtime.errors import ModelError, UsageError
from instrec_live.realtime.stream.analysis import AnalysisConfig

TAG = [sys.executable, "-m", "instrec_live.realtime", "tag", "--models", "./one", "--engine", "onnx"]
FILES = 24

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a cluster on one machine needs POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an archive with a file that is no sound, and the table that one process makes of it."""
    here = tmp_path_factory.mktemp("cluster")
    write_tiny(here / "one", "one")
    (here / "archive" / "deep").mkdir(parents=True)
    for number in range(FILES - 1):
        name = f"deep/{number}.wav" if number % 3 else f"{number} ü.flac"
        soundfile.write(here / "archive" / name, music(20, 32_000, seed=number), 32_000)
    (here / "archive" / "text.wav").write_text("no sound")
    assert run(here, "archive", "-q", "-o", "one.csv", "--jobs", "1").returncode == 4
    return here


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a cluster, and what kills one of its two nodes."""
    with cluster() as (address, kill):
        yield address, kill


def run(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TAG, *argv], cwd=place, capture_output=True, text=True, timeout=200, check=False)


def test_a_node_that_is_killed_midway_loses_nothing(place: Path, nodes: tuple[str, Callable[[], None]]) -> None:
    address, kill = nodes
    table = place / "killed.csv"
    process = subprocess.Popen(
        [*TAG, "archive", "-o", "killed.csv", "--ray", address],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: process.poll() is not None or (table.exists() and table.read_bytes().count(b"\n") >= 3 * 20))
    assert process.poll() is None, process.stderr and process.stderr.read()
    kill()
    assert table.read_bytes().count(b"\n") < (FILES - 1) * 20  # in the middle, that is
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stdout) == (4, ""), stderr
    assert "Traceback" not in stderr
    assert "raylet" not in stderr
    assert "text.wav is not a sound file" in stderr
    assert f"{FILES} files, 1 with errors" in stderr
    assert once_each(table)
    assert table.read_bytes() == (place / "one.csv").read_bytes()
    assert sorted_lines(table) == sorted_lines(place / "one.csv")
    again = run(place, "archive", "-o", "killed.csv")  # without Ray; what had an error is tried again
    assert again.returncode == 4, again.stderr
    assert f"{FILES - 1} of {FILES} files are done already" in again.stderr
    assert table.read_bytes() == (place / "one.csv").read_bytes()


class Elsewhere(Job):
    """A job that cannot be unpacked where the program is not installed."""

    def __reduce__(self) -> tuple[object, ...]:
        return importlib.import_module, ("no_such_program",)


def test_machines_that_lack_the_program_or_the_files_are_one_line(
    place: Path, nodes: tuple[str, Callable[[], None]]
) -> None:
    with pytest.raises(
        ModelError, match=r"processes that load the networks died: .*\binstrec-live installed there\?"
    ) as told:
        Cluster(Elsewhere(AnalysisConfig(models=("./one",))), nodes[0], 1, place)
    assert "\n" not in str(told.value)
    with pytest.raises(ModelError, match="nowhere is not there: No such file or directory"):
        Cluster(Job(AnalysisConfig(("./one",), "onnx")), nodes[0], 1, place / "nowhere")
    with pytest.raises(ModelError, match="no such model folder"):
        Cluster(Job(AnalysisConfig(("./two",), "onnx")), nodes[0], 1, place)
    with pytest.raises(UsageError, match="--threads 99: the largest machine of the cluster has 1 processors"):
        Cluster(Job(AnalysisConfig(("./one",), "onnx", threads=99)), nodes[0], 1, place)


def test_a_local_ray_has_processors_for_the_threads(place: Path) -> None:
    done = run(place, "archive/text.wav", "archive/deep/1.wav", "-q", "--ray", "--threads", str(cores() + 1))
    assert done.returncode == 4, done.stderr
    assert done.stdout.count("archive/deep/1.wav") == 20


def test_a_local_ray_prints_the_same_and_ctrl_c_ends_it(place: Path) -> None:
    process = subprocess.Popen(
        [*TAG, "archive", "--ray", "--jobs", "2"],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(1 + 20)]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.stderr is not None
    rest, stderr = process.stdout.read(), process.stderr.read()  # communicate() would miss what readline() read ahead
    assert process.wait(120) == 130, stderr
    assert "Traceback" not in stderr
    whole = (place / "one.csv").read_text(encoding="utf-8")
    assert whole.startswith("".join(lines))
    wanted = set(whole.splitlines())
    assert set(rest.splitlines()) <= wanted


def test_no_cluster_is_one_line(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = run(place, "archive", "--ray", f"127.0.0.1:{port}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"no Ray cluster answers at 127.0.0.1:{port}: Connection refused" in done.stderr


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
def test_a_port_where_no_ray_listens_is_reported_at_once(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(
            UsageError, match=f"no Ray cluster answers at {address}: the program at that address is not Ray"
        ):
            Cluster(Job(AnalysisConfig(("./one",))), address, 1, None)


@pytest.mark.parametrize("address", ["archive", "ray://host:10001", "http://x", "host:port", "-"])
def test_an_invalid_address_is_one_line(address: str) -> None:
    with pytest.raises(UsageError, match="not an address of a cluster"):
        parse_tag(["--ray", address, "-o", "r.csv"])


def test_a_cluster_has_its_own_number_of_processes() -> None:
    assert (parse_tag(["x", "--ray"]).ray, parse_tag(["x", "--ray"]).jobs) == ("", None)
    assert (parse_tag(["x", "--ray", "h:1"]).ray, parse_tag(["x", "--ray", "h:1", "-j", "3"]).jobs) == ("h:1", 3)
    assert parse_tag(["x"]).ray is None


class Moody(Job):
    """A job whose results would be others in every process."""

    def facts(self, tagger: Tagger) -> dict[str, object]:
        return super().facts(tagger) | {"mood": os.getpid()}


def test_a_process_with_other_results_is_left_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(place)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    items = find([Path("archive")]).items
    with closing(Cluster(Moody(AnalysisConfig(models=("./one",), engine="onnx")), "", 2, place)) as cluster:
        records = list(cluster.records(items))
    assert sorted(record.name for record in records) == sorted(item.name for item in items)
    assert [record.name for record in records if record.error] == ["text.wav"]
    assert "is skipped: its mood would be different" in caplog.text
