"""The parts that most tables share: who, in which setting, at which T; and what was measured."""

from collections.abc import Sequence

from pks4.bench.report.tables.table import Column, Entry, Line, text
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View

SETTING = (
    Column(key="grid", heading="grid", context=True),
    Column(key="scale", heading="scale", context=True),
    Column(key="batch", heading="batch", context=True),
)
TASK = Column(key="task", heading="task", context=True)
WHO = (
    Column(key="contestant", heading="contestant"),
    Column(key="label", heading="label", raw_only=True),
    Column(key="family", heading="family", raw_only=True),
)
FRAMES = Column(key="frames", heading="T", numeric=True)


def measured(view: View, metrics: Sequence[str]) -> list[tuple[Setting, str, int]]:
    """Every (setting, label, T) with a number of any of these metrics, in the order of the plan."""
    settings = dict.fromkeys(s for metric in metrics for s in view.settings(metric))
    found = []
    for setting in settings:
        series = [view.series(setting, metric) for metric in metrics]
        for label in view.contestants:
            frames = {t for one in series for t in one.get(label, {})}
            found += [(setting, label, t) for t in sorted(frames)]
    return found


def place(setting: Setting) -> Line:
    """The fields of the `SETTING` and `TASK` columns."""
    return {key: text(value) for key, value in setting._asdict().items()}


def who(view: View, label: str) -> Line:
    """The fields of the `WHO` columns."""
    family = view.family(label)
    return {
        "contestant": Entry(value=view.name(label), text=view.name(label), family=family),
        "label": text(label),
        "family": text(family),
    }


def at(frames: int) -> Line:
    """The field of the `FRAMES` column."""
    return {"frames": Entry(value=frames, text=str(frames))}
