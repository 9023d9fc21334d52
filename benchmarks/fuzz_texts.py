"""Damaged text: settings, thresholds, command lines, and what an earlier run has written."""

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import soundfile
from fuzz_mutants import TEXTS, damaged, damaged_tree, quoted, toml
from fuzz_sounds import sound
from numpy.random import Generator


class SettingsFiles:
    """The settings file, in TOML."""

    def prepare(self) -> None:
        from instrec_live.realtime.config.settings import parse

        parse(["--no-config"])
        self._good: dict[str, Any] = {
            "hop": 0.5, "models": ["passt", "cbam_cnn"], "weights": [1, 2.5], "engine": "onnx", "threads": 2,
            "output": ["a.csv", "b.jsonl"], "thresholds": {"piano": 0.5, "double_bass": 0.25}, "gate": -60,
            "json": False, "theme": "dark", "verbose": 1, "record": "take.wav", "osc": "127.0.0.1:9000", "rate": 8000,
            "pace": "realtime",
            "start": 1, "speed": 1.5, "device": "USB", "pre-roll": 10, "strict": True, "log-file": "log.txt",
        }  # fmt: skip

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.config.settings import parse

        names = [name for name in self._good if rng.integers(3) == 0] or ["hop"]
        tree = {name: self._good[name] for name in names}
        for _ in range(1 + int(rng.integers(3))):
            tree = damaged_tree(tree, rng)
        if isinstance(tree, dict):
            text = "\n".join(f"{key if rng.integers(2) else quoted(key)} = {toml(it)}" for key, it in tree.items())
        else:
            text = toml(tree)
        content = text.encode("utf-8", "surrogatepass")
        Path("config.toml").write_bytes(damaged(content, content, rng) if not rng.integers(3) else content)
        parse(["--config", "config.toml", *(["--file", "a.wav"] if rng.integers(2) else [])])
        return None


class ThresholdFiles:
    """Thresholds by instrument, in JSON or TOML."""

    def prepare(self) -> None:
        from instrec_live.realtime.config.settings import parse

        parse(["--no-config"])

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.config.settings import parse

        tree: Any = {"piano": 0.5, "Double Bass": 0.25, "voice": 0.9}
        for _ in range(int(rng.integers(3))):
            tree = damaged_tree(tree, rng)
        kind = ("json", "toml", "txt")[int(rng.integers(3))]
        if kind == "toml" and isinstance(tree, dict):
            text = "\n".join(f"{quoted(key)} = {toml(value)}" for key, value in tree.items())
        else:
            text = json.dumps(tree, ensure_ascii=bool(rng.integers(2)))
        content = text.encode("utf-8", "surrogatepass")
        if not rng.integers(60):
            content = b'{"piano": ' + b"[" * 100_000
        path = Path(f"levels.{kind}")
        path.write_bytes(damaged(content, content, rng) if not rng.integers(2) else content)
        parse(["--no-config", "--thresholds", str(path)])
        return None


