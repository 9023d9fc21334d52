"""No test asserts that something took at most so long, unless it is marked timing: a machine may be busy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time.time"}


def reads_a_clock(node: ast.AST) -> bool:
    """Whether a call of one of the clocks is in it."""
    calls = (ast.unparse(each.func) for each in ast.walk(node) if isinstance(each, ast.Call))
    return any(call in CLOCKS or call.rpartition(".")[2] in CLOCKS for call in calls)


def at_least(test: ast.expr) -> bool:
    """Whether it is `clock - began > seconds`, which a busy machine can only make truer."""
    match test:
        case ast.Compare(left=left, ops=[ast.Gt() | ast.GtE()], comparators=[right]):
            return reads_a_clock(left) and not reads_a_clock(right)
    return False


def is_timing(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("mark.timing" in ast.unparse(decorator) for decorator in node.decorator_list)


def clock_assertions(source: str) -> Iterator[int]:
    """The lines of assertions, in tests that are not marked timing, that a busy machine can make fail."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or is_timing(function):
            continue
        if function.name.startswith("test"):
            for node in ast.walk(function):
                if isinstance(node, ast.Assert) and reads_a_clock(node.test) and not at_least(node.test):
                    yield node.lineno


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_no_assertion_depends_on_how_busy_the_machine_is(path: Path) -> None:
    assert list(clock_assertions(path.read_text(encoding="utf-8"))) == []


def test_the_check_finds_them() -> None:
    plain = "def test_it():\n    began = time.monotonic()\n    assert time.monotonic() - began {}\n"
    assert list(clock_assertions(plain.format("< 2"))) == [3]
    assert list(clock_assertions(plain.format("== pytest.approx(1, abs=0.5)"))) == [3]
    assert list(clock_assertions(plain.format("> 2"))) == []
    assert list(clock_assertions("@pytest.mark.timing\n" + plain.format("< 2"))) == []
