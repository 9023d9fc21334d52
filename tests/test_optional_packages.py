"""The program runs with nothing but its base installation, and the test suite with [test] alone.

Static checks, so that they also hold where everything is installed: imports are followed through the project's own
modules to the packages that they load.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent
ROOTS = {"instrec_live.models": "models", "instrec_live.realtime": "realtime", "instrec_live.training": "training"}
SCRIPTS = [TESTS, *(folder for folder in TESTS.rglob("*") if folder.is_dir()), CHECKOUT / "benchmarks"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a distribution asks for; the project, by pyproject.toml, for what is installed may be older."""
    if name == "instrec-live":
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
        needed = [Requirement(line) for each in lists for line in each]
    else:
        try:
            needed = list(map(Requirement, requires(name) or []))
        except PackageNotFoundError:
            return  # for another platform
    for each in needed:
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield each


def closure(name: str, extras: frozenset[str]) -> set[str]:
    """The distributions that installing `name` with these extras brings, itself included."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, extras)]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += [(canonical(needed.name), frozenset(needed.extras)) for needed in needed_by(*each)]
    return {name for name, _ in found}


@cache
def installed_with(*extras: str) -> set[str]:
    """The import names that `pip install 'instrec-live[extras]'` brings, the standard library's among them."""
    brought = closure("instrec-live", frozenset(extras))
    ours = {name for name, owners in packages_distributions().items() if brought & set(map(canonical, owners))}
    return ours | set(sys.stdlib_module_names)


@cache
def file_of(module: str) -> Path | None:
    """The file of one of the project's modules, of a test helper or of a benchmark."""
    candidates = []
    for package, folder in [*ROOTS.items(), ("instrec_live", "instrec_live")]:
        if module == package or module.startswith(f"{package}."):
            rest = module[len(package) :].replace(".", "/")
            candidates.append(CHECKOUT / (folder + rest))
            break
    else:
        candidates += [folder / module.replace(".", "/") for folder in SCRIPTS]
    for path in candidates:
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules_of(statement: ast.stmt) -> list[str]:
    """The modules that an import loads; of `from a import b`, a.b too if it is one of ours."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module:
        inner = [f"{statement.module}.{alias.name}" for alias in statement.names]
        return [statement.module, *(name for name in inner if file_of(name))]
    return []


def guard_of(statement: ast.AST) -> Iterator[str]:
    """The packages that importorskip asks for, somewhere in the statement."""
    for call in ast.walk(statement):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("importorskip"):
            argument = call.args[0]
            assert isinstance(argument, ast.Constant), ast.unparse(call)
            yield argument.value.split(".")[0]


def statements(body: list[ast.stmt], functions: bool) -> Iterator[ast.stmt]:
    """Those that run at import, or those in functions as well, in the order of the file."""
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from statements(statement.orelse, functions)
            continue
        if isinstance(statement, ast.Try) and any("ImportError" in ast.unparse(h) for h in statement.handlers):
            continue  # it knows what to do without
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and not functions:
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(statement, field, []), functions)


@cache
def needs(module: str) -> frozenset[str]:
    """The packages outside the project and the standard library that importing the module loads.

    Not those that it asks for with importorskip.
    """
    return frozenset(_needs(module, set()))


def _needs(module: str, seen: set[str]) -> set[str]:
    found: set[str] = set()
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        path = file_of(name)
        if path is None or name in seen:
            continue
        seen.add(name)
        guards: set[str] = set()
        for statement in statements(tree(path).body, functions=False):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                guards.update(guard_of(statement))
            for each in modules_of(statement):
                found |= (_needs(each, seen) if file_of(each) else outside(each)) - guards
    return found


def outside(module: str) -> set[str]:
    top = module.split(".")[0]
    return set() if top in sys.stdlib_module_names or top in (*SCRIPT_NAMES, "instrec_live") else {top}


SCRIPT_NAMES = {path.stem for folder in SCRIPTS for path in folder.glob("*.py")} | {"models", "realtime", "training"}


def unguarded(path: Path) -> Iterator[str]:
    """Where a test file imports a package that may be absent, with no importorskip before it."""
    module_guards: set[str] = set()
    for statement in tree(path).body:
        guards = set(module_guards)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner: list[ast.stmt] = list(statements(statement.body, functions=True))
        else:
            inner = list(statements([statement], functions=False))
            module_guards.update(guard_of(statement))
        for each in inner:
            if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                guards.update(guard_of(each))
            for module in modules_of(each):
                loaded = needs(module) if file_of(module) else outside(module)
                missing = loaded - guards - installed_with("test")
                if missing:
                    yield f"{path.relative_to(CHECKOUT)}:{each.lineno}: {module} needs {', '.join(sorted(missing))}"


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_what_test_does_not_bring_is_asked_for_first(path: Path) -> None:
    assert list(unguarded(path)) == []


OPTIONAL = (  # modules of the program that an extra is for
    "instrec_live.models.export.",
    "instrec_live.models.networks.",
    "instrec_live.realtime.commands.serve.",
    "instrec_live.realtime.commands.tag.cluster",
)


def test_the_base_installation_is_enough() -> None:
    """What an extra brings is imported where it is used, or in a module that nothing else loads."""
    lacking = {}
    for package, folder in list(ROOTS.items())[:2]:
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            inner = ".".join(path.relative_to(CHECKOUT / folder).with_suffix("").parts)
            module = f"{package}.{inner}".removesuffix(".__init__")
            if missing := needs(module) - installed_with():
                lacking[module] = sorted(missing)
    assert {module: missing for module, missing in lacking.items() if not f"{module}.".startswith(OPTIONAL)} == {}
    assert "instrec_live.models.networks.passt" in lacking


@pytest.mark.skipif(
    sys.platform != "linux" or find_spec("importlinter") is None, reason="no development installation on Linux"
)
def test_with_dev_no_test_skips_for_want_of_a_package() -> None:
    asked = {name for path in TESTS.rglob("*.py") for name in guard_of(tree(path))} - set(sys.stdlib_module_names)
    assert {name for name in asked if find_spec(name) is None} == set()


def test_the_check_sees_through_modules() -> None:
    assert {"numpy", "pytest", "hypothesis", "json"} <= installed_with("test")
    assert not {"torch", "tqdm", "pyarrow", "ray", "openvino"} & installed_with("test")
    assert not {"pytest", "mido", "aiohttp"} & installed_with()
    assert "torch" in needs("instrec_live.training.passt")