class CommandLines:
    """Whole runs of the program on a second of sound, with options that may make no sense."""

    def prepare(self) -> None:
        from tiny_bundle import write_tiny

        sys.modules["openvino"] = None  # type: ignore[assignment] # as after `pip install .`; it needs more than the limit
        import instrec_live.models.engines.onnx_runtime
        import instrec_live.realtime.stream.stream  # noqa: F401
        from instrec_live.realtime.config.settings import parser

        soundfile.write("good.wav", sound(), 8_000)
        write_tiny(Path("tiny"))
        Path("text.wav").write_text("no sound")
        Path("levels.json").write_text('{"piano": 0.5}')
        Path("folder").mkdir(exist_ok=True)
        # Not what listens to a microphone, waits for a visitor, or measures for half a minute.
        away = {
            "--device",
            "-d",
            "--list-devices",
            "-l",
            "--serve",
            "--benchmark",
            "--doctor",
            "--midi",
            "--osc",
            "--play",
            "--demo",
            "--stdin",
        }
        self._options = sorted({n for a in parser()._actions for n in a.option_strings} - away)
        self._values = ("good.wav", "text.wav", "absent.wav", "folder", "levels.json", "out.csv", "out.txt",
                        "no/out.csv", "tiny", "./tiny", "./tiny,./tiny", "passt", "../tiny", "max", "realtime", "onnx",
                        "openvino:bf16", "auto", "0.5", "1", "0", "-1", "1e9", "nan", "inf", "9" * 25, "1,2", "dark",
                        "bash", "list", "report", "tag", "out.wav", "out.jsonl", "out.vtt", *TEXTS)  # fmt: skip

    def run(self, rng: Generator) -> str | None:
        words = [] if not rng.integers(8) else ["--file", "good.wav", "--pace", "max", "--models", "./tiny"]
        words += ["--engine", "onnx", "--no-config"] if rng.integers(8) else []
        for _ in range(int(rng.integers(6))):
            option = self._options[int(rng.integers(len(self._options)))]
            value = self._values[int(rng.integers(len(self._values)))]
            words += ([option, value], [option], [value], [f"{option}={value}"])[int(rng.integers(4))]
        if not any(word.startswith(("--file", "-f")) for word in words):
            words += ["--file", "good.wav"]  # never the microphone
        words = [word.replace("\0", "0") for word in words]  # which no system lets anybody type
        kept = set(os.listdir())
        try:
            return program(words)
        finally:
            for name in set(os.listdir()) - kept:
                _remove(Path(name))


class Reports:
    """What an earlier run has written, through instrec-live report."""

    def prepare(self) -> None:
        import matplotlib.font_manager  # noqa: F401 - asks for the system's fonts, once
        from played import a_head, an_update

        import instrec_live.realtime.commands.report  # noqa: F401
        from instrec_live.realtime.outputs import JsonLines, SummaryBuilder

        out, tally = io.StringIO(), SummaryBuilder(0.5)
        sink = JsonLines(out, a_head())
        for at, names in enumerate((["piano"], ["piano", "voice"], [], ["drums"])):
            update = an_update(0.5 * at, *names, jumped=at == 2)
            sink.write(update)
            tally.note(update)
        sink.label(1.0, "verse")
        sink.change({"type": "thresholds", "time": 1.0, "thresholds": {"piano": 0.2}})
        sink.close(tally.summary("end"))
        self._lines = out.getvalue().splitlines()

    def run(self, rng: Generator) -> str | None:
        lines = list(self._lines)
        for _ in range(1 + int(rng.integers(2))):
            at = int(rng.integers(len(lines)))
            with contextlib.suppress(ValueError):
                lines[at] = json.dumps(damaged_tree(json.loads(lines[at]), rng))
        if not rng.integers(4):
            at = int(rng.integers(len(lines)))
            lines.insert(int(rng.integers(len(lines))), lines[at])
        content = ("\n".join(lines) + "\n").encode()
        Path("run.jsonl").write_bytes(damaged(content, content, rng) if not rng.integers(3) else content)
        kinds = ("csv", "txt", "svl.csv", "vtt", "jsonl") + (("html", "svg") if not rng.integers(60) else ())
        outputs = [word for kind in kinds for word in ("-o", f"out.{kind}")]
        try:
            return program(["report", "run.jsonl", "--force", *outputs])
        finally:
            for path in Path().glob("out.*"):
                path.unlink()


def program(words: list[str]) -> str:
    """A run of the whole program in this process: its exit code and last words. A defect of it is an AssertionError."""
    from instrec_live.realtime.cli import main
    from instrec_live.realtime.errors import ExitCode

    out, narration = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(narration):
        code = main(words)
    said = narration.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert code in (0, 2, 3, 4, 5), f"exit {code}: {said[-500:]} after {words}"
    assert "Traceback" not in said or "-vv" in " ".join(words) or words.count("-v") + words.count("--verbose") > 1, (
        f"{said} after {words}"
    )
    errors = [line for line in said.splitlines() if "error: " in line]
    assert code == 0 or len(errors) == 1, f"exit {code} with {said!r} after {words}"
    return f"exit {ExitCode(code)}: {errors[0].partition('error: ')[2].partition(' — ')[0]}" if code else "fine"


def _remove(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            _remove(each)
        path.rmdir()
    else:
        path.unlink()
