"""The models by name: bundled ones, bundle folders, and public PaSST checkpoints, which are fetched once, verified,
and kept in the user's cache.

`passt-openmic` was fine-tuned on the 20 instruments by PaSST's authors. On first use it is exported to a bundle, which
needs the [train] extra and a network connection; later uses need neither. `passt-audioset` has AudioSet's 527 classes:
training can start from it.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.bundle import SCHEMA, Bundle, bundled
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.fetch.lock import file_lock
from instrec_live.models.files import user_folder
from instrec_live.models.learned import LearnedBundle, is_learned

_RELEASES = "https://github.com/kkoutini/PaSST/releases/download"


@dataclass(frozen=True)
class Checkpoint:
    """A published state dict of hear21passt's `PaSST`.

    Attributes:
        url, sha256: of the file.
        size: bytes, if published.
        limit: greatest size in bytes; a longer file is refused.
        config: arguments of `models.networks.passt.passt` that it fits.
        tagger: whether its classes are the 20 instruments in their order.
        data: the data it was trained on.
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
PUBLIC_TAGGERS = tuple(name for name, checkpoint in CHECKPOINTS.items() if checkpoint.tagger)


def bundle_folder(model: str | os.PathLike[str]) -> Path:
    """The folder of a model's bundle. A bundled or public name wins over a folder of that name; anything with a
    separator is a folder.

    Raises:
        ModelError: there is no such model, or a public one cannot be fetched or exported.
    """
    if not os.fspath(model):  # `Path` would take it for the current folder
        raise ModelError("the name of a model is empty", "give a bundled name or the folder of a bundle")
    path = Path(model)
    if os.fspath(model) in CHECKPOINTS:
        return public_bundle(os.fspath(model))
    try:
        return bundled(os.fspath(model))
    except ModelError as error:
        if os.path.isdir(path):
            return path
        if path.name != os.fspath(model):
            raise ModelError(f"{path}: no such model folder", "give a bundled name or a bundle folder") from None
        raise ModelError(error.message, f"{error.hint}; {', '.join(PUBLIC_TAGGERS)} can be fetched") from None


def load_model(model: str | os.PathLike[str]) -> Bundle | LearnedBundle:
    """A model by bundled name, public name or folder.

    Raises:
        ModelError: as `bundle_folder`, or it is damaged.
    """
    folder = bundle_folder(model)
    return LearnedBundle.load(folder) if is_learned(folder) else Bundle.load(folder)


def networks_of(models: Iterable[str | os.PathLike[str]]) -> list[Bundle]:
    """The networks that run for these models: themselves, and those whose embeddings learned heads read.

    Raises:
        ModelError: as `load_model`.
    """
    loaded = [load_model(model) for model in models]
    networks = [model for model in loaded if isinstance(model, Bundle)]
    for head in (model for model in loaded if isinstance(model, LearnedBundle)):
        there = {network.sha256 for network in networks}
        networks += [base for base in head.base_bundles() if base.sha256 not in there]
    return networks


def cache_folder() -> Path:
    """The folder of fetched models, made if it does not exist; only its owner may read it.

    Raises:
        ModelError: it cannot be made, or belongs to another user.
    """
    folder = user_folder("cache") / "models"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ModelError(
            f"{folder}: {error.strerror}", "fetched models are kept there; it must belong to you"
        ) from error
    return folder


def fetch_checkpoint(name: str) -> Path:
    """The file of a public checkpoint, a state dict of hear21passt's `PaSST`; fetched unless the cache has it.

    Raises:
        ModelError: no such name, no network connection, no disk space, or not the published file.
    """
    from instrec_live.models.fetch.download import download, progress_bar  # lazy: a cached bundle needs no HTTP

    if name not in CHECKPOINTS:
        raise ModelError(f"no public model {name!r}", f"there are {', '.join(CHECKPOINTS)}")
    checkpoint = CHECKPOINTS[name]
    with _as_model_errors(name), progress_bar(name) as progress:
        return download(
            checkpoint.url,
            cache_folder() / checkpoint.file,
            checksum=f"sha256:{checkpoint.sha256}",
            size=checkpoint.size,
            limit=checkpoint.limit,
            space=2.2 if checkpoint.tagger else 1.0,  # its bundle is about as large
            progress=progress,
        )


def public_bundle(name: str) -> Path:
    """Folder of the bundle of a public checkpoint, which is fetched and exported the first time.

    Raises:
        ModelError: no such name, it has other classes, torch, a network connection or disk space is missing, or the
            file is not the published one.
    """
    if name not in CHECKPOINTS or not CHECKPOINTS[name].tagger:
        raise ModelError(f"{name!r} cannot tag instruments", f"models that can: {', '.join(PUBLIC_TAGGERS)}")
    folder = cache_folder() / f"{name}-{CHECKPOINTS[name].sha256[:12]}-v{SCHEMA}"
    if not _is_complete(folder):
        with _as_model_errors(name):
            _export(name, folder)
    return folder


def _export(name: str, folder: Path) -> None:
    try:
        from instrec_live.models.export import public_passt  # first: without torch, fetching would be in vain
    except ImportError as error:
        raise ModelError(
            f"{name} must be converted once, which needs {error.name or error}", "pip install 'instrec-live[train]'"
        ) from error
    with file_lock(folder.with_name(f".{folder.name}.lock")):
        if _is_complete(folder):  # another process has just written it
            return
        kept = (folder.parent / CHECKPOINTS[name].file).exists()
        path = fetch_checkpoint(name)
        if sys.stderr and sys.stderr.isatty():
            print(f"{name}: exporting it to ONNX, a minute or two", file=sys.stderr)
        public_passt.bundle_of(path, folder, name, CHECKPOINTS[name])
        if not kept:  # otherwise training fetched it and may need it again
            path.unlink()


def _is_complete(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


@contextmanager
def _as_model_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except InstrecError as error:
        raise ModelError(f"{name} cannot be fetched: {error.message}", error.hint) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ModelError(f"{name} cannot be exported: {where}{error.strerror or error}") from error
