"""Public PaSST checkpoints, fetched once, verified, and kept in the user's cache.

`passt-openmic` is fine-tuned on the 20 instruments by PaSST's authors: it becomes a bundle on first use, which needs
the [train] extra and a network; from then on neither. `passt-audioset` knows AudioSet's 527 classes and is there for
training to begin with.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.bundle import SCHEMA
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.fetch.lock import alone
from instrec_live.models.fetch.progress import bar

_RELEASES = "https://github.com/kkoutini/PaSST/releases/download"


@dataclass(frozen=True)
class Checkpoint:
    """A published state dict of hear21passt's `PaSST`.

    Attributes:
        url, sha256: of the file.
        size: bytes, if published.
        limit: bytes never exceeded.
        config: of `models.passt.passt`, which it fits.
        tagger: whether its classes are the 20 instruments in their order.
        data: what it was trained on.
    """

    url: str
    sha256: str
    size: int | None
    limit: int
    config: Mapping[str, Any]
    tagger: bool
    data: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


CHECKPOINTS: dict[str, Checkpoint] = {
    "passt-openmic": Checkpoint(
        url=f"{_RELEASES}/v0.0.5/openmic-passt-s-f128-10sec-p16-s10-ap.85.pt",
        sha256="dc229428753176e8be0373d25887116fc15b490af86f671cecf9ed76a0f287da",
        size=341_546_630,
        limit=341_546_630,
        config={"size": "passt_s"},
        tagger=True,
        data="ImageNet, AudioSet, then OpenMIC-2018's official training split",
    ),
    "passt-audioset": Checkpoint(
        url=f"{_RELEASES}/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
        sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
        size=None,  # about 329 MiB
        limit=500_000_000,
        config={"size": "passt_s", "n_classes": 527},
        tagger=False,
        data="ImageNet, then AudioSet",
    ),
}
TAGGERS = tuple(name for name, checkpoint in CHECKPOINTS.items() if checkpoint.tagger)


def cache() -> Path:
    """The folder that keeps what was fetched, made where it is not; nobody else may look into it.

    Raises:
        ModelError: it cannot be made, or belongs to another user.
    """
    from platformdirs import user_cache_path

    folder = user_cache_path("instrec-live") / "models"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror}", "it keeps public models and must be yours") from error
    return folder


def fetch(name: str) -> Path:
    """The file of a public checkpoint, a state dict as hear21passt's; fetched unless the cache has it.

    Raises:
        ModelError: no such name, no network, no room, or not the published file.
    """
    from instrec_live.models.fetch.download import download  # lazy: who has the bundle needs no http

    if name not in CHECKPOINTS:
        raise ModelError(f"no public model {name!r}", f"there are {', '.join(CHECKPOINTS)}")
    checkpoint = CHECKPOINTS[name]
    with _as_model_errors(name), bar(name) as progress:
        return download(
            checkpoint.url,
            cache() / checkpoint.file,
            checksum=f"sha256:{checkpoint.sha256}",
            size=checkpoint.size,
            limit=checkpoint.limit,
            space=2.2 if checkpoint.tagger else 1.0,  # its bundle is as large
            progress=progress,
        )


def public_bundle(name: str) -> Path:
    """Folder of the bundle made of a public checkpoint; the first time it is fetched and exported.

    Raises:
        ModelError: no such name, it is no tagger, torch, a network or room is missing, or it is not what was published.
    """
    if name not in CHECKPOINTS or not CHECKPOINTS[name].tagger:
        raise ModelError(f"{name!r} cannot tag instruments", f"those that can: {', '.join(TAGGERS)}")
    folder = cache() / f"{name}-{CHECKPOINTS[name].sha256[:12]}-v{SCHEMA}"
    if not _whole(folder):
        with _as_model_errors(name):
            _make(name, folder)
    return folder


def _make(name: str, folder: Path) -> None:
    try:
        from instrec_live.models import conversion  # before hundreds of megabytes are fetched in vain
    except ImportError as error:
        raise ModelError(
            f"{name} needs {error.name or error} to become a bundle (once)", "pip install 'instrec-live[train]'"
        ) from error
    with alone(folder.with_name(f".{folder.name}.lock")):
        if _whole(folder):  # another process has just made it
            return
        kept = (folder.parent / CHECKPOINTS[name].file).exists()
        path = fetch(name)
        if sys.stderr and sys.stderr.isatty():
            print(f"{name}: exporting it to ONNX, a minute or two", file=sys.stderr)
        conversion.bundle_of(path, folder, name, CHECKPOINTS[name])
        if not kept:  # else training has fetched it and may want it again
            path.unlink()


def _whole(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


@contextmanager
def _as_model_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except InstrecError as error:
        raise ModelError(f"{name} could not be fetched: {error.message}", error.hint) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ModelError(f"{name} could not be made: {where}{error.strerror or error}") from error
