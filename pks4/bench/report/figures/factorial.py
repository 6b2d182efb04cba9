"""The figure of a factorial: what each mixer brings, and what priors bring to it."""

from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import common, effects
from pks4.bench.report.figures.charts import Effect
from pks4.bench.report.figures.common import Plot
from pks4.bench.report.tables.factorial import mixer_name
from pks4.bench.view import factorial
from pks4.bench.view.factorial import FactorialEffect
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View

_TITLE = "Is it the mixer, or the priors?"
_PANELS = {"mixer": "mixer, against the mean of all", "priors on": "its priors, with minus without"}
_PANEL_INCHES = 2.6


def build(view: View) -> list[Plot]:
    """One figure for each setting that holds a factorial."""
    return [
        _plot(view, setting, found)
        for setting in view.settings("top1")
        if (found := factorial.effects(view, setting))
    ]


def _plot(view: View, setting: Setting, found: tuple[FactorialEffect, ...]) -> Plot:
    priors = next(one for one in found if one.kind == "priors")
    ends = f" [{units.point_interval(priors.interval)}]" if priors.interval else ""
    how = common.measured_how(list(priors.rows))
    ranked = sorted(_of(found, "mixer"), key=lambda one: one.value)
    first, last = (mixer_name(view, ranked[end].level_of) for end in (0, -1))
    return Plot(
        name=common.stem("factorial", setting),
        title=_TITLE,
        caption=(
            f"{_TITLE} {setting.title}; {how}. Percentage points of top-1. Left: a mixer with "
            "and without priors, against all of them. Right: what priors bring to it; over all "
            f"mixers {units.points(priors.value)}{ends}. Bars: 95 % intervals over clips and "
            "seeds, not adjusted; the verdict weighs all effects at once (Holm)."
        ),
        alt=(
            f"Effects on top-1 of {len(ranked)} mixers, from {first} "
            f"({units.points(ranked[0].value)}) to {last} ({units.points(ranked[-1].value)}), and "
            f"of the priors on each; over all mixers {units.points(priors.value)} points."
        ),
        figure=_draw(view, setting, found, how),
    )


def _of(found: tuple[FactorialEffect, ...], kind: str) -> list[FactorialEffect]:
    return [one for one in found if one.kind == kind]


def _draw(view: View, setting: Setting, found: tuple[FactorialEffect, ...], how: str) -> Figure:
    panels = {
        title: {effect.label: effect for effect in map(_effect, _of(found, kind))}
        for kind, title in _PANELS.items()
    }
    mixers = panels[_PANELS["mixer"]]
    return effects.page(
        view, panels, _TITLE, f"{setting.title}; {how}", "percentage points of top-1",
        ratios=False, order=sorted(mixers, key=lambda label: mixers[label].value),
        panel_width=_PANEL_INCHES,
    )  # fmt: skip


def _effect(one: FactorialEffect) -> Effect:
    assert one.level_of is not None  # of the kinds that are drawn each is of one mixer
    words = f"{units.points(one.value)}, {one.verdict}"
    return Effect(label=one.level_of.plain, value=one.value, interval=one.interval, words=words)
