"""Published figures that a cost on paper starts from: sizes of data sets, speed of a GPU.

`results/published/cost.csv` has one line a figure, with its source. None was measured here.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from pks4.bench import catalogue, published
from pks4.errors import UserError

COLUMNS = ("subject", "quantity", "value", "source_url", "where", "note")
GPU = "gpu"


@dataclass(frozen=True, kw_only=True)
class CostFigure:
    """One figure in SI units (clips, B, FLOP/s, a share of 1), and where it is printed."""

    subject: str  # a data set as `pks4-bench data index` names it, or gpu
    quantity: str
    value: float
    source_url: str
    where: str
    note: str

    @property
    def source(self) -> str:
        """Where it is printed, and what it covers, for a line of text."""
        return f"{self.source_url} ({self.where})" + (f": {self.note}" if self.note else "")


def read(path: Path | None = None) -> dict[tuple[str, str], CostFigure]:
    """Every figure by subject and quantity.

    Raises UserError naming file and row of a line that is none, or stands twice.
    """
    path = path or catalogue.published() / "cost.csv"
    found: dict[tuple[str, str], CostFigure] = {}
    for row, fields in published.fields(path, COLUMNS):
        figure = _figure(f"{path}, row {row}", fields)
        key = (figure.subject, figure.quantity)
        if key in found:
            raise UserError(f"{path}, row {row}: {' '.join(key)} stands twice; keep one")
        found[key] = figure
    return found


def _figure(where: str, fields: dict[str, str]) -> CostFigure:
    text = dict(fields)
    given = text.pop("value")
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{where}, column value: must be a number above 0, got {given!r}")
    if not text["source_url"].startswith("https://"):
        raise UserError(f"{where}, column source_url: must begin with https://")
    return CostFigure(value=value, **text)
