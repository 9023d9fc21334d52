"""What an 86-million-weight PaSST-S costs on each engine, and what the program says when asked for too much.

    python benchmarks/passt_s.py [--hop 0.5] [--seconds 20]

Random weights: they cost the same. Exports it to a bundle in a temporary folder, asks `instrec-live --benchmark` for
the smallest hop that keeps up, then lets the program listen to the demo in real time with the hop asked for. Writes
benchmarks/results/passt_s.json.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from cost import RESULTS, processor

from instrec_live.models.bundle import Bundle
from instrec_live.models.export import Checkpoint
from instrec_live.models.networks import build
from instrec_live.training.learning.bundling import bundle_of


def measured(bundle: Bundle) -> list[dict[str, Any]]:
    """What `instrec-live --benchmark` says of the network on every engine."""
    command = [sys.executable, "-m", "instrec_live.realtime", "--benchmark", "--models", str(bundle.path), "--json"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    kept = ("engine", "precision", "ok", "verdict", "p50_ms", "p95_ms", "resident_mb", "smallest_hop")
    rows = [{name: row[name] for name in kept} for row in report["rows"]]
    return [row | {"verdict": row["verdict"].replace(f"{bundle.path}: ", "")} for row in rows]


def asked_for_less(bundle: Bundle, hop: float, listen: float) -> dict[str, Any]:
    """What the program says of itself, with a hop it cannot keep."""
    command = [sys.executable, "-m", "instrec_live.realtime", "--demo", "--json", "--models", str(bundle.path),
               "--hop", str(hop), "--duration", str(listen), "--engine", "onnx"]  # fmt: skip
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    updates = [json.loads(line) for line in lines if '"type": "update"' in line]
    states = [update["state"] for update in updates]
    return {"hop": hop, "state": max(set(states), key=states.count), "skipped": updates[-1]["skipped"],
            "hops": round(updates[-1]["time"] / hop), "updates": len(updates),
            "age_s": max(update["age_s"] for update in updates)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hop", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of listening (20)")
    args = parser.parse_args()
    torch.manual_seed(0)
    network = build("passt", size="passt_s")
    checkpoint = Checkpoint(name="passt", config={"size": "passt_s"}, state_dict=network.state_dict(),
                            provenance={"command": "random weights"})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(checkpoint, Path(folder) / "passt_s")
        record = {
            "command": " ".join(["python benchmarks/passt_s.py", *sys.argv[1:]]),
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
            "machine": processor(),
            "engines": measured(bundle),
            "asked_for_less": asked_for_less(bundle, args.hop, args.seconds),
        }
    (RESULTS / "passt_s.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
