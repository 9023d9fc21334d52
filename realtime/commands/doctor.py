"""--doctor: whether the program works on this machine, and why not."""

import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from time import process_time

import numpy as np

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.catalog import load_model, networks_of
from instrec_live.models.engine_selection import EngineChoice, choose_engine, explain_choice
from instrec_live.models.engines.base import verify_golden
from instrec_live.models.engines.registry import available, on_gpu, open_engine, parse_engine
from instrec_live.models.engines.tensorrt_cache import EngineCache, Kept
from instrec_live.models.errors import InstrecError
from instrec_live.models.learned import LearnedBundle
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.config.settings import Settings
from instrec_live.realtime.errors import ExitCode, printable
from instrec_live.realtime.logs import configure_logging
from instrec_live.realtime.stream.analysis import Analysis, hop_samples
from instrec_live.realtime.stream.smoothing import Smoothing

# --engines: the TensorRT engines that were built on this machine and kept, listed or removed.


def show(settings: Settings) -> int:
    """List the engines on stdout, as JSON if asked for, or remove them; returns 0.

    Raises:
        ModelError: their folder, or a file in it, is not the user's alone.
    """
    configure_logging(settings, screen=False)
    cache = EngineCache.of_user()
    if settings.engines == "clear":
        count = cache.clear()
        print(f"{count or 'no'} engine{'' if count == 1 else 's'} removed from {cache.folder}", file=sys.stderr)
        return ExitCode.OK
    kept = cache.kept()
    if settings.json:
        print(json.dumps([_record(one) for one in kept], indent=2, ensure_ascii=False))
        return ExitCode.OK
    for one in kept:
        print(printable(_engine_line(one)))
    total = f"{len(kept)}, {sum(one.nbytes for one in kept) / 1e6:.1f} MB," if kept else "none"
    print(f"engines kept: {total} in {cache.folder}", file=sys.stderr)
    return ExitCode.OK


def _engine_line(kept: Kept) -> str:
    size = f"{kept.nbytes / 1e6:.1f} MB"
    if kept.header is None:
        return f"{kept.path.name}: damaged ({kept.damage}), {size}"
    key = kept.header.key
    return f"{key.model}: {key.precision}, {key.gpu}, {key.library}, {size}, {kept.header.built[:10]}"


def _record(kept: Kept) -> dict[str, object]:
    head: dict[str, object] = {"path": str(kept.path), "bytes": kept.nbytes}
    if kept.header is None:
        return head | {"damage": kept.damage}
    return head | asdict(kept.header.key) | {"built": kept.header.built}


_PACKAGES = ("numpy", "scipy", "soundfile", "sounddevice", "soxr", "onnxruntime", "textual")

