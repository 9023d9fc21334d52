"""What the computer plays, as something to listen to: `--device system`.

Where a sound server of Linux has monitors of its outputs (PulseAudio, or PipeWire in its place), the default output's
monitor is meant. PortAudio does not show those; so `sources.monitor` records them without it. On other systems it is
a loopback device, which is one like any microphone and known by its name.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

SYSTEM = "system"
_LOOK_WITHIN = 3.0  # s; a sound server that hangs must not hold up the start

_LOOPBACKS = (
    "monitor of ", ".monitor", "blackhole", "loopback", "soundflower", "stereo mix", "stereomix", "what u hear",
    "wave out mix", "cable output", "voicemeeter out",
)  # fmt: skip
_NO_SERVER = "pactl finds no running PulseAudio or PipeWire with an output: start one; pactl info shows what it finds"
_HOW = {
    "linux": "it needs PulseAudio, or PipeWire with pipewire-pulse, and their tools: sudo apt install pulseaudio-utils",
    "darwin": "install BlackHole (brew install blackhole-2ch), and in Audio MIDI Setup play to a Multi-Output Device "
    "of it and your speakers",
    "win32": "switch on Stereo Mix in the recording devices of the sound settings, or install VB-Cable and play to it",
}


@dataclass(frozen=True, slots=True)
class Monitor:
    """An output of the sound server that can be listened to.

    Attributes:
        sink: the server's name of the output.
        server: its own name: "PulseAudio (on PipeWire 1.0.5)".
    """

    sink: str
    server: str

    @property
    def label(self) -> str:
        """What to call it on the screen."""
        return f"what the computer plays ({self.sink})"


def is_loopback(name: str) -> bool:
    """Whether a device of this name records what the computer plays."""
    return any(each in name.casefold() for each in _LOOPBACKS)


def monitor_meant(device: int | str | None) -> Monitor | None:
    """The default output's monitor, if that is what `device` means and there is one."""
    return default_monitor() if isinstance(device, str) and means_system(device) else None


def means_system(device: str) -> bool:
    return device.strip().casefold() == SYSTEM


def default_monitor() -> Monitor | None:
    """What the computer plays by default, as its sound server offers it; None where there is no such server."""
    facts = dict(line.partition(": ")[::2] for line in _asked("info").splitlines())
    sink, server = facts.get("Default Sink", ""), facts.get("Server Name", "")
    known = {line.split("\t")[1] for line in _asked("list", "short", "sources").splitlines() if "\t" in line}
    return Monitor(sink, server) if f"{sink}.monitor" in known else None


def how_to_get_one() -> str:
    """What to do where there is nothing that records what the computer plays."""
    if sys.platform == "linux" and shutil.which("pactl"):
        return _NO_SERVER
    return _HOW.get(sys.platform, "install a loopback device of your system, and choose it with --device")


def _asked(*words: str) -> str:
    """What pactl answers in English; nothing where there is no pactl, or nothing it can talk to."""
    try:
        return subprocess.run(
            ["pactl", *words],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOOK_WITHIN,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
