"""Numbers for people: the one place that turns SI values into short text with a unit.

Records hold base values (MAC, B, s, 1) and only printing scales them. MACs and counts take decimal
prefixes (1 GMAC = 10^9 multiply-adds); bytes take binary ones (1 MiB = 2^20 bytes). Three
significant digits are shown, more only where whole thousands need them; the raw value stays in the
CSV files. A column or an axis has one scale, picked by `scale_for` from the values it holds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pks4.errors import UserError

NAMES_SHOWN = 6  # in a note about many
MISSING = "–"  # noqa: RUF001 - the dash that a table shows for "no value"


@dataclass(frozen=True)
class Scale:
    """A unit that people read: `symbol`, and how many base units it holds."""

    symbol: str
    factor: float

    def text(self, value: float | None) -> str:
        """The bare number in this unit, without the symbol."""
        return MISSING if value is None else significant(value / self.factor)


_LADDERS: dict[str, tuple[Scale, ...]] = {
    "MAC": tuple(Scale(f"{p}MAC", 1000.0**n) for n, p in enumerate(["", "k", "M", "G", "T", "P"])),
    "B": tuple(Scale(f"{p}B", 1024.0**n) for n, p in enumerate(["", "Ki", "Mi", "Gi", "Ti"])),
    "s": (
        Scale("µs", 1e-6),
        Scale("ms", 1e-3),
        Scale("s", 1.0),
        Scale("min", 60.0),
        Scale("h", 3600.0),
    ),
    "parameters": (Scale("M", 1e6),),
}


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, whole thousands in full: 0.0273, 28.2, 1,136."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{value:,.{max(0, decimals)}f}"


def scale_for(values: Iterable[float | None], unit: str) -> Scale:
    """The largest scale at which the smallest value that is not zero still reads as 1 or more.

    `unit` is MAC, B, s or parameters (always millions). Where the values span more than four
    decades (a tiny and a full scale in one column), the median decides instead of the smallest.
    """
    sizes = sorted(abs(value) for value in values if value)
    if not sizes:
        return _LADDERS[unit][0]
    wide = sizes[-1] > 10_000 * sizes[0]
    return _pick(sizes[len(sizes) // 2] if wide else sizes[0], unit)


def quantity(value: float | None, unit: str) -> str:
    """One number with its unit, for a sentence: `141.7e9, "MAC"` gives `142 GMAC`."""
    if value is None:
        return MISSING
    scale = _pick(abs(value), unit)
    return f"{scale.text(value)} {scale.symbol}".rstrip()


def in_full(value: float, unit: str | None, share: bool = False) -> str:
    """A number to its last digit, and how it is read: `259,111,460 B (247 MiB)`, `0.25 (25.0 %)`.

    `share`: a fraction of 1 that is read as a percentage.
    """
    raw = f"{value:,}" if unit in (None, "1") else f"{value:,} {unit}"
    if share:
        return f"{raw} ({percent(value)})"
    scaled = unit in ("B", "MAC", "s") and _pick(abs(value), str(unit)).factor != 1
    return f"{raw} ({quantity(value, str(unit))})" if scaled else raw


def short(value: float, unit: str | None) -> str:
    """A whole number to its last digit, another to four, with its unit unless that is 1."""
    suffix = "" if unit in (None, "", "1") else f" {unit}"
    return f"{value:,}{suffix}" if isinstance(value, int) else f"{value:.4g}{suffix}"


def _pick(size: float, unit: str) -> Scale:
    ladder = _LADDERS[unit]
    fitting = [scale for scale in ladder if size >= scale.factor]
    return fitting[-1] if fitting else ladder[0]


def tick(value: float, unit: str) -> str:
    """A round number on an axis, without trailing zeros: `256 MiB`, `3 TMAC`."""
    scale = _pick(abs(value), unit)
    return f"{value / scale.factor:.4g} {scale.symbol}".rstrip()


def times(ratio: float | None) -> str:
    """A factor: `22.2×`."""
    return MISSING if ratio is None else f"{significant(ratio)}×"  # noqa: RUF001 - the sign is meant


def percent(fraction: float | None) -> str:
    """A fraction of 1 as a percentage with one decimal: `64.2 %`."""
    return MISSING if fraction is None else f"{100 * fraction:.1f} %"


def percent_interval(interval: tuple[float, float] | None) -> str:
    """The two ends of an interval of fractions, without the sign: `60.1 to 68.0`."""
    if interval is None:
        return MISSING
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def level(share: float) -> str:
    """The level of an interval: `95 %`."""
    return f"{100 * share:.3g} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, signed: `-12.3`."""
    return f"{100 * difference:+.1f}"


def point_interval(interval: tuple[float, float]) -> str:
    """The two ends of an interval of differences, in percentage points: `-14.0 to +1.2`."""
    return f"{points(interval[0])} to {points(interval[1])}"


def ratio_interval(interval: tuple[float, float] | None) -> str:
    """The two ends of an interval of ratios: `0.97 to 1.04`."""
    return MISSING if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def whole(value: int | None) -> str:
    """An integer in full, with thousands: `73,216`."""
    return MISSING if value is None else f"{value:,}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number of things: `1 cell`, `3 cells`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def some(names: Sequence[str], what: str) -> str:
    """How many, and the first of them by name: `2 cells (a, b)`, `9 gaps (a, …, f and 3 more)`."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{counted(len(names), what)} ({', '.join(names[:NAMES_SHOWN])}{more})"


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them: `a, b and c`, with semicolons if one of them has a comma."""
    items = list(words)
    comma = "; " if any("," in item for item in items) else ", "
    return " and ".join([comma.join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def bytes_of(text: str) -> int:
    """24GB, 24 GiB or 8e9 as bytes; as memory is sold, GB of 2^30 bytes as GiB.

    Raises UserError for anything else.
    """
    units = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
    plain = text.strip().upper().replace("IB", "B")
    number = plain.rstrip("KMGTB ")
    unit = plain[len(number) :].strip()
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        raise UserError(f"{text!r} is no amount of memory; say 24GB, 512MB or 8e9") from None
    if not 2**20 <= value < 2**60:
        raise UserError(f"{text!r} is no amount of memory that holds a model; say 24GB or 512MB")
    return int(value)
