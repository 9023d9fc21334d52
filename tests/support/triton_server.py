"""A Triton server on this machine: NVIDIA's own, out of the wheel nvidia-pytriton (`pip install --no-deps`), or one
that only speaks its protocol.

The wheel's server has no ONNX Runtime; its Python backend runs the repository's model.onnx instead. Names, shapes,
versions, batching, deadlines and errors are the real server's own.
"""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from instrec_live.models.bundle import Bundle, bundled
from instrec_live.models.engines.triton_repository import write_repository

_STUB = f"python_backend_stubs/{sys.version_info[0]}.{sys.version_info[1]}/triton_python_backend_stub"
_START = 60.0  # s

# numpy by way of DLPack: the backend was compiled against numpy 1.
_MODEL = """
import os
import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options)

    def execute(self, requests):
        heard = [np.from_dlpack(triton.get_input_tensor_by_name(r, "log_mel")) for r in requests]
        (logits,) = self.session.run(["logits"], {"log_mel": np.concatenate(heard)})
        self.kept = np.split(logits, np.cumsum([len(h) for h in heard])[:-1])
        return [triton.InferenceResponse([triton.Tensor.from_dlpack("logits", each)]) for each in self.kept]
"""


def why_no_server():
    """Why NVIDIA's server cannot run here; None if it can."""
    if find_spec("pytriton") is None:
        return "no Triton server: pip install --no-deps nvidia-pytriton"
    return None if (_home() / _STUB).exists() else f"its Python backend has no {_STUB}"


def _home():
    (package,) = find_spec("pytriton").submodule_search_locations
    return Path(package) / "tritonserver"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Triton:
    """NVIDIA's server, with a repository of ours. A context manager."""

    def __init__(self, repository, folder, port=None):
        self.repository, self.log = folder / "served", folder / "server.log"
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._backends = folder / "backends"
        if not self.repository.exists():
            self._adapt(repository)

    def _adapt(self, repository):
        shutil.copytree(repository, self.repository)
        for config in self.repository.glob("*/config.pbtxt"):
            text = config.read_text().replace('platform: "onnxruntime_onnx"', 'backend: "python"')
            config.write_text(text.replace("KIND_GPU", "KIND_CPU"))
            for version in config.parent.glob("*/"):
                (version / "model.py").write_text(_MODEL)
        python = self._backends / "python"
        python.mkdir(parents=True)
        for file in (*(_home() / "backends" / "python").iterdir(), _home() / _STUB):
            (python / file.name).symlink_to(file)

    def __enter__(self):
        home, environment = _home(), os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
        command = [
            home / "bin" / "tritonserver",
            *("--model-repository", self.repository, "--backend-directory", self._backends),
            *("--allow-http", "false", "--allow-metrics", "false"),
            *("--grpc-address", "127.0.0.1", "--grpc-port", str(self.port)),
            *("--backend-config", f"python,shm-region-prefix-name={self._prefix}"),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def _prefix(self):
        return f"instrec_live_{os.getpid()}_{self.port}_"

    def _wait(self):
        import tritonclient.grpc as library

        client, until = library.InferenceServerClient(self.address), time.monotonic() + _START
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if client.is_server_ready(client_timeout=1):
                    return
            except library.InferenceServerException:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the server does not come up: {self.log.read_text(errors='replace')[-2000:]}")

    def stop(self):
        """As if its machine hung."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self):
        """As if its machine died."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        for region in glob.glob(f"/dev/shm/{self._prefix}*"):
            os.unlink(region)


class Protocol:
    """A server in this process that speaks Triton's protocol and serves a repository of ours. A context manager.

    Attributes:
        answer: logits [B, 20] -> what is sent in their place.
        delay: s, of an answer.
    """

    def __init__(self, repository, folder, port=None):
        self.repository, self.port = repository, port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.answer, self.delay = lambda logits: logits, 0.0

    def __enter__(self):
        import grpc
        from protocol_servicer import servicer
        from tritonclient.grpc import service_pb2_grpc

        self._server = grpc.server(ThreadPoolExecutor(4))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer(self), self._server)
        assert self._server.add_insecure_port(self.address)
        self._server.start()
        return self

    def stop(self):
        self.delay = 3600.0

    def go_on(self):
        self.delay = 0.0

    def kill(self):
        self._server.stop(None).wait()

    def __exit__(self, *_):
        self.kill()


def repository_of(folder, models=("passt", "cbam_cnn", "ms_crnn")):
    path = folder / "repository"
    write_repository([Bundle.load(bundled(model)) for model in models], path)
    return path


def windows(count, frames, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 128, frames)).astype(np.float32)
