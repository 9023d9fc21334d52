"""Makes hear21passt importable; its quirks, and those of its dependencies, are handled only here.

With a CPU torch the wheels of torchvision (through timm) and torchaudio fail on import, though hear21passt needs only
one download function of the first and pure Python parts of the second. Where the real import fails, a stub replaces it.
hear21passt also prints kilobytes, which are discarded.
"""

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn


@contextmanager
def silence() -> Iterator[None]:
    """Discard what hear21passt prints and its warnings (inputs that are not 998 frames, deprecated calls)."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def import_or_stub(name: str, stubs: Callable[[], Mapping[str, ModuleType]]) -> None:
    """Import `name`; if that fails, remove what the attempt left and put `stubs()` into sys.modules."""
    before = set(sys.modules)
    try:
        with silence():
            import_module(name)
    except Exception:  # ImportError if absent, OSError or RuntimeError if its libraries do not fit torch
        family = {name.partition(".")[0], "torchvision"}
        for module in set(sys.modules) - before:
            if module.partition(".")[0] in family:
                del sys.modules[module]
        sys.modules.update(stubs())


def timm_stub() -> dict[str, ModuleType]:
    """A stub with the one function of timm that hear21passt imports; it is called only to download weights."""

    def download_cached_file(url: str, *_: object, **__: object) -> str:
        raise RuntimeError(f"timm does not work with this version of torch, so {url} cannot be fetched through it")

    stubs = {name: _package(name) for name in ("timm", "timm.models", "timm.models._hub")}
    stubs["timm.models._hub"].download_cached_file = download_cached_file  # type: ignore[attr-defined]
    return stubs


def torchaudio_stub() -> dict[str, ModuleType]:
    """A stub of torchaudio's compiled extension; its Python parts (mel filters, masking) then work."""
    stub: Any = _package("torchaudio._extension")
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = False
    stub._check_cuda_version = lambda: None
    stub.fail_if_no_align = lambda function: function
    return {"torchaudio._extension": stub}


def _package(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = []
    return module


def upstream_passt() -> Any:
    """The module hear21passt.models.passt, its first-forward prints switched off."""
    if "hear21passt.models.passt" not in sys.modules:
        import_or_stub("timm.models._hub", timm_stub)
    with silence():
        module = import_module("hear21passt.models.passt")
    module.first_RUN = False  # type: ignore[attr-defined]
    for name, stub in list(sys.modules.items()):  # hear21passt is imported: remove the stub of timm
        if name.partition(".")[0] == "timm" and stub.__spec__ is None:
            del sys.modules[name]
    return module


def augment_mel_stft() -> nn.Module:
    """hear21passt's front end as its own `get_basic_model` builds it, in eval mode.

    fmax is 15 kHz because it is derived from fmax_aug_range = 2000 (the class's own default gives 15.5 kHz).
    """
    import_or_stub("torchaudio", torchaudio_stub)
    with silence():
        module = import_module("hear21passt.models.preprocess")
        front_end: nn.Module = module.AugmentMelSTFT(
            n_mels=128, sr=32000, win_length=800, hopsize=320, n_fft=1024, freqm=48, timem=192,
            fmin=0.0, fmax=None, fmin_aug_range=10, fmax_aug_range=2000,
        )  # fmt: skip
    return front_end.eval()


if TYPE_CHECKING:
    from torch import Tensor

    class PaSST(nn.Module):
        """The part of hear21passt's class that is used here."""

        def __init__(self, **config: object) -> None: ...

        s_patchout_t: int
        s_patchout_f: int
        patch_embed: Any
        cls_token: Tensor  # [1, 1, E]
        dist_token: Tensor  # [1, 1, E]
        new_pos_embed: Tensor  # [1, 2, E]
        freq_new_pos_embed: Tensor  # [1, E, F, 1]
        time_new_pos_embed: Tensor  # [1, E, 1, T]
        pos_drop: nn.Module
        blocks: nn.Sequential
        norm: nn.Module
        head: nn.Module
else:
    PaSST = upstream_passt().PaSST
