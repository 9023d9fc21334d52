"""The locked packages are all that pyproject.toml requires of a developer; pip-audit's output is parsed."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parent.parent
LOCK = (CHECKOUT / "requirements-dev.lock").read_text(encoding="utf-8")
TORCH = (CHECKOUT / "requirements-torch.txt").read_text(encoding="utf-8")
ENTRY = re.compile(
    r"^([a-z0-9-]+)==(\S+)( ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def wanted() -> list[Requirement]:
    """What the program and its extra [dev] name, with the extras that this one names."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named, extras = list(project["dependencies"]), ["dev"]
    for extra in extras:
        for each in map(Requirement, project["optional-dependencies"][extra]):
            if each.name == project["name"]:
                extras += each.extras - set(extras)
            else:
                named.append(str(each))
    return [Requirement(each) for each in named]


def pinned() -> dict[str, set[str]]:
    """The versions of each package, in both files."""
    found: dict[str, set[str]] = {}
    torch = re.findall(r"^(\w+)==(\S+)$", TORCH, re.MULTILINE)
    for name, version in [*((entry[1], entry[2]) for entry in ENTRY.finditer(LOCK)), *torch]:
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("requirement", sorted(wanted(), key=str), ids=str)
def test_what_is_asked_for_is_locked(requirement: Requirement) -> None:
    versions = pinned().get(canonicalize_name(requirement.name))
    assert versions, "not locked: `just lock`"
    assert all(requirement.specifier.contains(version) for version in versions), "locked otherwise: `just lock`"


def test_each_entry_has_its_checksums_and_no_address() -> None:
    entries = [line for line in LOCK.splitlines() if line and line[0] not in " #"]
    assert len(entries) == len(list(ENTRY.finditer(LOCK))) > 100
    assert "://" not in LOCK + TORCH
    assert not {"torch", "torchaudio", "torchvision", "triton"} & {entry[1] for entry in ENTRY.finditer(LOCK)}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", CHECKOUT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


WELL = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "soxr", "skip_reason": "Dependency not found on PyPI and could not be audited: soxr (1.1.0)"}
ILL = {"name": "jinja2", "version": "3.1.6", "vulns": [{"id": "GHSA-1", "fix_versions": ["99.0"], "aliases": []}]}


@pytest.mark.parametrize("required", [False, True])
def test_a_known_vulnerability_fails(audit: ModuleType, required: bool) -> None:
    code, lines = audit.verdict(1, said(WELL, ILL, UNKNOWN), "", required)
    assert code == 1
    assert "jinja2 3.1.6: GHSA-1, mended in 99.0" in lines
    assert "not audited: soxr" in lines


def test_none_is_well(audit: ModuleType) -> None:
    assert audit.verdict(0, said(WELL), "", True) == (0, ["1 packages audited, 0 known vulnerabilities"])


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (said(UNKNOWN), ""),
        ("", "Traceback…\nrequests.exceptions.ConnectionError: no such host"),
    ],
)
def test_no_database_fails_only_where_it_is_required(audit: ModuleType, stdout: str, stderr: str) -> None:
    for required in (False, True):
        code, lines = audit.verdict(0, stdout, stderr, required)
        assert code == required
        assert lines[0].startswith("not audited")


def test_what_is_not_understood_fails(audit: ModuleType) -> None:
    for stdout, stderr in (("", "error: no such option"), ("[]", ""), ("{}", "")):
        assert audit.verdict(2, stdout, stderr, False)[0] == 1


def test_the_audit_runs_without_checksums(audit: ModuleType) -> None:
    bare = audit.HASHES.sub("", LOCK)
    assert "--hash" not in bare
    assert re.search(r"^numpy==\S+ ; python_full_version < '3.12'$", bare, re.MULTILINE)
