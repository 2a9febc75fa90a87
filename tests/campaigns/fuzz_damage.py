"""Random damage to files: bits, bytes, cuts, copies, and tokens of texts swapped or replaced."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_TOKEN = re.compile(rb"[\w.+\-]+|[^\w.+\-]")
NUMBERS = (
    *(b"0", b"-1", b"1", b"255", b"256", b"65536", b"2147483648", b"4294967296", b"0.5", b"-0"),
    *(b"18446744073709551616", b"1e5", b"1e999", b"-1e999", b"NaN", b"Infinity", b".inf", b".nan"),
    *(b"9" * 400, b"9" * 5000, b"0x_", b"0b", b"1_000", b"1:30:00", b"2026-02-30", b"\xd9\xa3"),
)
NAMES = (
    *(b"", b" ", b"..", b"../../x", b"/", b"C:/x", b"\\", b"a\\|b", b"a/b.png", b"x" * 300, b"~"),
    *(b"<script>alert(1)</script>", b"[/b]", b"[red]", b"nan", b"null", b"true", b"None"),
    *(b"\x00", b"\x1b[2J", b"\r", b"\n", b"\t", b"\xc2\x9b5m", b"\xe2\x80\xae", b"\xe2\x80\xa8"),
    *(b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9"),
)
MARKS = (
    *(b"[]", b"{}", b'""', b'"', b"'", b",", b":", b";", b"|", b"=", b"\\u0000", b"\\ud800", b"#"),
    *(b"[" * 3000, b'{"a":' * 3000, b"[" * 3000 + b"]" * 3000, b"- " * 1500, b"(" * 300),
)
COMMON = (*NUMBERS, *NAMES, *MARKS)
"""Tokens that readers of any format may stumble over."""
_WORDS = tuple(
    value.to_bytes(size, order)
    for size in (2, 4, 8)
    for value in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, 65535)
    for order in ("little", "big")
)
"""Integers at the ends of their ranges, for the counts and offsets of binary formats."""


def damaged(
    content: bytes, rng: random.Random, others: Sequence[bytes], tokens: Sequence[bytes] = ()
) -> bytes:
    """Return a file with one to four random changes.

    Args:
        content: a valid file.
        rng: decides everything.
        others: valid files of the same kind, parts of which are inserted.
        tokens: words of the format; `COMMON` ones are used, too.
    """
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not data:
            break
        change = rng.choice(_CHANGES)
        change(data, rng, rng.choice(others), tokens)
    return bytes(data)


def _flip_bits(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _delete(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    at = rng.randrange(len(data))
    del data[at : at + _length(data, rng)]


def _cut_off(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(data: bytearray, rng: random.Random, other: bytes, _tokens: object) -> None:
    at, start = rng.randrange(len(data)), rng.randrange(max(1, len(other)))
    replaced = rng.choice((0, _length(data, rng)))
    data[at : at + replaced] = other[start : start + _length(data, rng)]


def _overwrite(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    at, word = rng.randrange(len(data)), rng.choice(_WORDS)
    data[at : at + len(word)] = word


def _repeat(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + _length(data, rng)] * rng.choice((1, 2, 20, 300))


def _replace_token(
    data: bytearray, rng: random.Random, _other: bytes, tokens: Sequence[bytes]
) -> None:
    start, end = rng.choice(_tokens_of(data))
    own = bool(tokens) and rng.random() < 0.5
    data[start:end] = rng.choice(tokens if own else COMMON)


def _swap_tokens(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    found = _tokens_of(data)
    (start, end), (later, last) = sorted((rng.choice(found), rng.choice(found)))
    if end <= later:
        one, two = bytes(data[start:end]), bytes(data[later:last])
        data[later:last], data[start:end] = one, two


def _swap_lines(data: bytearray, rng: random.Random, _other: bytes, _tokens: object) -> None:
    lines = bytes(data).split(b"\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = rng.choice(((lines[two], lines[one]), (b"", lines[one])))
    data[:] = b"\n".join(lines)


_CHANGES = (
    *(_flip_bits, _flip_bits, _delete, _cut_off, _splice, _overwrite, _repeat),
    *(_replace_token, _replace_token, _replace_token, _swap_tokens, _swap_lines),
)


def _length(data: bytearray, rng: random.Random) -> int:
    return rng.randint(1, rng.choice((1, 4, 16, 1 + len(data) // 4)))


def _tokens_of(data: bytearray) -> list[tuple[int, int]]:
    """Return the positions of words and marks near a few places of a file."""
    return [match.span() for match in _TOKEN.finditer(data)] or [(0, len(data))]
