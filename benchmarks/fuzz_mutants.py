"""Damage done to good input: bytes, trees as JSON and TOML have them, and lines; always the same for the same seed."""

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from numpy.random import Generator

HEADER = 256  # bytes at a file's beginning that are damaged more often than the rest
NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF4, 0xFFFFFFF8,
           0xFFFFFFFE, 0xFFFFFFFF, 1_000_000, 192_000, 2**31 - 4, 2**40, 2**63 - 1, 2**64 - 1)  # fmt: skip
TAGS = (b"fmt ", b"data", b"fact", b"LIST", b"INFO", b"RIFF", b"WAVE", b"COMM", b"SSND", b"FORM", b"desc", b"pakt",
        b"kuki", b"OggS", b"fLaC", b"Xing", b"VHDR", b"BODY", b"ds64", b"PEAK", b"ID3")  # fmt: skip
TEXTS = ("", " ", "nan", "-", "--", "é", "\x1b[2J", "a\nb", "../../../etc/passwd", "/dev/null", "x" * 5_000, "\0",
         "\udcff", "%s%n", "{}", "$HOME", "CON", "1e999", "٣", "\u202e")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**200), 0.5, -0.0, 1e-320, 1e308, -1e308, math.nan, math.inf,
    -math.inf, [], {}, [[]], {"": None}, [0] * 20, *TEXTS,
)  # fmt: skip


def damaged(content: bytes, other: bytes, rng: Generator) -> bytes:
    """From one to four ways of damage to the content; `other` is something to splice it with."""
    for _ in range(1 + int(rng.integers(4)) * int(rng.integers(2))):
        content = _pick(_WAYS, rng)(content, other, rng)
    return content


def _bits(content: bytes, _: bytes, rng: Generator) -> bytes:
    new = bytearray(content)
    for _ in range(1 + int(rng.integers(16))):
        if new:
            new[_place(len(new), rng)] ^= 1 << int(rng.integers(8))
    return bytes(new)


def _cut(content: bytes, _: bytes, rng: Generator) -> bytes:
    return content[: _place(len(content), rng)]


def _number(content: bytes, _: bytes, rng: Generator) -> bytes:
    return _written(content, _place(len(content), rng), rng)


def _after_a_tag(content: bytes, _: bytes, rng: Generator) -> bytes:
    """The size of a chunk, or a field soon after."""
    tags = [tag for tag in TAGS if tag in content]
    if not tags:
        return _number(content, b"", rng)
    tag = _pick(tags, rng)
    return _written(content, content.index(tag) + len(tag) + 2 * int(rng.integers(14)), rng)


def _written(content: bytes, at: int, rng: Generator) -> bytes:
    """A number that is a limit of something, in two, four or eight bytes of either order."""
    kind = _pick(("<H", ">H", "<I", ">I", "<Q", ">Q"), rng)
    number = struct.pack(kind, _pick(NUMBERS, rng) % 256 ** struct.calcsize(kind))
    return content[:at] + number + content[at + len(number) :]


def _filled(content: bytes, _: bytes, rng: Generator) -> bytes:
    at, size = _place(len(content), rng), int(rng.integers(1, 400))
    return content[:at] + (rng.bytes(size) if rng.integers(2) else bytes(size)) + content[at + size :]


def _moved(content: bytes, _: bytes, rng: Generator) -> bytes:
    """A piece left out, put in twice, or swapped with another."""
    a, b, c = sorted(_place(len(content), rng) for _ in range(3))
    return _pick((content[:a] + content[b:], content[:b] + content[a:], content[:a] + content[b:c] + content[a:b]), rng)


def _spliced(content: bytes, other: bytes, rng: Generator) -> bytes:
    return content[: _place(len(content), rng)] + other[_place(len(other), rng) :]


_WAYS: Sequence[Callable[[bytes, bytes, Generator], bytes]] = (
    _bits, _bits, _cut, _number, _number, _after_a_tag, _after_a_tag, _filled, _moved, _spliced,
)  # fmt: skip


def damaged_tree(tree: Any, rng: Generator) -> Any:
    """The same tree of lists and mappings, one of its nodes replaced, left out, given twice or renamed."""
    if isinstance(tree, dict) and tree and rng.integers(6):
        key = _pick(list(tree), rng)
        match int(rng.integers(8)):
            case 0:
                return {name: value for name, value in tree.items() if name != key}
            case 1:
                return {(_pick(TEXTS, rng) if name == key else name): value for name, value in tree.items()}
            case 2:
                return {**tree, str(_pick(TEXTS, rng)): _pick(VALUES, rng)}
        return {**tree, key: damaged_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.integers(6):
        at = int(rng.integers(len(tree)))
        match int(rng.integers(8)):
            case 0:
                return tree[:at] + tree[at + 1 :]
            case 1:
                return tree + tree[at : at + 1] * int(rng.integers(1, 40))
        return [*tree[:at], damaged_tree(tree[at], rng), *tree[at + 1 :]]
    return _pick(VALUES, rng)


def toml(tree: Any) -> str:
    """A tree in TOML, as well as it goes: what TOML cannot hold comes out as no TOML."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(toml, tree)) + "]"
    if isinstance(tree, str):
        return quoted(tree)
    return str(tree).lower()


def quoted(text: str) -> str:
    """A text between quotes, control signs as they are."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _place(size: int, rng: Generator) -> int:
    """A place in so many bytes, half of the time in the header; 0 in none."""
    return int(rng.integers(max(1, min(size, HEADER) if rng.integers(2) else size)))


def _pick(of: Sequence[Any], rng: Generator) -> Any:
    return of[int(rng.integers(len(of)))]
