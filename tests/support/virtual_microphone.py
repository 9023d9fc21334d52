"""A microphone made of PulseAudio: it records what is played into a null sink."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = "libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils"
NAME = "studio_mic"  # what PortAudio calls it
_ALSA = f"""
pcm.!default {{ type pulse }}
ctl.!default {{ type pulse }}
pcm.{NAME} {{ type pulse device vmic }}
"""


_DEVICES = (
    "module-null-sink sink_name=vspk rate=48000 channels=1",
    "module-remap-source master=vspk.monitor source_name=vmic",
)


class VirtualMicrophone:
    """A sound server of its own in a folder of its own, until `stop`.

    Attributes:
        env: the environment in which a program sees this microphone (as its default one); PortAudio reads it when it
            is loaded, so record in a subprocess.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mic"))  # short: a socket's path has few letters
        (self.folder / ".asoundrc").write_text(_ALSA)
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        self.env = {**os.environ, **home, "PULSE_RUNTIME_PATH": str(self.folder / "pulse")}
        modules = ["module-native-protocol-unix", *_DEVICES]
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *(f"--load={each}" for each in modules)],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._until_ready()
        except BaseException:
            self.stop()
            raise

    def _until_ready(self) -> None:
        for _ in range(100):
            if "vmic" in self._control("list", "short", "sources"):
                self._control("set-default-source", "vmic")
                self._control("set-default-sink", "vspk")
                return
            time.sleep(0.1)
        raise RuntimeError("pulseaudio did not start within 10 s")

    def _control(self, *words: str) -> str:
        return subprocess.run(["pactl", *words], env=self.env, capture_output=True, text=True, timeout=120).stdout

    def play(self, path: Path) -> subprocess.Popen[bytes]:
        """Start to play a file into the microphone."""
        return subprocess.Popen(["paplay", "--device=vspk", str(path)], env=self.env)

    def unplug(self) -> None:
        """Take the microphone away."""
        self._control("unload-module", "module-null-sink")

    def plug(self) -> None:
        """Bring it back."""
        for module in _DEVICES:
            self._control("load-module", *module.split())
        self._control("set-default-source", "vmic")
        self._control("set-default-sink", "vspk")

    def freeze(self) -> None:
        """Let the sound server hang, as a driver may."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the sound server and forget its folder."""
        self._server.send_signal(signal.SIGCONT)
        self._server.terminate()
        self._server.wait(120)
        shutil.rmtree(self.folder, ignore_errors=True)


def why_not() -> str | None:
    """Why there can be no virtual microphone here, or None."""
    missing = [name for name in ("pulseaudio", "pactl", "paplay") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install {PACKAGES})"
    found = subprocess.run([sys.executable, "-c", "import sounddevice"], capture_output=True, text=True)
    return None if found.returncode == 0 else found.stderr.strip().splitlines()[-1]
