"""--doctor: whether the program can do its job here, and what is in the way if not."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import process_time

import numpy as np

from instrec_live.models.bundle import BUNDLES, DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engines import available, open_engine, verify_golden
from instrec_live.models.errors import InstrecError
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.errors import ExitCode, printable
from instrec_live.realtime.settings import Settings

_PACKAGES = ("numpy", "scipy", "soundfile", "sounddevice", "soxr", "onnxruntime", "textual")
_MUST_READ = ("WAV", "FLAC", "OGG", "MP3", "AIFF")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` is None for what is neither good nor bad."""

    what: str
    ok: bool | None
    detail: str
    needed: bool = False  # without it the program cannot do its main job


def examine(settings: Settings) -> int:
    """Print the report, as JSON if asked for; returns 0 if the program can tag sound here, else 5."""
    findings = [
        Finding("instrec-live", None, version("instrec-live")),
        Finding("system", None, f"Python {platform.python_version()}, {platform.platform()}"),
        Finding("packages", None, ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
        *_guarded("engines", _engines),
    ]
    models = [
        finding
        for name in settings.models or DEFAULT_MODELS
        for finding in _guarded(f"model {name}", lambda name=name: [_model(name, settings.engine)])  # type: ignore[misc]
    ]
    findings += models
    if all(finding.ok for finding in models):
        findings += _guarded("inference", lambda: _inference(settings))
    findings += _guarded("sound files", _formats) + _guarded("microphones", _microphones, needed=False)
    able = all(finding.ok is not False for finding in findings if finding.needed)
    deaf = any(finding.ok is False for finding in findings if finding.what == "microphones")
    verdict = "ready" if able else "not able to run"
    if able and deaf:
        verdict = "ready for files and pipes; no microphone can be heard"
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
    except Exception as error:  # a broken library may raise anything; the report goes on
        return [Finding(what, False, f"{type(error).__name__}: {error}", needed)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING"


def _engines() -> list[Finding]:
    found = available()
    any_usable = any(usable for _, usable, _ in found)
    return [Finding(f"engine {name}", usable, reason, needed=not any_usable) for name, usable, reason in found] or [
        Finding("engines", False, "there is none", needed=True)
    ]


def _model(name: str, engine: str) -> Finding:
    """Verify one bundle's files, and what its network answers to its own example."""
    path = Path(name) if Path(name).is_dir() and not (BUNDLES / name).is_dir() else bundled(name)
    bundle = Bundle.load(path)
    difference = verify_golden(open_engine(bundle, engine), bundle)
    detail = f"{len(bundle.onnx) / 1e6:.1f} MB, sha256 {bundle.sha256[:12]}… and golden logits as they should be"
    return Finding(f"model {bundle.name}", True, f"{detail} ({difference:.0e} off)", needed=True)


def _inference(settings: Settings) -> list[Finding]:
    """Times of the networks themselves, and what listening live costs: CPU time, so that load does not matter."""
    tagger = Tagger.load(settings.models or DEFAULT_MODELS, settings.engine, settings.threads, settings.weights)
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLE_RATE).astype(np.float32)

    def seconds(length: float) -> float:
        window = log_mel(noise[: round(length * SAMPLE_RATE)])
        tagger.calibrated(window)  # the first run of a length is slow
        before = process_time()
        tagger.ensemble(tagger.calibrated(window))
        return process_time() - before

    long, short = seconds(10.0), seconds(2.5)
    share = long + short / settings.hop
    return [
        Finding(
            "inference",
            bool(share < 1.0),
            f"{1000 * long:.0f} ms of CPU per 10 s window, {1000 * short:.0f} ms per 2.5 s window on "
            f"{tagger.engine_name}: {share:.0%} of one core at a hop of {settings.hop:g} s",
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
    from instrec_live.realtime.devices import list_input_devices, sounddevice

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
