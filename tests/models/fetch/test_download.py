"""Downloads: resumed, verified, bounded; whatever a server does, the name stands for the published file or for none."""

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer
from full_disk import full_disk
from waiting import FOREVER, wait_for

from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.fetch import download
from instrec_live.models.fetch.download import format_size, progress_bar

CONTENT = np.random.default_rng(0).bytes(3 << 20)
OTHER = np.random.default_rng(1).bytes(3 << 20)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    root = tmp_path / "served"
    root.mkdir()
    (root / "file.bin").write_bytes(CONTENT)
    with FileServer(root) as running:
        yield running


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "here" / "file.bin"


def fetch(server: FileServer, to: Path, **changes) -> Path:
    options = {"checksum": sha256(CONTENT), "limit": 4 << 20} | changes
    return download.download(f"{server.url}/file.bin", to, **options)


def begun(to: Path, content: bytes, tag: str | None = None) -> None:
    """As a run leaves it that was killed."""
    to.parent.mkdir()
    to.with_name("file.bin.partial").write_bytes(content)
    if tag is not None:
        to.with_name("file.bin.partial.tag").write_text(tag)


def has_no_leftovers(path: Path) -> bool:
    return [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("checksum", [sha256(CONTENT), f"md5:{hashlib.md5(CONTENT).hexdigest().upper()}"])
def test_a_file_is_fetched_once(server: FileServer, to: Path, checksum: str) -> None:
    told = []
    assert fetch(server, to, checksum=checksum, size=len(CONTENT), progress=lambda *at: told.append(at)) == to
    assert to.read_bytes() == CONTENT
    assert has_no_leftovers(to)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(server.requests) == 1
    fetch(server, to, checksum=checksum)
    assert len(server.requests) == 1


def test_a_damaged_file_is_fetched_again(server: FileServer, to: Path) -> None:
    to.parent.mkdir()
    to.write_bytes(b"damaged")
    assert fetch(server, to).read_bytes() == CONTENT


def test_a_dropped_connection_resumes_where_it_broke(server: FileServer, to: Path) -> None:
    server.drop_after = 1_000_000
    assert fetch(server, to).read_bytes() == CONTENT
    (_, first), (_, second) = server.requests
    assert "Range" not in first
    assert second["Range"] == "bytes=1000000-"
    assert second["If-Range"].startswith('"')


def test_a_killed_run_continues(server: FileServer, to: Path) -> None:
    server.pause = 0.05
    script = (
        "import sys; from pathlib import Path; from instrec_live.models.fetch.download import download\n"
        "download(sys.argv[1], Path(sys.argv[2]), checksum=sys.argv[3])"
    )
    process = subprocess.Popen([sys.executable, "-c", script, f"{server.url}/file.bin", to, sha256(CONTENT)])
    partial = to.with_name("file.bin.partial")
    wait_for(lambda: partial.exists() and partial.stat().st_size)
    process.kill()
    process.wait()
    server.pause = 0.0
    kept = partial.stat().st_size
    assert 0 < kept < len(CONTENT)
    assert not to.exists()
    told = []
    assert fetch(server, to, progress=lambda *at: told.append(at)).read_bytes() == CONTENT
    assert server.requests[-1][1]["Range"] == f"bytes={kept}-"
    assert told[0][0] > kept
    assert has_no_leftovers(to)


def test_a_server_without_ranges_starts_again(server: FileServer, to: Path) -> None:
    server.ranges = False
    server.drop_after = 1_000_000
    assert fetch(server, to).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("heed", [True, False])
def test_a_file_that_changed_starts_again(server: FileServer, to: Path, heed: bool) -> None:
    server.heed_if_range = heed
    begun(to, OTHER[:1_000_000], '"another version"')
    assert fetch(server, to).read_bytes() == CONTENT
    assert "bytes=1000000-" in [headers.get("Range") for _, headers in server.requests]


def test_a_beginning_of_another_file_is_found_out(server: FileServer, to: Path) -> None:
    begun(to, OTHER[:1_000_000])  # nothing says of which version
    assert fetch(server, to).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"more", OTHER], ids=["whole", "too long", "another"])
