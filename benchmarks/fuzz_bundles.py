"""Damaged models: bundles and what is in them."""

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
from fuzz_mutants import TEXTS, VALUES, damaged, damaged_tree
from numpy.random import Generator

TINY = Path("tiny")  # a bundle


class Bundles:
    """Manifests, networks, golden clips, ensembles; checksums set right, so that what lies behind is reached."""

    def prepare(self) -> None:
        from tiny_bundle import write_tiny

        import instrec_live.models.engines.onnx_runtime
        import instrec_live.models.ensemble  # noqa: F401

        write_tiny(TINY)
        self._files = {path.name: path.read_bytes() for path in TINY.iterdir()}
        self._manifest = json.loads(self._files["manifest.json"])
        ensemble = {"weights": {"tiny": 1.0}, "calibration": self._manifest["calibration"]}
        self._ensemble = ensemble | {"thresholds": self._manifest["thresholds"]}
        self._tricks = [self._elsewhere(where) for where in ("../secret.bin", "/etc/passwd", "model.onnx", "a/../../b")]

    def _elsewhere(self, where: str) -> bytes:
        """The network with its weights in another file."""
        import onnx

        model = onnx.load_from_string(self._files["model.onnx"])
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=where)
        return model.SerializeToString()

    def check(self) -> None:
        from instrec_live.models.bundle import Bundle

        Bundle.load(TINY)

    def run(self, rng: Generator) -> str | None:
        from instrec_live.models.bundle import Bundle, bundled, summed
        from instrec_live.models.engines.base import verify_golden
        from instrec_live.models.engines.registry import open_engine
        from instrec_live.models.ensemble import Ensemble

        files, manifest = dict(self._files), copy.deepcopy(self._manifest)
        which = int(rng.integers(7))
        if which == 0:
            bundled(str((*TEXTS, *map(str, VALUES))[int(rng.integers(len(TEXTS) + len(VALUES)))]))
        if which == 1:
            tree = damaged_tree(self._ensemble, rng)
            text = json.dumps(tree).encode()
            Path("ensemble.json").write_bytes(damaged(text, text, rng) if not rng.integers(3) else text)
            Ensemble.load(Path("ensemble.json"))
            return None
        if which in (2, 3):
            for _ in range(1 + int(rng.integers(3))):
                manifest = damaged_tree(manifest, rng)
        name = ("model.onnx", "golden.npz")[which % 2]
        if which > 3:
            files[name] = damaged(files[name], self._tricks[0], rng)
        if which == 6 and not rng.integers(3):
            files["model.onnx"] = self._tricks[int(rng.integers(4))]
        if isinstance(manifest, dict) and isinstance(manifest.get("sha256"), dict) and rng.integers(8):
            manifest["sha256"][name] = hashlib.sha256(files[name]).hexdigest()
        if isinstance(manifest, dict) and rng.integers(8):
            manifest = summed(manifest)
        files["manifest.json"] = json.dumps(manifest).encode()
        if which == 3 and not rng.integers(3):
            files["manifest.json"] = damaged(files["manifest.json"], files["manifest.json"], rng)
        for file, content in files.items():
            (TINY / file).write_bytes(content)
        bundle = Bundle.load(TINY)
        engine = open_engine(bundle, "onnx")
        verify_golden(engine, bundle)
        assert engine.logits(np.zeros((2, 128, 300), np.float32)).shape[0] in (1, 2)
        return None
