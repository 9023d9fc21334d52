"""Networks on a Triton Inference Server: whole windows go there over gRPC, logits come back.

gRPC rather than HTTP: the official client's HTTP may only be used by the thread that made it, and a stream is opened by
one thread and heard by another.
"""

import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from instrec_live.models import engines
from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.engines.triton_model import LARGEST_BATCH, SHA256, name_of, version_of
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH

FloatArray = NDArray[np.float32]
T = TypeVar("T")

PRECISIONS = ("fp32", "fp16")
REMOTE = True

_DEADLINE = 5.0  # s: an answer that comes later is of no use to a live stream
_PAUSE = 0.2  # s until a server that refused the connection is asked again, within the deadline

_UNREACHABLE, _TOO_LATE = "StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([0-9]{1,5})")
_FACES = (
    [("log_mel", "FP32", [-1, N_MELS, -1])],
    [("logits", "FP32", [-1, len(INSTRUMENTS)])],
)


def why_not(precision: str) -> str | None:
    """Why no Triton server can be used from here; None if one can, given its address."""
    try:
        _library()
    except ModuleNotFoundError as e:
        return f"{e.name or 'tritonclient'} is not installed: pip install 'instrec-live[triton]'"
    except Exception as e:  # a wheel for another processor or libc, or another protobuf, raises what it likes
        return f"tritonclient does not import ({e})"
    return None


class TritonEngine:
    """One network on a server; see `Engine`."""

    def __init__(self, bundle: Bundle, precision: str, address: str) -> None:
        self._library = _library()
        self._address, self._bundle = _checked(address), bundle
        self._model, self._version = name_of(bundle, precision), str(version_of(bundle))
        self._client = self._library.InferenceServerClient(address)
        server = self._asked(self._client.get_server_metadata, again=False)
        self.name = f"{server.name} {server.version} at {address}" + ("" if precision == "fp32" else f" {precision}")
        self._check_network()
        # Another machine's arithmetic is looked at before it is believed.
        engines.verify_golden(self, bundle, precision)

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 96…1000 -> logits float32 [B, 20].

        Raises:
            ModelError: the server is gone, late, or answers what cannot be; or the input does not fit.
        """
        shape = np.shape(log_mel)
        if len(shape) != 3 or shape[1] != N_MELS or not PATCH <= shape[2] <= FRAMES[1]:
            wanted = f"[B, {N_MELS}, {PATCH}…{FRAMES[1]}]"
            raise ModelError(f"{self._bundle.name} failed on an input of {shape}: it must be {wanted}")
        firsts = range(0, max(len(log_mel), 1), LARGEST_BATCH)
        return np.concatenate([self._heard(log_mel[first : first + LARGEST_BATCH]) for first in firsts])

    def _heard(self, log_mel: FloatArray) -> FloatArray:
        given = self._library.InferInput("log_mel", list(np.shape(log_mel)), "FP32")
        given.set_data_from_numpy(np.ascontiguousarray(log_mel, np.float32))
        wanted = self._library.InferRequestedOutput("logits")
        ask = partial(self._client.infer, self._model, [given], self._version, [wanted])
        answer = self._asked(ask)
        try:
            logits = answer.as_numpy("logits")
        except ValueError:  # its bytes are not those of its shape
            logits = None
        if logits is None or logits.shape != (len(log_mel), len(INSTRUMENTS)) or logits.dtype != np.float32:
            what = "nothing readable" if logits is None else f"{logits.dtype} {list(logits.shape)}"
            raise ModelError(f"{self.name} answers {what} for the logits of {self._model}, not float32 [B, 20]")
        return np.array(logits)

    def _check_network(self) -> None:
        """That the server has this very network, in this version."""
        hint = "give it the repository that python -m instrec_live.models.export --triton writes"
        try:
            faces = self._asked(partial(self._client.get_model_metadata, self._model))
        except _RefusedError as e:
            index = self._asked(self._client.get_model_repository_index)
            there = ", ".join(sorted({m.name for m in index.models if m.state == "READY"})) or "none"
            raise ModelError(f"{self.name} has no model {self._model} ready ({e.reason}); it has {there}", hint) from e
        if self._version not in faces.versions:
            there = ", ".join(faces.versions)
            raise ModelError(f"{self.name} has {self._model} in version {there}, not {self._version}", hint)
        config = self._asked(partial(self._client.get_model_config, self._model, self._version)).config
        sha256 = config.parameters[SHA256].string_value if SHA256 in config.parameters else ""
        if sha256 != self._bundle.sha256:
            of = f"of sha256 {sha256[:12]}…" if sha256 else "that does not say its sha256"
            here = f"{self._bundle.sha256[:12]}…"
            raise ModelError(f"{self.name} has another {self._model}, {of}; here it is {here}", hint)
        given, made = ([(t.name, t.datatype, list(t.shape)) for t in some] for some in (faces.inputs, faces.outputs))
        if (given, [face for face in made if face[0] == "logits"]) != _FACES:
            raise ModelError(f"{self.name}: {self._model} maps {given} to {made}", hint)

    def _asked(self, ask: Callable[..., T], again: bool = True) -> T:
        """What the server answers; if there is no connection it is asked again, until the deadline.

        Raises:
            ModelError: it does not answer, or (`_RefusedError`) answers that it will not.
        """
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                return ask(client_timeout=max(deadline - time.monotonic(), 0.001))
            except self._library.InferenceServerException as e:
                status, reason = e.status(), _first_line(e)
                if again and status == _UNREACHABLE and time.monotonic() + _PAUSE < deadline:
                    time.sleep(_PAUSE)
                    continue
            break
        if status == _UNREACHABLE:
            hint = "is it running, and is that its gRPC port, usually 8001?"
            cause = reason.rpartition(": ")[2].rstrip("]")  # behind all the places where it was noticed
            raise ModelError(f"no Triton server answers at {self._address}: {cause}", hint)
        if status == _TOO_LATE:
            raise ModelError(f"the Triton server at {self._address} gave no answer within {_DEADLINE:g} s")
        raise _RefusedError(f"the Triton server at {self._address} refuses {self._model}: {reason}", reason)


class _RefusedError(ModelError):
    """The server answers, but not with what was asked for."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_engine(bundle: Bundle, threads: int, precision: str, address: str) -> TritonEngine:
    """The bundle's network on the server at HOST:PORT, whose threads are its own affair."""
    return TritonEngine(bundle, precision, address)


def _checked(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match or not 1 <= int(match[2]) <= 65_535:
        raise UsageError(f"{address!r} is no server's address", "give HOST:PORT, of gRPC: --url 127.0.0.1:8001")
    return address


def _library() -> Any:
    """The official client, without what gRPC itself would print over the screen."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import tritonclient.grpc

    return tritonclient.grpc


def _first_line(error: Any) -> str:
    return str(error.message() or error).strip().split("\n")[0][:200]
