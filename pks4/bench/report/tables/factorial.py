"""The table of a factorial: is it the mixer, or the priors?"""

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.stats import intervals
from pks4.bench.table import Column, Table, TableCell, TableRow, table, words
from pks4.bench.view import factorial
from pks4.bench.view.factorial import FactorialEffect, Level
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View


def factorials(view: View) -> Table:
    """Main effects and interactions of mixers and priors on top-1, with their verdicts."""
    found = [
        (setting, one)
        for setting in view.settings("top1")
        for one in factorial.effects(view, setting)
    ]
    return table(
        name="factorial",
        title="Is it the mixer, or the priors?",
        note=(
            "Effects on top-1 in percentage points, over clips and seeds, with 95 % intervals of "
            "each by itself. Priors: with minus without, mean over the mixers. Mixer: the mean of "
            "a mixer with and without priors, minus that of all mixers. Interaction: the effect of "
            "the priors on one mixer, minus that on all. The verdict weighs all effects of a "
            f"setting at once: Holm-adjusted p below {intervals.ALPHA}, else inconclusive."
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            Column("effect", "effect of"),
            Column("mixer", "mixer"),
            columns.SEEDS,
            *columns.interval_columns("points", "points"),
            Column("p", "p, Holm", numeric=True),
            Column("verdict", "verdict"),
        ),
        rows=[_row(view, setting, one) for setting, one in found],
    )


def _row(view: View, setting: Setting, one: FactorialEffect) -> TableRow:
    p = units.MISSING if one.p is None else units.significant(one.p, 2)
    return {
        **{key: words(value) for key, value in setting._asdict().items()},
        "effect": words(one.kind),
        "mixer": words(mixer_name(view, one.level_of)),
        "seeds": words(one.seeds),
        **columns.point_cells("points", one, one.rows[0]),
        "p": TableCell(one.p, p),
        "verdict": words(one.verdict),
    }


def mixer_name(view: View, level: Level | None) -> str:
    """A mixer as its contestant without priors is called; all of them without a level."""
    return view.name(level.plain) if level else "all"
