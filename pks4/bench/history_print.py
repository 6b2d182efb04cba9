"""Histories for people: a row a cell, or every run of it.

What all rows share is told once above them, and a column in which no row says anything is left out.
A dash stands where a series is too short to tell.
"""

from collections.abc import Sequence

from pks4.bench import units
from pks4.bench.history import LEAST_POINTS, Point, Series

Rows = list[tuple[str, ...]]
LONG = ("created", "commit", "run", "value", "change", "note")
REMARK = (
    f"Change points take {LEAST_POINTS} runs or more and are advice on where to look; "
    "pks4-bench compare is what judges."
)


def table(every: Sequence[Series]) -> tuple[str, tuple[str, ...], Rows]:
    """A line on what all series share, the columns that tell them apart, and a row for each."""
    machines = [_parts(one.environment_class) for one in every]
    machine = [part for part in machines[0] if all(part in other for other in machines)]
    suites = {one.suite for one in every}
    columns = {
        "suite": [one.suite if len(suites) > 1 else "" for one in every],
        "cell": [one.cell for one in every],
        "runs": [str(len(one.points)) for one in every],
        "first → last": [_span(one) for one in every],
        "change": [_change(one) for one in every],
        "change points": [_turns(one) for one in every],
        "machine": [", ".join(p for p in own if p not in machine) for own in machines],
    }
    shown = {name: column for name, column in columns.items() if set(column) - {"", units.MISSING}}
    exact = all(one.kind == "exact" for one in every)
    suite = every[0].suite if len(suites) == 1 else ""
    title = _title(every[0].metric, suite, exact, ", ".join(machine))
    return title, tuple(shown), list(zip(*shown.values(), strict=True))


def run_by_run(one: Series) -> tuple[str, tuple[str, ...], Rows]:
    """A line on a series, `LONG`, and a row a run, with the change since the run before."""
    before: Point | None = None
    rows: Rows = []
    for p in one.points:
        commit = (p.commit or "none")[:7] + (" with changes" if p.dirty else "")
        change = _difference(one, before.value, p.value) if before else ""
        whole = isinstance(p.value, int)
        value = units.in_full(p.value, one.unit) if whole else _short(one, p.value)
        rows.append((p.created, commit, p.run, value, change, _remarks(before, p)))
        before = p
    title = _title(one.metric, one.suite, one.kind == "exact", one.environment_class or "")
    return f"{one.cell} {title}", LONG, rows


def _title(metric: str, suite: str, exact: bool, machine: str) -> str:
    parts = {
        metric: True,
        f"suite {suite}": suite,
        "exact: one series for all machines": exact,
        f"on {machine}": machine,
    }
    return ", ".join(part for part, told in parts.items() if told)


def _parts(environment_class: str | None) -> list[str]:
    return (environment_class or "").split(", ")


def _span(one: Series) -> str:
    return " → ".join(
        _short(one, value) for value in dict.fromkeys((one.points[0].value, one.points[-1].value))
    )


def _short(one: Series, value: float) -> str:
    if one.unit in ("B", "MAC"):
        return units.quantity(value, one.unit)
    if _is_share(one):
        return units.percent(value)
    return units.short(value, one.unit)


def _change(one: Series) -> str:
    """From the first run to the last; also that the rule of counting or measuring did."""
    values = [p.value for p in one.points]
    if len(values) == 1:
        return units.MISSING
    told = _difference(one, values[0], values[-1]) or "none"
    if told == "none" and len(set(values)) > 1:
        told = "none, but between"
    rules = _changed(one.points[0].rule, one.points[-1].rule)
    return f"{told}, rule {rules}" if rules else told


def _difference(one: Series, before: float, after: float) -> str:
    """Empty where they are equal."""
    if after == before:
        return ""
    if _is_share(one):
        return f"{units.points(after - before)} points"
    share = f" ({100 * (after / before - 1):+.2f} %)" if before else ""
    change = after - before
    return (f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}") + share


def _turns(one: Series) -> str:
    """When something began, by the day and the commit of the run."""
    if len(one.points) < LEAST_POINTS:
        return units.MISSING
    turns = [f"{p.created[:10]} {(p.commit or 'none')[:7]}" for p in one.points if p.turns]
    return ", ".join(turns) or "none"


def _remarks(before: Point | None, p: Point) -> str:
    """What to know of a run: where the rule or the machine is another than in the run before."""
    told = ["change point"] * p.turns + ["void session"] * p.void
    if before and before.rule != p.rule:
        told.append(f"rule {_changed(before.rule, p.rule)}")
    if before and before.environment_class != p.environment_class:
        old, new = _parts(before.environment_class), _parts(p.environment_class)
        gone, come = ([x for x in a if x not in b] for a, b in ((old, new), (new, old)))
        told.append(_changed(", ".join(gone), ", ".join(come)))
    return "; ".join(told)


def _changed(before: str, after: str) -> str:
    """Empty where nothing did."""
    return "" if before == after else f"{before or 'none'} → {after or 'none'}"


def _is_share(one: Series) -> bool:
    return one.kind == "sampled" and one.unit == "1"
