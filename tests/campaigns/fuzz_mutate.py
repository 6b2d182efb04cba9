"""Damage to real files, from a seed: the same seed, file and number give the same damage."""

import io
import random
import zipfile
from collections.abc import Callable

HUGE = (b"9" * 5000, b"1e999", b"-1", b"0", b"NaN", b"4294967296", b"0x7fffffffffffffff", b"1_0")
STRANGE = (
    b"\x00", b"\x1b[2J\x1b]0;title\x07", b"\xff\xfe", b"\xe2\x80\xae", b"\r", b"\n", b'"', b"'''",
    b"../../../../etc/passwd", b"/dev/zero", b"\\", b"$(id)", b"{{7*7}}", b"<script>", b"[red]",
    b"\xed\xa0\x80",
)  # fmt: skip
NESTS = (b"[", b"{a=", b'{"a":', b"(", b"[[", b"a.")
WORDS = b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
Damage = Callable[[bytearray, random.Random], bytearray]


def _span(data: bytearray, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(data) + 1)
    return begin, min(len(data), begin + int(chance.paretovariate(0.5)))


def flip(data: bytearray, chance: random.Random) -> bytearray:
    """One to sixteen bits."""
    for _ in range(chance.randint(1, 16) if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def cut(data: bytearray, chance: random.Random) -> bytearray:
    """The end is gone."""
    return data[: chance.randrange(len(data) + 1)]


def delete(data: bytearray, chance: random.Random) -> bytearray:
    """A span is gone."""
    begin, end = _span(data, chance)
    return data[:begin] + data[end:]


def double(data: bytearray, chance: random.Random) -> bytearray:
    """A span stands twice, the second time anywhere."""
    begin, end = _span(data, chance)
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[begin:end] + data[at:]


def insert(data: bytearray, chance: random.Random) -> bytearray:
    """Bytes that mean something to somebody."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(STRANGE) * chance.choice([1, 1, 3]) + data[at:]


def huge(data: bytearray, chance: random.Random) -> bytearray:
    """A number in the text becomes a strange one."""
    digits = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte < 58]
    if not digits:
        return word(data, chance)
    at = chance.choice(digits)
    return data[:at] + chance.choice(HUGE) + data[at + 1 :]


def word(data: bytearray, chance: random.Random) -> bytearray:
    """Four bytes become those of an extreme number."""
    at = chance.randrange(max(1, len(data) - 3))
    data[at : at + 4] = chance.choice(WORDS)
    return data


def nest(data: bytearray, chance: random.Random) -> bytearray:
    """Brackets to a great depth."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(NESTS) * chance.choice([10, 1000, 20_000]) + data[at:]


def lines(data: bytearray, chance: random.Random) -> bytearray:
    """Two lines change places."""
    parts = data.split(b"\n")
    a, b = chance.randrange(len(parts)), chance.randrange(len(parts))
    parts[a], parts[b] = parts[b], parts[a]
    return bytearray(b"\n".join(parts))


DAMAGES: tuple[Damage, ...] = (flip, flip, cut, delete, double, insert, huge, word, nest, lines)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes after one to three kinds of damage; of an archive, half of the time, a member's."""
    if data.startswith(b"PK\x03\x04") and chance.random() < 0.5:
        return _in_archive(data, chance)
    found = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 3])):
        found = chance.choice(DAMAGES)(found, chance)
    return bytes(found)


def _in_archive(data: bytes, chance: random.Random) -> bytes:
    """The archive with one member damaged and every checksum right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = chance.choice(sorted(members))
    members[victim] = bytes(chance.choice(DAMAGES)(bytearray(members[victim]), chance))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()
