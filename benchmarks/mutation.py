"""Puts small faults into the code, one at a time, and checks that the tests detect each of them.

    python benchmarks/mutation.py [--modules ring_buffer,health] [--folder F]

mutmut (https://mutmut.readthedocs.io) changes the functions of a copy of the program: another operator, another number,
another text, None for a value, an argument left out. Each mutant is run against the tests that reach its function, in a
separate process; one that hangs is stopped. A mutant that no test detects survives. Hypothesis tries the same examples
every time and does not shrink them. mutmut leaves out annotations, properties, defaults of dataclasses, and constants
of the module.
Writes benchmarks/results/mutation.json, with every survivor; those that cannot be detected, because they do not change
the behaviour, are explained in mutation_survivors.toml next to this file. With --folder it resumes: what has changed
since, what has survived, and what took too long, is tried again.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
RESULT = CHECKOUT / "benchmarks" / "results" / "mutation.json"
EXPLAINED = CHECKOUT / "benchmarks" / "mutation_survivors.toml"
#: what is mutated, and the tests that are there for it
MODULES = {
    "realtime/audio/ring_buffer.py": ["realtime/audio/test_ring_buffer.py"],
    "realtime/stream/smoothing.py": ["realtime/stream/test_smoothing.py"],
    "realtime/stream/health.py": ["realtime/stream/test_health.py"],
    "models/bundle.py": ["models/test_bundle.py"],
}
#: what takes seconds and proves what others of the same files prove too
SLOW = [
    "models/test_bundle.py::test_bundled_models_reproduce_their_golden_logits",
    "realtime/audio/test_ring_buffer.py::test_no_window_is_torn_at_ten_times_real_time",
    "realtime/audio/test_ring_buffer.py::test_no_window_is_torn_even_when_the_writer_overtakes_the_reader",
]
NOTICED = ("killed", "timeout", "segfault")
PYPROJECT = """
[tool.pytest.ini_options]
timeout = 300
pythonpath = ["tests", "tests/support"]

[tool.mutmut]
source_paths = ["instrec_live"]
only_mutate = {modules}
also_copy = ["conftest.py"]
pytest_add_cli_args = {words}
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
timeout_multiplier = 4.0
timeout_constant = 3.0
"""
CONFTEST = """
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from instrec_live.models import bundle
from instrec_live.realtime.audio import ring_buffer

settings.register_profile(
    "mutation", deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)
for module in (bundle, ring_buffer):
    assert Path(module.__file__).is_relative_to(Path(__file__).parent), "not the copy"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ("hypothesis" in item.keywords, item.nodeid))  # what is quick comes first
"""


def copy(folder: Path, modules: list[str]) -> None:
    """What mutmut needs, in the folder: the program by its installed name, its tests, and settings; once more if it is
    there."""
    skipped = shutil.ignore_patterns("__pycache__", "__snapshots__", "bundles")
    shutil.copytree(CHECKOUT / "src" / "instrec_live", folder / "instrec_live", ignore=skipped, dirs_exist_ok=True)
    for package in ("models", "realtime"):
        shutil.copytree(CHECKOUT / package, folder / "instrec_live" / package, ignore=skipped, dirs_exist_ok=True)
    shutil.copytree(CHECKOUT / "tests", folder / "tests", ignore=skipped, dirs_exist_ok=True)
    bundles = folder / "mutants" / "instrec_live" / "models" / "bundles"
    if not bundles.exists():
        bundles.parent.mkdir(parents=True)
        bundles.symlink_to(CHECKOUT / "models" / "bundles")
    tests = sorted({f"tests/{test}" for module in modules for test in MODULES[module]})
    only = [f"instrec_live/{module}" for module in modules]
    words = ["-p", "no:cacheprovider", "--hypothesis-profile=mutation", *(f"--deselect=tests/{test}" for test in SLOW)]
    lists = {"modules": only, "tests": tests, "words": words}
    settings = PYPROJECT.format(**{name: json.dumps(each) for name, each in lists.items()})
    (folder / "pyproject.toml").write_text(settings)
    (folder / "conftest.py").write_text(CONFTEST)


def mutmut(folder: Path, *words: str, quiet: bool = True) -> str:
    """Run mutmut in the folder; returns what it says."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "mutants"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mutmut"), *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"mutmut {' '.join(words)}: exit {done.returncode}\n{done.stdout or ''}")
    return done.stdout or ""


