"""A table that keeps three things together: the raw SI value, the text a person reads, its record.

The CSV file takes the raw values, Markdown and HTML the texts; HTML also links each number to the
record it came from. `costs.py` and others say what is in a table; here is how one is made.

A table for a paper: LaTeX with the rules of booktabs, every sign safe.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pks4.bench import units
from pks4.bench.view.rows import Row


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its key in CSV, its heading for people, and how its values are shown.

    `unit` MAC, B, s or parameters puts the whole column on one scale, named in the heading.
    `numeric` aligns right. `context` columns are left out for people when they hold one value
    throughout (the table's note names it), `raw_only` columns always.
    """

    key: str
    heading: str
    unit: str | None = None
    numeric: bool = False
    context: bool = False
    raw_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field: the raw value, its text, the record behind it, the family that it names.

    `url` leads out of the report, to where a published number stands.
    """

    value: Any = None
    text: str = units.MISSING
    source: Row | None = None
    family: str | None = None
    tone: str | None = None
    url: str | None = None


Line = Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table; `shown` are the columns that people see."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    shown: tuple[Column, ...]
    lines: tuple[Line, ...]

    def raw(self) -> pd.DataFrame:
        """Raw SI values, one column a key; integers stay integers beside gaps."""
        values = [[line[column.key].value for column in self.columns] for line in self.lines]
        return pd.DataFrame(values, columns=[column.key for column in self.columns], dtype=object)

    def markdown(self) -> str:
        """The texts as a Markdown table under its title, with the note."""
        texts = [[_linked(line[column.key]) for column in self.shown] for line in self.lines]
        body = (
            pd.DataFrame(texts, columns=[escape(c.heading) for c in self.shown]).to_markdown(
                index=False,
                disable_numparse=True,
                colalign=["right" if column.numeric else "left" for column in self.shown],
            )
            if texts
            else "Nothing to show."
        )
        return f"**{escape(self.title)}**\n\n{body}\n\n{escape(self.note)}\n"


def text(value: object) -> Entry:
    """A field of words; an empty one shows the dash."""
    return Entry(value=value, text=units.MISSING if value is None else str(value))


def amount(value: float, source: Row) -> Entry:
    """A part of a record, such as the bytes of one stage, on the scale of its column."""
    return Entry(value=value, text="", source=source)


def number(row: Row | None, shown: str | None = None) -> Entry:
    """The value of a record; None gives an empty field. `shown` replaces the column's own text."""
    if row is None:
        return Entry()
    return Entry(value=row.value, text=shown or "", source=row)


def table(
    *, name: str, title: str, note: str, columns: Sequence[Column], lines: Sequence[Line]
) -> Table:
    """Put scaled columns on their scale and drop, for people, the columns that say nothing."""
    scaled, texts = _scaled(columns, lines)
    constant = [c for c in scaled if c.context and len({line[c.key].text for line in lines}) <= 1]
    empty = [c for c in scaled if lines and all(line[c.key].value is None for line in lines)]
    shown = [c for c in scaled if c not in [*constant, *empty] and not c.raw_only]
    told = [f"{c.heading} {lines[0][c.key].text}" for c in constant if lines]
    told = [words for words in told if units.MISSING not in words]
    note = " ".join([note, *([f"Throughout: {', '.join(told)}."] if told else [])]).strip()
    return Table(
        name=name,
        title=title,
        note=note,
        columns=tuple(scaled),
        shown=tuple(shown),
        lines=tuple(texts),
    )


def escape(words: str) -> str:
    """Words with the signs that Markdown and HTML would act on made harmless, on one line."""
    plain = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", " ".join(words.split()))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _linked(entry: Entry) -> str:
    words = escape(entry.text)
    return f"[{words}]({entry.url})" if entry.url else words


def _scaled(
    columns: Sequence[Column], lines: Sequence[Line]
) -> tuple[list[Column], list[dict[str, Entry]]]:
    done = [dict(line) for line in lines]
    headed = []
    for column in columns:
        if column.unit is None:
            headed.append(column)
            continue
        scale = units.scale_for([line[column.key].value for line in done], column.unit)
        for line in done:
            entry = line[column.key]
            if not entry.text:
                line[column.key] = replace(entry, text=scale.text(entry.value))
        symbol = f" ({scale.symbol})" if scale.symbol else ""
        headed.append(replace(column, heading=f"{column.heading}{symbol}", numeric=True))
    return headed, done


# Signs that LaTeX would act on, or has no letter for, as it writes them.
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "÷": r"$\div$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "…": r"\ldots{}",
    "\N{EN DASH}": "--",
    "·": r"$\cdot$",
    "²": r"$^2$",
}


def latex(table: Table) -> str:
    """The texts that people see, with title and note as the caption."""
    texts = [[escaped(line[column.key].text) for column in table.shown] for line in table.lines]
    headings = [escaped(column.heading) for column in table.shown]
    return pd.DataFrame(texts, columns=headings, dtype=object).to_latex(
        index=False,
        column_format="".join("r" if column.numeric else "l" for column in table.shown),
        caption=escaped(f"{table.title}. {table.note}"),
        label=f"tab:{table.name}",
    )


def escaped(words: str) -> str:
    """Words as LaTeX shows them."""
    return "".join(_SIGNS.get(sign, sign) for sign in words)
