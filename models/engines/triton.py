"""Networks on a Triton Inference Server: whole windows are sent over gRPC, logits returned.

gRPC rather than HTTP: the official HTTP client may only be used by the thread that made it, and a stream is opened by
one thread and used by another.
"""

import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.engines.base import verify_golden
from instrec_live.models.engines.triton_repository import LARGEST_BATCH, SHA256, name_of, version_of
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.logmel import N_MELS, PATCH

T = TypeVar("T")

PRECISIONS = ("fp32", "fp16")
REMOTE = True

_DEADLINE = 5.0  # s; a later response is of no use to a live stream
_PAUSE = 0.2  # s between attempts to connect, within the deadline

_UNREACHABLE, _TOO_LATE = "StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([0-9]{1,5})")


def unavailable_reason(precision: str) -> str | None:
    """Why no Triton server can be used from here; None if one can, given its address."""
    try:
        _library()
    except ModuleNotFoundError as e:
        return f"{e.name or 'tritonclient'} is not installed: pip install 'instrec-live[triton]'"
    except Exception as e:  # a wheel for another processor or libc, or another protobuf, may raise anything
        return f"tritonclient cannot be imported ({e})"
    return None


class TritonEngine:
    """One network on a server; see `Engine`."""

    def __init__(self, bundle: Bundle, precision: str, address: str) -> None:
        self._library = _library()
        self._address, self._bundle = _checked(address), bundle
        self._classes = bundle.classes
        self._model, self._version = name_of(bundle, precision), str(version_of(bundle))
        self._client = self._library.InferenceServerClient(address)
        server = self._asked(self._client.get_server_metadata, again=False)
        self.name = f"{server.name} {server.version} at {address}" + ("" if precision == "fp32" else f" {precision}")
        self._check_network()
        # Check the other machine's results before any use.
        verify_golden(self, bundle, precision)

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 96…1000 -> logits float32 [B, 20].

        Raises:
            ModelError: the server is gone, late, or gives an invalid response; or the input has a wrong shape.
        """
        shape = np.shape(log_mel)
        if len(shape) != 3 or shape[1] != N_MELS or not PATCH <= shape[2] <= FRAMES[1]:
            wanted = f"[B, {N_MELS}, {PATCH}…{FRAMES[1]}]"
            raise ModelError(f"{self._bundle.name} failed on an input of {shape}: it must be {wanted}")
        firsts = range(0, max(len(log_mel), 1), LARGEST_BATCH)
        return np.concatenate([self._infer(log_mel[first : first + LARGEST_BATCH]) for first in firsts])

    def _infer(self, log_mel: FloatArray) -> FloatArray:
        given = self._library.InferInput("log_mel", list(np.shape(log_mel)), "FP32")
        given.set_data_from_numpy(np.ascontiguousarray(log_mel, np.float32))
        wanted = self._library.InferRequestedOutput("logits")
        ask = partial(self._client.infer, self._model, [given], self._version, [wanted])
        answer = self._asked(ask)
        try:
            logits = answer.as_numpy("logits")
        except ValueError:  # the number of bytes does not fit the shape
            logits = None
        if logits is None or logits.shape != (len(log_mel), self._classes) or logits.dtype != np.float32:
            what = "nothing readable" if logits is None else f"{logits.dtype} {list(logits.shape)}"
            wanted = f"float32 [B, {self._classes}]"
            raise ModelError(f"{self.name} returned {what} as logits of {self._model}, not {wanted}")
        return np.array(logits)

    def _check_network(self) -> None:
        """Check that the server has exactly this network, in this version."""
        hint = "serve the repository that python -m instrec_live.models.export --triton writes"
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
        logits = [face for face in made if face[0] == "logits"]
        if (given, logits) != ([("log_mel", "FP32", [-1, N_MELS, -1])], [("logits", "FP32", [-1, self._classes])]):
            raise ModelError(f"{self.name}: {self._model} maps {given} to {made}", hint)

    def _asked(self, ask: Callable[..., T], again: bool = True) -> T:
        """The server's response; a failed connection is retried until the deadline.

        Raises:
            ModelError: no response, or (`_RefusedError`) the server refuses the request.
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
            cause = reason.rpartition(": ")[2].rstrip("]")  # after the names of the layers that passed it on
            raise ModelError(f"no Triton server answers at {self._address}: {cause}", hint)
        if status == _TOO_LATE:
            raise ModelError(f"the Triton server at {self._address} did not answer within {_DEADLINE:g} s")
        raise _RefusedError(f"the Triton server at {self._address} rejects {self._model}: {reason}", reason)


class _RefusedError(ModelError):
    """The server refuses a request."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_engine(bundle: Bundle, threads: int, precision: str, address: str) -> TritonEngine:
    """The bundle's network on the server at HOST:PORT; the server decides on its threads."""
    return TritonEngine(bundle, precision, address)


def _checked(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match or not 1 <= int(match[2]) <= 65_535:
        raise UsageError(f"{address!r} is not the address of a server", "give HOST:PORT, of gRPC: --url 127.0.0.1:8001")
    return address


def _library() -> Any:
    """The official client; gRPC's own output, which would appear on the screen, is turned off."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import tritonclient.grpc

    return tritonclient.grpc


def _first_line(error: Any) -> str:
    return str(error.message() or error).strip().split("\n")[0][:200]
