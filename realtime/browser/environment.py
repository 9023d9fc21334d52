"""What of this process's environment a visitor's child is given: what it needs to hear and draw, and no more."""

from collections.abc import Mapping

_NAMES = {
    "HOME", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
    "APPDATA", "LOCALAPPDATA", "PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "USERPROFILE", "WINDIR",
    "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONUTF8",
    "COLORTERM", "COLUMNS", "LANG", "LANGUAGE", "NO_COLOR", "ROWS", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION",
    "INSTREC_DEBUG", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_DRIVER", "TEXTUAL_FPS",
}  # fmt: skip
# Locale; where settings and sockets are; sound servers and drivers; threads and GPUs.
_BEGINNINGS = (
    "LC_",
    "XDG_",
    "PULSE_",
    "PIPEWIRE_",
    "ALSA_",
    "JACK_",
    "PA_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "CUDA_",
    "NVIDIA_",
)


def needed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are known to matter: keys and passwords of other programs stay here."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in _NAMES or name.upper().startswith(_BEGINNINGS)
    }