def test_a_partial_file_that_is_whole_or_too_long(server: FileServer, to: Path, content: bytes) -> None:
    begun(to, content)
    assert fetch(server, to).read_bytes() == CONTENT


def test_a_truncated_body_is_detected_and_kept(server: FileServer, to: Path) -> None:
    server.cut_at = 2_000_000
    with pytest.raises(InputFileError, match=r"was interrupted; 2 MB are kept"):
        fetch(server, to)
    assert not to.exists()
    assert to.with_name("file.bin.partial").stat().st_size == 2_000_000
    # The first attempt brought a mebibyte, so it counts as a new beginning; then five bring nothing.
    assert len(server.requests) == 5
    server.cut_at = None
    assert fetch(server, to).read_bytes() == CONTENT


def test_a_truncated_body_of_unknown_length_is_detected(server: FileServer, to: Path) -> None:
    server.announce, server.cut_at = False, 2_000_000
    with pytest.raises(InputFileError, match="was published"):
        fetch(server, to)
    with pytest.raises(InputFileError, match="was interrupted"):
        fetch(server, to, size=len(CONTENT))
    assert not to.exists()


def test_a_server_that_sends_too_much_is_cut_off(server: FileServer, to: Path) -> None:
    server.announce, server.extra = False, bytes(20 << 20)
    for limits in ({"limit": 4 << 20}, {"size": len(CONTENT)}):
        told = []
        with pytest.raises(InputFileError, match="sends more than"):
            fetch(server, to, progress=lambda *at: told.append(at[0]), **limits)  # noqa: B023
        assert told[-1] <= (4 << 20) + 1
        assert list(to.parent.iterdir()) == []


def test_what_is_sent_beyond_what_was_announced_is_not_read(server: FileServer, to: Path) -> None:
    server.extra = b"and more"
    assert fetch(server, to).read_bytes() == CONTENT


@pytest.mark.parametrize("limits", [{"limit": 1_000_000}, {"size": 1_000_000}])
def test_another_size_than_published_is_not_fetched(server: FileServer, to: Path, limits: dict[str, int]) -> None:
    with pytest.raises(InputFileError, match=r"has 3,145,728 bytes; published: .*1,000,000"):
        fetch(server, to, **limits)
    assert list(to.parent.iterdir()) == []


def test_a_wrong_checksum_says_expected_and_got_and_leaves_nothing(server: FileServer, to: Path) -> None:
    wrong = "md5:" + "0" * 32
    with pytest.raises(InputFileError, match=f"{hashlib.md5(CONTENT).hexdigest()}, but {'0' * 32}"):
        fetch(server, to, checksum=wrong)
    assert list(to.parent.iterdir()) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: FileServer, to: Path) -> None:
    server.busy = 3
    assert fetch(server, to).read_bytes() == CONTENT
    assert len(server.requests) == 4
    with pytest.raises(InputFileError, match="404"):
        download.download(f"{server.url}/none.bin", to.with_name("none.bin"), checksum=sha256(CONTENT))
    assert len(server.requests) == 5
    server.busy = 100
    with pytest.raises(InputFileError, match="503"):
        fetch(server, to.with_name("again.bin"))
    assert len(server.requests) == 10
    assert has_no_leftovers(to)


def test_no_network_is_reported_without_waiting(to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileServer(to.parent) as gone:
        url = gone.url
    monkeypatch.setattr(download, "TIMEOUT", FOREVER)
    with pytest.raises(InputFileError, match=r"refused.*network"):
        download.download(f"{url}/file.bin", to, checksum=sha256(CONTENT))
    assert list(to.parent.iterdir()) == []


def test_a_silent_server_times_out(server: FileServer, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    server.pause = 1.0
    with pytest.raises(InputFileError, match="was interrupted"):
        fetch(server, to)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "no address", "", "/etc/hostname"])
