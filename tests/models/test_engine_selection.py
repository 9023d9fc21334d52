"""Which engine is chosen, with engines whose speed is made up; and that what is remembered can never hurt."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import write_tiny

from instrec_live.models import engine_selection
from instrec_live.models.engine_selection import EngineChoice, choose_engine, explain_choice, fastest
from instrec_live.models.engines import registry
from instrec_live.models.engines.registry import available
from instrec_live.models.errors import ModelError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    file = tmp_path / "cache" / "probe.json"
    monkeypatch.setattr(engine_selection, "cache_file", lambda: file)
    return file


class FakeFile:
    """An engine's file; every run of its engine costs so many seconds by a clock that is made up."""

    def __init__(self, clock, costs, unavailable_reason=None, error=None, off=0.0):
        self.PRECISIONS = tuple(costs)
        self.costs, self.clock, self.reason, self.error, self.off = costs, clock, unavailable_reason, error, off
        self.opened = []

    def unavailable_reason(self, precision):
        return self.reason

    def open_engine(self, bundle, threads, precision):
        self.opened.append((bundle.name, threads, precision))
        if self.error:
            raise ModelError(self.error)
        file = self

        class Engine:
            name = f"fake {precision}"

            def logits(self, log_mel):
                file.clock[0] += file.costs[precision]
                return bundle.golden[1][None] + np.float32(file.off)

        return Engine()


@pytest.fixture
def fakes(monkeypatch):
    """fakes(plain=…, fast=…) puts engines of these names in the place of all others."""
    clock = [0.0]
    monkeypatch.setattr(engine_selection.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(engine_selection.time, "perf_counter", lambda: clock[0] / 10)

    def install(**files):
        made = {name: FakeFile(clock, **options) for name, options in files.items()}
        monkeypatch.setattr(registry, "_MODULES", dict.fromkeys(made, ""))
        monkeypatch.setattr(registry, "_module", made.__getitem__)
        return made

    return install


def test_the_fastest(tiny, fakes):
    made = fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01, "bf16": 0.005}})
    choice = choose_engine([tiny], 3)
    assert choice.engine == "fast:bf16"
    assert choice.costs == pytest.approx({"plain": 0.06, "fast": 0.03, "fast:bf16": 0.015})  # two short, one long
    assert not choice.cached
    assert made["fast"].opened == [("tiny", 3, "fp32"), ("tiny", 3, "bf16")]


def test_a_little_faster_is_not_enough():
    assert fastest({"onnx": 1.09, "openvino": 1.0}) == "onnx"
    assert fastest({"onnx": 1.11, "openvino": 1.0}) == "openvino"
    assert fastest({"onnx": 2.0, "openvino": 1.05, "tensorrt": 1.0}) == "openvino"
    assert fastest({}) is None


def test_the_only_one_is_not_measured(tiny, fakes, place):
    made = fakes(plain={"costs": {"fp32": 1.0}}, other={"costs": {"fp32": 1.0}, "unavailable_reason": "not installed"})
    choice = choose_engine([tiny])
    assert (choice.engine, choice.costs, made["plain"].opened) == ("plain", {}, [])
    assert "the only one usable" in explain_choice(choice)
    assert not place.exists()


def test_none_at_all(tiny, fakes):
    fakes(onnx={"costs": {"fp32": 1.0}, "unavailable_reason": "it cannot be imported"})
    assert choose_engine([tiny]).engine == "onnx"
    with pytest.raises(ModelError, match="engine onnx cannot be used: it cannot be imported"):
        registry.open_engine(tiny, choose_engine([tiny]).engine)


def test_a_measurement_is_cached(tiny, fakes, place):
    options = {"plain": {"costs": {"fp32": 0.02}}, "fast": {"costs": {"fp32": 0.01}}}
    fakes(**options)
    first = choose_engine([tiny])
    made = fakes(**options)
    again = choose_engine([tiny])
    assert (again.engine, again.costs, again.cached) == (first.engine, first.costs, True)
    assert made["fast"].opened == []
    assert f"measured earlier, cached in {place}" in explain_choice(again)
    choose_engine([tiny], 2)  # of other threads nothing was known
    assert made["fast"].opened
    assert len(json.loads(place.read_text())["entries"]) == 2


def test_other_networks_and_libraries_are_measured_again(tiny, fakes, tmp_path, monkeypatch):
    made = fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01}})
    choose_engine([tiny])
    other = write_tiny(tmp_path / "other", "other")
    assert choose_engine([other]).cached  # the same network under another name
    assert not choose_engine([tiny, other]).cached
    monkeypatch.setattr(engine_selection, "_version", lambda package: "99")
    assert not choose_engine([tiny]).cached
    assert len(made["plain"].opened) == 4


def test_one_that_fails_or_errs_is_left_out(tiny, fakes, caplog):
    fakes(
        plain={"costs": {"fp32": 1.0}},
        broken={"costs": {"fp32": 0.1}, "error": "refuses the network"},
        wrong={"costs": {"bf16": 0.1}, "off": 1.0},
    )
    with caplog.at_level("INFO"):
        choice = choose_engine([tiny])
    assert choice.engine == "plain"
    assert choice.left_out["broken"] == "refuses the network"
    assert "probabilities" in choice.left_out["wrong"]
    assert "engine broken is left out: refuses the network" in caplog.text


