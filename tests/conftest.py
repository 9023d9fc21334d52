"""Fixtures that several test files share."""

import logging
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import settings
from warm_python import WarmPython

# A busy machine is no defect, so no example has a deadline. `pytest --hypothesis-profile=nightly` tries ten times as
# many; tests whose examples are slow take a share of the profile's number.
settings.register_profile("ci", deadline=None, max_examples=100)
settings.register_profile("nightly", deadline=None, max_examples=1000)
settings.load_profile("ci")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Some more processes than processors: many tests wait for a program, a screen or the speed of the music."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")  # xdist's own
    return int(asked) if asked.isdecimal() else processors + min(4, max(1, processors // 2))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests find out about engines is not remembered in the user's cache; no settings are the user's own."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
            environment.setenv(name, folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_as_usual() -> None:
    """A shell without job control ignores SIGINT and SIGQUIT for what it starts in the background, and so would every
    program that these tests start.
    """
    usual = {"SIGINT": signal.default_int_handler, "SIGQUIT": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _plain_engine() -> Iterator[None]:
    """Which engine is fastest depends on the hour, and some calculate with fewer digits: ONNX Runtime, unless asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "instrec_live.models.tagger.choose_engine", lambda bundles, threads: SimpleNamespace(engine="onnx")
        )
        yield


@pytest.fixture(scope="session")
def warm_python(_own_cache: None) -> Iterator[WarmPython]:
    """Runs commands of the training."""
    python = WarmPython()
    yield python
    python.stop()


@pytest.fixture(autouse=True)
def _children_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program run in this process by an earlier test has told its children not to import from where they are."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)


@pytest.fixture(autouse=True)
def _no_log_of_before() -> None:
    """What a test before this one has done to the program's logger, as a run of the program does, is undone."""
    log = logging.getLogger("instrec_live")
    log.propagate = True
    log.setLevel(logging.NOTSET)
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
