"""The first sentence of a factorial: the effect of the priors against that of the mixers."""

from collections.abc import Iterator, Sequence

from pks4.bench import units
from pks4.bench.report.findings.sentences import Finding
from pks4.bench.report.tables.factorial import mixer_name
from pks4.bench.view import factorial
from pks4.bench.view.factorial import FactorialEffect
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View


def scan_or_priors(view: View) -> Iterator[Finding]:
    """For each setting with a factorial, what the priors bring and what the choice of mixer."""
    for setting in view.settings("top1"):
        found = factorial.effects(view, setting)
        if found:
            yield _answer(view, setting, found)


def _answer(view: View, setting: Setting, found: Sequence[FactorialEffect]) -> Finding:
    priors = next(one for one in found if one.kind == "priors")
    mixers = sorted((one for one in found if one.kind == "mixer"), key=lambda one: -one.value)
    changed = [one for one in found if one.kind == "interaction" and one.verdict != "inconclusive"]
    spread = 100 * (mixers[0].value - mixers[-1].value)
    words = (
        f"Scan or priors, on {setting.task or setting.grid}: priors change top-1 by "
        f"{_points(priors)} points over {len(mixers)} mixers ({_shown(priors)}); from the worst "
        f"mixer to the best it is {spread:.1f} points. "
        f"Best: {mixer_name(view, mixers[0].level_of)} ({_points(mixers[0])} against the mean of "
        f"all, {_shown(mixers[0])}). "
    )
    scan = next((one for one in mixers if one.level_of and one.level_of.mixer == "s6"), None)
    if scan and scan is not mixers[0]:
        words += f"The selective scan: {_points(scan)}, {_shown(scan)}. "
    if changed:
        each = [f"{mixer_name(view, one.level_of)} ({_points(one)})" for one in changed]
        words += f"Priors act otherwise than on the mean with {units.listed(each)}."
    else:
        words += "No mixer is shown to gain more or less from priors than the others."
    rows = {row.number: row for row in priors.rows}
    return Finding(words=words.strip(), sources=tuple(rows.values()))


def _points(one: FactorialEffect) -> str:
    ends = f" [{units.point_interval(one.interval)}]" if one.interval else ""
    return f"{units.points(one.value)}{ends}"


def _shown(one: FactorialEffect) -> str:
    return "inconclusive" if one.verdict == "inconclusive" else "shown"