def test_if_all_fail_the_plainest_reports_why(tiny, fakes, place):
    fakes(plain={"costs": {"fp32": 1.0}, "error": "first"}, other={"costs": {"fp32": 1.0}, "error": "second"})
    choice = choose_engine([tiny])
    assert choice.engine == "plain"
    assert "plain: first; other: second" in explain_choice(choice)
    assert not place.exists()
    with pytest.raises(ModelError, match="first"):
        registry.open_engine(tiny, choose_engine([tiny]).engine)


def test_on_a_gpu_the_clock_counts(tiny, fakes):
    made = fakes(plain={"costs": {"fp32": 0.01}}, gpu={"costs": {"fp16": 0.02}})
    made["gpu"].ON_GPU = True
    assert choose_engine([tiny]).engine == "gpu"


def test_what_must_be_built_first_is_measured_once_it_is_built(tiny, fakes):
    made = fakes(plain={"costs": {"fp32": 0.02}}, slow_start={"costs": {"fp32": 0.01}})
    built = []
    made["slow_start"].is_built = lambda bundle, precision: bool(built)
    choice = choose_engine([tiny])
    assert (choice.engine, made["slow_start"].opened) == ("plain", [])
    assert choice.left_out["slow_start"].startswith("not built yet")
    assert choose_engine([tiny]).cached
    built.append(True)
    assert choose_engine([tiny]).engine == "slow_start"
    built.clear()  # as `--engines clear` does, or another GPU: nobody is to wait unasked until it is built again
    assert choose_engine([tiny]).engine == "plain"


def test_what_was_chosen_and_cannot_be_used_any_more(tiny, fakes):
    made = fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01}}, third={"costs": {"fp32": 0.03}})
    assert choose_engine([tiny]).engine == "fast"
    made["fast"].reason = "the library is broken"
    choice = choose_engine([tiny])
    assert (choice.engine, choice.cached) == ("plain", False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe not json",
        b"[]",
        b"null",
        b'{"entries": 3}',
        b'{"entries": [3, null, {}, {"facts": {}, "engine": "nonesuch"}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_cache_is_ignored(tiny, fakes, place, content):
    fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01}})
    place.parent.mkdir()
    place.write_bytes(content)
    assert choose_engine([tiny]).engine == "fast"
    assert choose_engine([tiny]).cached


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("engine", "plain:int4"),
        ("engine", None),
        ("costs", {"fast": "quick"}),
        ("costs", []),
        ("left_out", {"fast": 1}),
    ],
)
def test_a_damaged_entry_is_none(tiny, fakes, place, field, value):
    fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01}})
    choose_engine([tiny])
    content = json.loads(place.read_text())
    content["entries"][0][field] = value
    place.write_text(json.dumps(content))
    choice = choose_engine([tiny])
    assert (choice.engine, choice.cached) == ("fast", False)


def test_a_memory_that_cannot_be_written(tiny, fakes, place, caplog):
    fakes(plain={"costs": {"fp32": 0.02}}, fast={"costs": {"fp32": 0.01}})
    place.parent.write_text("a file where the folder should be")
    with caplog.at_level("INFO"):
        assert choose_engine([tiny]).engine == "fast"
    assert "cannot cache" in caplog.text


def test_the_memory_is_written_whole_and_does_not_grow(place):
    for threads in range(100):
        about = engine_selection.measurement_key(["0" * 64], threads)
        engine_selection.write_cache(about, {"engine": "onnx", "costs": {"onnx": 1.0}, "left_out": {}})
    assert len(json.loads(place.read_text())["entries"]) == 32
    assert os.listdir(place.parent) == ["probe.json"]
    assert stat.S_ISREG(place.stat().st_mode)
    assert engine_selection.read_cache(engine_selection.measurement_key(["0" * 64], 99))["engine"] == "onnx"
    assert engine_selection.read_cache(engine_selection.measurement_key(["0" * 64], 0)) is None


def test_explanations_are_a_line():
    for choice in (
        EngineChoice("onnx", {"onnx": 1.0, "openvino": 2.0}, {}),
        EngineChoice("onnx", {"onnx": 1.05, "openvino": 1.0}, {}, cached=True),
    ):
        line = explain_choice(choice)
        assert line.startswith("onnx: ")
        assert "\n" not in line
    assert "not much slower than openvino" in line


def test_real_engines(tiny):
    usable = [name for name, able, _ in available() if able]
    choice = choose_engine([tiny])
    assert choice.engine in usable
    assert list(choice.costs) == (usable if len(usable) > 1 else [])
    assert all(cost > 0 for cost in choice.costs.values())
    assert choose_engine([tiny]).engine == choice.engine


def test_what_is_remembered_needs_no_other_library(tiny, tmp_path):
    """A start that knows the answer loads only the engine it runs."""
    program = (
        "import sys\n"
        "from instrec_live.models.bundle import Bundle\n"
        "from instrec_live.models import engine_selection\n"
        "bundle = Bundle.load(sys.argv[1])\n"
        "found = {'engine': 'onnx', 'costs': {'onnx': 1.0, 'openvino': 2.0}, 'left_out': {}}\n"
        "engine_selection.write_cache(engine_selection.measurement_key([bundle.sha256], 1), found)\n"
        "assert engine_selection.choose_engine([bundle]).cached\n"
        "assert 'openvino' not in sys.modules\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program, tiny.path], check=True, env=environment)
