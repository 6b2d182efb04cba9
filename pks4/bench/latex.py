"""A table for a paper: LaTeX with the rules of booktabs, every sign safe."""

import pandas as pd

from pks4.bench.sheet import Table

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
