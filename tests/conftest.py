"""Fixtures that several test files share."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import settings
from warm_python import WarmPython

# A busy machine is no defect.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests find out about engines is not remembered in the user's cache; no settings are the user's own."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
            environment.setenv(name, folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _plain_engine() -> Iterator[None]:
    """Which engine is fastest depends on the hour, and some calculate with fewer digits: ONNX Runtime, unless asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("instrec_live.models.tagger.choose", lambda bundles, threads: SimpleNamespace(engine="onnx"))
        yield


@pytest.fixture(scope="session")
def warm_python(_own_cache: None) -> Iterator[WarmPython]:
    """Runs commands of the training."""
    python = WarmPython()
    yield python
    python.stop()


@pytest.fixture(autouse=True)
def _no_log_of_before() -> None:
    """What a test before this one has done to the program's logger, as a run of the program does, is undone."""
    log = logging.getLogger("instrec_live")
    log.propagate = True
    log.setLevel(logging.NOTSET)
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
