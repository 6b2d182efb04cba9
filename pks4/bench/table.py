"""One table for all that is printed: CSV, Markdown, LaTeX, HTML and the terminal.

A cell keeps three things together: the raw SI value, the text that people read, and the record that
the number came from. CSV takes the values, every other format the texts. Each format has one
escaper: `escape_markdown` and `escape_latex` here, jinja2's for HTML (`report/page.py`), and
`commands/parts/terminal.py` for a terminal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pks4.bench import units

if TYPE_CHECKING:
    import pandas as pd

_MARKDOWN = str.maketrans(
    {sign: f"\\{sign}" for sign in r"\`*_[]|#~@"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
# Signs that LaTeX would act on, or has no letter for, as it writes them.
_LATEX = str.maketrans({
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
})  # fmt: skip


class Source(Protocol):
    """The record behind a number: a page links it by `number` and describes it by `source`."""

    @property
    def number(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def value(self) -> Any: ...


@dataclass(frozen=True)
class Column:
    """One column: its key in CSV, its heading for people, and how its values are shown.

    `unit` MAC, B, s or parameters puts the whole column on one scale, named in the heading.
    `numeric` aligns right. `context` columns are left out for people when they hold one value
    throughout (the table's note names it), `raw_only` columns always.
    """

    key: str
    heading: str
    _: KW_ONLY
    unit: str | None = None
    numeric: bool = False
    context: bool = False
    raw_only: bool = False


@dataclass(frozen=True)
class TableCell:
    """One field: the raw value, its text, the record behind it, the family that it names.

    `tone` marks a cell, such as "bad"; `url` leads to where a published number is printed.
    """

    value: Any = None
    text: str = units.MISSING
    _: KW_ONLY
    source: Source | None = None
    family: str | None = None
    tone: str | None = None
    url: str | None = None


TableRow = Mapping[str, TableCell]  # by the key of the column


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table; `shown` are the columns that people see."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    shown: tuple[Column, ...]
    rows: tuple[TableRow, ...]

    def raw(self) -> "pd.DataFrame":
        """Raw SI values, one column a key; integers stay integers where a column has gaps."""
        import pandas as pd

        values = [[row[column.key].value for column in self.columns] for row in self.rows]
        return pd.DataFrame(values, columns=[column.key for column in self.columns], dtype=object)

    def markdown(self) -> str:
        """The texts as a Markdown table under its title, with the note."""
        texts = [[_linked(row[column.key]) for column in self.shown] for row in self.rows]
        headings = [escape_markdown(column.heading) for column in self.shown]
        right = [place for place, column in enumerate(self.shown) if column.numeric]
        body = markdown(headings, texts, right) if texts else "Nothing to show."
        return f"**{escape_markdown(self.title)}**\n\n{body}\n\n{escape_markdown(self.note)}\n"

    def latex(self) -> str:
        """The texts with the rules of booktabs; title and note are the caption."""
        import pandas as pd

        texts = [[escape_latex(row[column.key].text) for column in self.shown] for row in self.rows]
        headings = [escape_latex(column.heading) for column in self.shown]
        return pd.DataFrame(texts, columns=headings, dtype=object).to_latex(
            index=False,
            column_format="".join("r" if column.numeric else "l" for column in self.shown),
            caption=escape_latex(f"{self.title}. {self.note}"),
            label=f"tab:{self.name}",
        )


def table(
    *, name: str, title: str, note: str, columns: Sequence[Column], rows: Sequence[TableRow]
) -> Table:
    """Put scaled columns on their scale and drop, for people, the columns that say nothing.

    Raises ValueError for a row that lacks a column.
    """
    for column in columns:
        if any(column.key not in row for row in rows):
            raise ValueError(f"table {name!r}: a row lacks the column {column.key!r}")
    scaled, written = _scaled(columns, rows)
    constant = [c for c in scaled if c.context and len({row[c.key].text for row in rows}) <= 1]
    empty = [c for c in scaled if rows and all(row[c.key].value is None for row in rows)]
    shown = [c for c in scaled if c not in [*constant, *empty] and not c.raw_only]
    throughout = [f"{c.heading} {rows[0][c.key].text}" for c in constant if c not in empty and rows]
    if throughout:
        note = f"{note} Throughout: {', '.join(throughout)}.".strip()
    return Table(
        name=name, title=title, note=note,
        columns=tuple(scaled), shown=tuple(shown), rows=tuple(written),
    )  # fmt: skip


def words(value: object, tone: str | None = None) -> TableCell:
    """A cell whose text is its value; None shows the dash."""
    return TableCell(value, units.MISSING if value is None else str(value), tone=tone)


def part_of(source: Source, value: float) -> TableCell:
    """A part of a record, such as the bytes of one stage, on the scale of its column."""
    return TableCell(value, "", source=source)


def value_of(record: Source | None, text: str | None = None) -> TableCell:
    """The value of a record; None gives an empty cell. `text` replaces the column's own."""
    if record is None:
        return TableCell()
    return TableCell(record.value, text or "", source=record)


def markdown(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A Markdown table of texts that are escaped already; the columns `right` align right."""
    rule = "|".join("---:" if place in right else "---" for place in range(len(headings)))
    lines = [f"| {' | '.join(row)} |" for row in (headings, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def escape_markdown(text: str) -> str:
    """Text that Markdown, and the HTML in it, show as it is, on one line."""
    return " ".join(text.split()).translate(_MARKDOWN)


def escape_latex(text: str) -> str:
    """Text as LaTeX shows it."""
    return text.translate(_LATEX)


def _linked(cell: TableCell) -> str:
    text = escape_markdown(cell.text)
    return f"[{text}]({cell.url})" if cell.url else text


def _scaled(
    columns: Sequence[Column], rows: Sequence[TableRow]
) -> tuple[list[Column], list[TableRow]]:
    """The columns with their scale in the heading, and the rows with texts on that scale."""
    scales = {
        column.key: units.scale_for([row[column.key].value for row in rows], column.unit)
        for column in columns
        if column.unit
    }
    headed = [
        replace(column, heading=f"{column.heading} ({scale.symbol})".removesuffix(" ()"),
                numeric=True)
        if (scale := scales.get(column.key))
        else column
        for column in columns
    ]  # fmt: skip
    written: list[TableRow] = [
        {key: _on_scale(cell, scales.get(key)) for key, cell in row.items()} for row in rows
    ]
    return headed, written


def _on_scale(cell: TableCell, scale: units.Scale | None) -> TableCell:
    if cell.text or not isinstance(cell.value, int | float):
        return cell
    return replace(cell, text=scale.text(cell.value) if scale else units.short(cell.value, None))