_MUST_READ = ("WAV", "FLAC", "OGG", "MP3", "AIFF")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` is None for mere information."""

    what: str
    ok: bool | None
    detail: str
    needed: bool = False  # without it the program cannot do its main job


def examine(settings: Settings) -> int:
    """Print the report, as JSON if asked for; returns 0 if the program can tag sound here, else 5.

    Raises:
        UsageError: the log file cannot be written.
    """
    configure_logging(settings, screen=False)
    findings = [
        Finding("instrec-live", None, version("instrec-live")),
        Finding("system", None, f"Python {platform.python_version()}, {platform.platform()}"),
        Finding("packages", None, ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
    ]
    names = settings.models or DEFAULT_MODELS
    choice = _choice(names, settings.threads)
    findings += _guarded("engines", lambda: _engines(choice, settings.engine))
    engine = choice.engine if choice and settings.engine == "auto" else settings.engine
    models = [
        finding
        for name in names
        for finding in _guarded(f"model {name}", lambda name=name: [_model(name, engine)])  # type: ignore[misc]
    ]
    findings += models
    if all(finding.ok for finding in models):
        findings += _guarded("inference", lambda: _inference(settings, engine))
    findings += _guarded("sound files", _formats) + _guarded("microphones", _microphones, needed=False)
    findings += _guarded("system audio", _system_audio, needed=False)
    able = all(finding.ok is not False for finding in findings if finding.needed)
    no_microphone = any(finding.ok is False for finding in findings if finding.what == "microphones")
    verdict = "ready" if able else "not able to run"
    if able and no_microphone:
        verdict = "ready for files and pipes; no microphone can be used"
    if settings.json:
        report = {"verdict": verdict, "able": able, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        width = max(len(finding.what) for finding in findings)
        print("\n".join([*(_line(finding, width) for finding in findings), "", f"verdict: {verdict}"]))
    return ExitCode.OK if able else ExitCode.MODEL


def _line(finding: Finding, width: int) -> str:
    sign = {True: "ok", False: "NO" if finding.needed else "no", None: ""}[finding.ok]
    return f"{sign:2s}  {finding.what:{width}s}  {printable(finding.detail)}"


def _guarded(what: str, find: Callable[[], list[Finding]], needed: bool = True) -> list[Finding]:
    """A check that cannot be made is a finding too."""
    try:
        return find()
    except InstrecError as error:
        return [Finding(what, False, str(error), needed)]
    except Exception as error:  # a broken library may raise anything; the report continues
        return [Finding(what, False, f"{type(error).__name__}: {error}", needed)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING"


def _choice(names: Sequence[str], threads: int) -> EngineChoice | None:
    """The engine that auto chooses for these models; None if one of them cannot be read, which is reported later."""
    try:
        return choose_engine(networks_of(names), threads)
    except InstrecError:
        return None


def _engines(choice: EngineChoice | None, asked: str) -> list[Finding]:
    found = available(asked)
    any_usable = any(usable for _, usable, _ in found)
    findings = [
        Finding(f"engine {name}", usable, reason + _measured(name, choice), needed=not any_usable)
        for name, usable, reason in found
    ] or [Finding("engines", False, "there is none", needed=True)]
    return [*findings, Finding("engine auto", None, explain_choice(choice))] if choice and any_usable else findings


def _measured(engine: str, choice: EngineChoice | None) -> str:
    """The networks' cost on it for a second of sound, or why it was not measured."""
    if choice is None:
        return ""
    if engine in choice.costs:
        clock = "of the clock" if on_gpu(engine) else "of CPU"
        return f": {1000 * choice.costs[engine]:.0f} ms {clock} for a second of sound"
    return f", but auto leaves it out: {choice.left_out[engine]}" if engine in choice.left_out else ""


def _model(name: str, engine: str) -> Finding:
    """Verify one bundle's files, and what its network answers to its own example."""
    model = load_model(name)
    if isinstance(model, LearnedBundle):
        networks = " and ".join(bundle.name for bundle in model.base_bundles())
        detail = f"{len(model.classes)} learned classes, computed from the embeddings of {networks}"
        return Finding(f"model {model.name}", True, f"{detail}; sha256 {model.sha256[:12]}…", needed=True)
    bundle = model
    precision = parse_engine(engine)[1] if engine != "auto" else "fp32"
    difference = verify_golden(open_engine(bundle, engine), bundle, precision)
    detail = f"{len(bundle.onnx) / 1e6:.1f} MB, sha256 {bundle.sha256[:12]}… and the golden logits reproduced"
    return Finding(f"model {bundle.name}", True, f"{detail} ({difference:.0e} off)", needed=True)


def _inference(settings: Settings, engine: str) -> list[Finding]:
    """Times of the networks themselves, and what listening live costs: CPU time, so that load does not matter."""
    tagger = Tagger.load(settings.models or DEFAULT_MODELS, engine, settings.threads, settings.weights)
    hop = hop_samples(settings.hop)
    before, measured = (max(1, round(seconds * SAMPLE_RATE / hop)) for seconds in (WINDOW_SECONDS, 4.0))
    noise = np.random.default_rng(0).normal(0, 0.1, (before + measured, hop)).astype(np.float32)
    analysis = Analysis(tagger, hop, tagger.thresholds, settings.gate, Smoothing())
    for piece in noise[:before]:  # the first run of a length is slow
        analysis.process(piece)
    began = process_time()
    for piece in noise[before:]:
        analysis.process(piece)
    share = (process_time() - began) / (measured * settings.hop)
    return [
        Finding(
            "inference",
            bool(share < 1.0),
            f"{1000 * share * settings.hop:.0f} ms of CPU an update on {tagger.engine_name}: {share:.0%} of one core "
            f"at a hop of {settings.hop:g} s",
        )
    ]


def _formats() -> list[Finding]:
    import soundfile

    there = soundfile.available_formats()
    missing = [name for name in _MUST_READ if name not in there]
    detail = f"libsndfile {soundfile.__libsndfile_version__} reads {', '.join(n for n in _MUST_READ if n in there)}"
    detail += f" and {len(there) - len(_MUST_READ) + len(missing)} more"
    return [Finding("sound files", not missing, detail + (f", but not {', '.join(missing)}" if missing else ""))]


def _microphones() -> list[Finding]:
    from instrec_live.realtime.audio.devices import list_input_devices, sounddevice

    library = sounddevice().get_portaudio_version()[1].split(",")[0]
    devices = list_input_devices()
    if not devices:
        return [Finding("microphones", False, f"{library}: no microphone is connected; --file and --stdin work")]
    return [
        Finding(
            "microphone",
            True,
            f"{device.label}, {device.channels} ch, {device.rate} Hz, {device.host_api}"
            + (" (default)" if device.is_default else ""),
        )
        for device in devices
    ]


def _system_audio() -> list[Finding]:
    from instrec_live.realtime.audio.devices import list_input_devices
    from instrec_live.realtime.audio.system_audio import default_monitor, how_to_get_one

    if monitor := default_monitor():
        return [Finding("system audio", True, f"--device system records {monitor.label} through {monitor.server}")]
    found = [device.label for device in list_input_devices() if device.is_loopback]
    if found:
        return [Finding("system audio", True, f"--device system records what the computer plays: {', '.join(found)}")]
    return [Finding("system audio", None, f"no device here records what the computer plays: {how_to_get_one()}")]