def test_only_some_addresses_are_fetched(to: Path, url: str) -> None:
    with pytest.raises(UsageError, match="only http"):
        download.download(url, to, checksum=sha256(CONTENT))


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:port/x", "http://127.0.0.1/a b\nc"])
def test_an_address_that_is_none(to: Path, url: str) -> None:
    with pytest.raises(InputFileError):
        download.download(url, to, checksum=sha256(CONTENT))


def test_a_file_of_this_machine(server: FileServer, to: Path) -> None:
    begun(to, CONTENT[:1_000])
    download.download((server.root / "file.bin").as_uri(), to, checksum=sha256(CONTENT))
    assert to.read_bytes() == CONTENT
    with pytest.raises(InputFileError, match="nonesuch"):
        download.download((server.root / "nonesuch").as_uri(), to.with_name("other"), checksum=sha256(CONTENT))


def test_the_disk_is_asked_first(server: FileServer, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage(0, 0, 7_000_000))
    with pytest.raises(InstrecError, match=r"9\.44 MB needed, 7 MB free") as caught:
        fetch(server, to, space=3.0)
    assert caught.value.exit_code == 1
    assert list(to.parent.iterdir()) == []
    begun_at = 2_500_000  # what is there need not be had again
    to.with_name("file.bin.partial").write_bytes(CONTENT[:begun_at])
    assert fetch(server, to, space=3.0).read_bytes() == CONTENT


def test_a_disk_that_fills_up(server: FileServer, to: Path) -> None:
    to.parent.mkdir()
    partial = to.with_name("file.bin.partial")
    order = download._Order(f"{server.url}/file.bin", partial, None, None, 1.0, lambda *at: None)
    with full_disk(100_000), pytest.raises(InstrecError, match="File too large"):
        download._receive(order)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_is_not_written_through(server: FileServer, to: Path) -> None:
    to.parent.mkdir()
    precious = to.with_name("precious")
    precious.write_text("mine")
    to.with_name("file.bin.partial").symlink_to(precious)
    with pytest.raises(InstrecError, match="symbolic links"):
        fetch(server, to)
    assert precious.read_text() == "mine"


def test_two_at_once_fetch_once(server: FileServer, to: Path) -> None:
    server.pause = 0.005
    threads = [threading.Thread(target=fetch, args=(server, to)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert to.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert has_no_leftovers(to)


def test_nothing_heavy_is_needed() -> None:
    script = (
        "import sys; import instrec_live.models.fetch.download\n"
        "sys.exit(bool({'numpy', 'torch', 'tqdm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], env=os.environ, check=False).returncode == 0


def test_sizes_in_words() -> None:
    assert [format_size(size) for size in (0, 999, 2_600_000_000, 25_233_566_634, 341_546_630, 3.2e12)] == [
        "0 bytes",
        "999 bytes",
        "2.6 GB",
        "25.2 GB",
        "342 MB",
        "3200 GB",
    ]


def test_the_bar_shows_rate_and_time_left_of_what_is_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm", reason="the bar needs the [train] extra")
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("file.bin") as progress:
        for done in (600_000_000, 700_000_000, 800_000_000):
            time.sleep(0.11)
            progress(done, 1_000_000_000)
    shown = next(line for line in terminal.getvalue().split("\r") if "800M/1.00G" in line)
    seconds = re.search(r"<(\d\d:\d\d), +(\d+)MB/s", shown)
    assert seconds is not None, shown
    assert int(seconds[2]) <= 1000  # 100 MB in 0.11 s or more, not 700 MB


def test_no_terminal_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm", reason="the bar needs the [train] extra")
    with progress_bar("file.bin") as progress:
        progress(5, 10)
        progress(10, 10)
    assert capfd.readouterr().err == ""