def outcomes(folder: Path) -> dict[str, str]:
    """What became of every mutant, by its name."""
    return dict(re.findall(r"^ +(\S+): (.+)$", mutmut(folder, "results", "--all", "true"), re.MULTILINE))


def change(folder: Path, mutant: str) -> dict[str, str]:
    """The lines that a mutant changes, as they were and as they are in it."""
    lines = mutmut(folder, "show", mutant).splitlines()
    was = [line[1:].strip() for line in lines if re.match(r"-(?!--)", line)]
    becomes = [line[1:].strip() for line in lines if re.match(r"\+(?!\+\+)", line)]
    return {"was": "\n".join(was), "becomes": "\n".join(becomes)}


def function(mutant: str) -> str:
    """The function's name out of mutmut's name of a mutant: module.xǁClassǁfunction__mutmut_3, module.x_function__…"""
    name = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return name.removeprefix("xǁ").replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")


def line_of(file: Path, was: str, name: str) -> int:
    """The line number of the first line of a change, counted from 1; in or below the function of that name.

    Raises:
        ValueError: nowhere.
    """
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    at = 0
    for part in name.split("."):
        heads = (f"class {part}:", f"class {part}(", f"def {part}(")
        at = next((i for i, line in enumerate(lines) if i >= at and line.startswith(heads)), len(lines))
    return lines.index(was.splitlines()[0], at) + 1


def explanations() -> list[dict[str, str]]:
    """The survivors that are explained."""
    return tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("survivor", []) if EXPLAINED.exists() else []


def why(module: str, survivor: dict[str, Any], explained: list[dict[str, str]]) -> str | None:
    """Why a survivor changes nothing, if that is explained."""
    same = ("function", "was", "becomes")
    found = [each for each in explained if each["module"] == module and all(each[k] == survivor[k] for k in same)]
    return found[0]["why"] if found else None


def results_of(folder: Path, module: str, states: dict[str, str]) -> dict[str, Any]:
    """The figures of one module, and its survivors."""
    prefix = f"instrec_live.{module.removesuffix('.py').replace('/', '.')}."
    mine = {name: state for name, state in states.items() if name.startswith(prefix)}
    counts = Counter(mine.values())
    detected = sum(counts[state] for state in NOTICED)
    survivors = []
    for name, state in mine.items():
        if state not in NOTICED:
            survivor = {"function": function(name), **change(folder, name), "state": state}
            survivor["line"] = line_of(folder / "instrec_live" / module, survivor["was"], survivor["function"])
            survivors.append(survivor | {"why": why(module, survivor, explanations())})
    return {
        "tests": MODULES[module],
        "mutants": len(mine),
        "killed": detected - counts["timeout"],
        "timeouts": counts["timeout"],
        "survived": len(survivors),
        "explained": sum(survivor["why"] is not None for survivor in survivors),
        "share": round(detected / len(mine), 4),
        "survivors": sorted(survivors, key=lambda survivor: survivor["line"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {Path(module).stem: module for module in MODULES}
    parser.add_argument("--modules", default=",".join(names), help="which, with commas (all; a part is not written)")
    parser.add_argument("--folder", type=Path, help="of the copy, to stay: `mutmut browse` in it shows all")
    args = parser.parse_args()
    modules = [names[name] for name in args.modules.split(",")]
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        folder = args.folder or Path(scratch)
        again = (folder / "mutants").exists()
        copy(folder, modules)
        mutmut(folder, "run", "--max-children", "1", quiet=False)
        survivors = [name for name, state in outcomes(folder).items() if state not in ("killed", "segfault")]
        if again and survivors:
            mutmut(folder, "run", "--max-children", "1", *survivors, quiet=False)
        states = outcomes(folder)
        results = {module: results_of(folder, module, states) for module in modules}
    for module, result in results.items():
        print(module, " ".join(f"{key} {value}" for key, value in result.items() if key not in ("tests", "survivors")))
        for each in result["survivors"]:
            if each["why"] is None:
                print(f"  {module}:{each['line']} {each['function']} ({each['state']})")
                print(f"    - {each['was']}\n    + {each['becomes']}")
    if modules == list(MODULES):
        content = {
            "command": "python benchmarks/mutation.py",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "mutmut": importlib.metadata.version("mutmut"),
            "modules": results,
        }
        RESULT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
