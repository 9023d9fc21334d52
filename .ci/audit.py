"""Are known vulnerabilities in what requirements-dev.lock and requirements-torch.txt name?

    python .ci/audit.py [FILE…]

Asks PyPI through pip-audit, which must be installed. Exit 1 for a vulnerability, and for an answer that makes no sense.
Where PyPI's database cannot be reached it says so and exits 0: want of a network is no fault of the code. With
AUDIT_REQUIRED=1, as on GitHub, that is exit 1 too.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
FILES = [CHECKOUT / "requirements-dev.lock", CHECKOUT / "requirements-torch.txt"]
HASHES = re.compile(r" \\\n +--hash=\S+")
# The exceptions of its library for the web, by name, wherever in the traceback.
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "SSLError", "ProxyError", "HTTPError")


def ask(files: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """What pip-audit says of them; what they need in turn is in them already."""
    pins = [HASHES.sub("", file.read_text(encoding="utf-8")) for file in files]  # it wants hashes of all, or of none
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("\n".join(pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
        command += ["--disable-pip", "--no-deps", "-r", str(file)]
        return subprocess.run(command, capture_output=True, text=True)


def verdict(code: int, said: str, complained: str, required: bool) -> tuple[int, list[str]]:
    """The exit code for what pip-audit wrote on stdout and stderr, and the lines to say."""
    try:
        packages: list[Mapping[str, Any]] = json.loads(said)["dependencies"]
    except (ValueError, LookupError, TypeError):
        last = (complained.strip().splitlines() or ["nothing on stderr"])[-1]
        if any(word in complained for word in UNREACHABLE):
            return int(required), [f"not audited, the database cannot be reached: {last}"]
        return 1, [f"pip-audit failed, exit {code}: {last}"]
    found = [
        f"{package['name']} {package['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'none'}"
        for package in packages
        for each in package.get("vulns", [])
    ]
    audited = sum("vulns" in package for package in packages)
    left = [package["name"] for package in packages if "vulns" not in package]
    if not audited:
        return int(required), [
            f"not audited: of {len(packages)} packages, the database that is reached here knows none"
        ]
    lines = [f"{audited} packages audited, {len(found)} known vulnerabilities", *found]
    return int(bool(found) or (required and bool(left))), lines + [f"not audited: {', '.join(left)}"] * bool(left)


def main() -> int:
    done = ask([Path(word) for word in sys.argv[1:]] or FILES)
    code, lines = verdict(done.returncode, done.stdout, done.stderr, os.environ.get("AUDIT_REQUIRED") == "1")
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
