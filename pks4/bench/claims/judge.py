"""Judge claims by records: a verdict for each test, and one for the claim.

Verdicts: supported, contradicted, inconclusive, not testable here. A test that lacks records is
inconclusive and names them. If a number has an interval, it is supported when all of the interval
is within the bound, contradicted when all of it is beyond, else inconclusive.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pks4.bench import units
from pks4.bench.claims import claims
from pks4.bench.claims.evidence import Missing, lacking, shared_frames, single, with_all
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.bench.stats import clips, growth, intervals
from pks4.bench.view.rows import ids

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]
SUPPORTED: Verdict = "supported"
CONTRADICTED: Verdict = "contradicted"
OPEN: Verdict = "inconclusive"
NOT_HERE: Verdict = "not testable here"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of a test: verdict, effect in words and numbers, and the records behind it."""

    verdict: Verdict
    effect: str = ""
    values: dict[str, Any] | None = None  # what the effect says, as numbers
    evidence: tuple[str, ...] = ()  # run:cell:metric
    within: str = ""  # what those records hold, where they are fewer than what was tested
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim with its verdict, and the result of each test."""

    claim: claims.Claim
    verdict: Verdict
    tests: tuple[tuple[claims.AnyTest, Found], ...]
    suites: frozenset[str] = frozenset()  # of the runs that were given

    @property
    def commands(self) -> list[str]:
        """Commands that measure what is missing: of suites that were not given, if there are."""
        if not any(found.missing for test, found in self.tests if test.judged):
            return []
        every = self.claim.measured_by
        return [c for c in every if not self.suites & set(c.split())] or every


def judge(claim: claims.Claim, runs: Sequence[RunFile]) -> Judged:
    """Judge a claim by the records of these runs."""
    tests = tuple((test, _test(test, runs, claim.measured_by)) for test in claim.tests)
    suites = frozenset(run.header.suite for run in runs)
    return Judged(claim=claim, verdict=_of_claim(claim, tests), tests=tests, suites=suites)


def _of_claim(claim: claims.Claim, tests: Sequence[tuple[claims.AnyTest, Found]]) -> Verdict:
    judged = [found.verdict for test, found in tests if test.judged]
    verdicts = [v for v in judged if v != NOT_HERE]
    if not verdicts:
        return NOT_HERE if judged else OPEN
    return _combined(verdicts, all if claim.combine == "readings" else any)


def _combined(
    verdicts: Sequence[Verdict], contradicting: Callable[[Iterable[bool]], bool] = any
) -> Verdict:
    """Supported if all are, contradicted if any is, or `all` are; else inconclusive."""
    if all(v == SUPPORTED for v in verdicts):
        return SUPPORTED
    return CONTRADICTED if contradicting(v == CONTRADICTED for v in verdicts) else OPEN


def _test(test: Any, runs: Sequence[RunFile], commands: Sequence[str]) -> Found:
    if isinstance(test, claims.NotTestable):
        return Found(verdict=NOT_HERE, effect=test.reason)
    try:
        return _JUDGES[test.kind](test, runs)
    except Missing as missing:
        return Found(verdict=OPEN, missing=lacking(missing, test, commands))


def _structure(test: claims.Structure, runs: Sequence[RunFile]) -> Found:
    groups = with_all(runs, test, [(test.contestant, test.metric)])
    series = max((by_frames for (by_frames,) in groups), key=len)  # of equals the first
    if len(series) < test.least_frames:
        raise Missing(f"{test.metric} of {test.contestant!r} at {test.least_frames} T or more")
    records = {t: single(seeds) for t, seeds in series.items()}
    values = {t: r.value for t, r in records.items() if isinstance(r.value, int)}
    if len(values) < len(records):
        raise Missing(f"{test.metric} is no exact count, so it has no exact structure")
    found = growth.exact_polynomial(values)
    assert found is not None
    effect = f"{found.kind} at {len(found.frames)} T, {_span(found.frames)}"
    if found.coefficients:
        unit = records[found.frames[0]].unit or ""
        _, b, c = (units.quantity(float(x), unit) for x in found.coefficients)
        effect += f", {b} · T" + (f" + {c} · T²" if found.coefficients[2] else "")
    verdict = SUPPORTED if found.kind == test.expects else CONTRADICTED
    return Found(
        verdict=OPEN if found.kind == "unverified" else verdict,
        effect=effect,
        values={"kind": found.kind},
        evidence=ids(*(records[t] for t in found.frames)),
    )


def _growth(test: claims.Growth, runs: Sequence[RunFile]) -> Found:
    metrics = [test.metric, *([test.control] if test.control else [])]
    for series in with_all(runs, test, [(test.contestant, metric) for metric in metrics]):
        records = [{t: single(seeds) for t, seeds in one.items()} for one in series]
        keys = ("samples_seconds", "reference_seconds")
        powers = [_power(one, key) for one, key in zip(records, keys, strict=False)]
        if all(powers):
            break
    else:
        raise Missing(f"samples of {test.metric} at {growth.LEAST_FRAMES} T or more")
    found, *control = (power for power in powers if power)
    verdict = _at_most(found.interval, test.at_most)
    effect = f"{_grows(found)}, {_span(found.frames)}"
    if control:
        effect += f"; the baseline in the same rounds {_grows(control[0])}"
        if _at_most(control[0].interval, test.at_most) == CONTRADICTED:
            verdict = OPEN
            effect += ", itself beyond the bound: these times do not tell"
    return Found(
        verdict=verdict,
        effect=effect,
        values={"power": found.p, "interval": found.interval},
        evidence=ids(*(r for one in records for r in one.values())),
    )


def _power(records: Mapping[int, Record], key: str) -> growth.Power | None:
    samples = {t: r.detail.get(key, []) for t, r in records.items()}
    return growth.fit_power(samples) if all(samples.values()) else None


def _grows(power: growth.Power) -> str:
    low, high = power.interval
    return f"T^{power.p:.2f} ({units.level(intervals.LEVEL)} {low:.2f} to {high:.2f})"


def _span(frames: Sequence[int]) -> str:
    return f"T = {frames[0]} to {frames[-1]}"


def _ratio(test: claims.Ratio, runs: Sequence[RunFile]) -> Found:
    pairs = [(label, test.metric) for label in [test.over, *test.of]]
    series = next(with_all(runs, test, pairs))
    t = shared_frames(series, test.frames)
    over, *of = records = [single(by_frames[t]) for by_frames in series]
    if not over.value:
        raise Missing(f"{test.metric} of {test.over!r} is {over.value}")
    ratios = {label: (r.value or 0) / over.value for label, r in zip(test.of, of, strict=True)}
    ends = (min(ratios.values()),) * 2
    words = ", ".join(f"{label} {units.times(x)}" for label, x in ratios.items())
    return Found(
        verdict=_at_least(ends, test.at_least, test.contradicted_below),
        effect=f"{words} at T = {t}", values=ratios, evidence=ids(*records),
    )  # fmt: skip


def _compute_ratio(test: claims.ComputeRatio, runs: Sequence[RunFile]) -> Found:
    terms = [*test.of, *test.over]
    series = next(with_all(runs, test, [(term.contestant, term.metric) for term in terms]))
    records = [
        single(by_frames[shared_frames([by_frames], term.frames)])
        for term, by_frames in zip(terms, series, strict=True)
    ]
    parts = [term.times * (r.value or 0) for term, r in zip(terms, records, strict=True)]
    of, over = sum(parts[: len(test.of)]), sum(parts[len(test.of) :])
    if not over:
        raise Missing("what it is divided by is 0")
    low, high = test.between
    unit = records[0].unit or ""
    effect = f"{units.quantity(of, unit)} / {units.quantity(over, unit)} = {units.times(of / over)}"
    if test.published:
        effect += f"; from published inputs {units.times(test.published.ratio)}"
    return Found(
        verdict=SUPPORTED if low <= of / over <= high else CONTRADICTED,
        effect=effect,
        values={"of": of, "over": over, "ratio": of / over},
        evidence=ids(*records),
    )


def _difference(test: claims.Difference, runs: Sequence[RunFile]) -> Found:
    """Each of the others minus the contestant, as in a report; the bound is of the opposite."""
    pairs = [(label, test.metric) for label in [test.contestant, *test.others]]
    series = next(with_all(runs, test, pairs))
    t = shared_frames(series, test.frames)
    ours, *others = (by_frames[t] for by_frames in series)
    level = 1 - intervals.ALPHA / len(others)  # Bonferroni
    words, values, verdicts = [], {}, []
    for label, theirs in zip(test.others, others, strict=True):
        found = clips.difference(theirs, ours, level=level)
        alike = found is not None and found.method == clips.SAME_ANSWERS
        if found is None or (found.interval is None and not alike):
            raise Missing(f"{test.metric} of {label!r} has no clips, and fewer than three seeds")
        ends = found.interval or (found.value, found.value)
        verdicts.append(_at_most(ends, -test.above))
        shown = f" ({units.point_interval(ends)})" if found.interval else ""
        words.append(f"{label} {units.points(found.value)}{shown}")
        values[label] = {
            "value": found.value, "interval": ends, "level": level, "method": found.method,
        }  # fmt: skip
    seeds = "" if len(ours) == 1 else f", {len(ours)} seeds"
    effect = f"points against {test.contestant} ({units.level(level)} intervals): "
    return Found(
        verdict=_combined(verdicts),
        effect=f"{effect}{'; '.join(words)}; T = {t}{seeds}",
        values=values,
        evidence=ids(*(r for seeds in (ours, *others) for r in seeds.values())),
    )


def _convergence(test: claims.Convergence, runs: Sequence[RunFile]) -> Found:
    (series,) = next(with_all(runs, test, [(test.contestant, test.metric)]))
    seeds = series[max(series)]
    curves = [r.detail.get("by_epoch", []) for r in seeds.values()]
    shortest = min(map(len, curves))
    if shortest < test.least_epochs:
        raise Missing(f"curves of {shortest} epochs; it takes {test.least_epochs}")
    if len(curves) < intervals.LEAST_SEEDS:
        raise Missing(f"{len(curves)} seeds; an interval takes {intervals.LEAST_SEEDS}")
    if not all(map(max, curves)):
        raise Missing("a curve that never leaves 0")
    mean = intervals.estimate([max(curve[: test.epoch]) / max(curve) for curve in curves])
    low, high = mean.interval or (mean.value, mean.value)
    ends = low, min(high, 1.0)  # no share of its best is more
    effect = (
        f"{units.percent(mean.value)} ({units.level(mean.level)} {units.percent_interval(ends)}) "
        f"of the best of {shortest} epochs by epoch {test.epoch}, {len(curves)} seeds"
    )
    return Found(
        verdict=_at_least(ends, test.share), effect=effect,
        values={"share": mean.value, "interval": ends}, evidence=ids(*seeds.values()),
    )  # fmt: skip


def _bound(test: claims.Bound, runs: Sequence[RunFile]) -> Found:
    (series,) = next(with_all(runs, test, [(test.contestant, test.metric)]))
    records = [r for seeds in series.values() for r in seeds.values()]
    verdicts = []
    for r in records:
        ends = r.detail.get("interval") or (float(r.value or 0), float(r.value or 0))
        bounded = _at_most(ends, test.at_most) if test.at_most is not None else None
        bounded = bounded or _at_least(ends, test.at_least or 0.0)
        verdicts.append(OPEN if r.void else bounded)
    values = [r.value for r in records if r.value is not None]
    span = " to ".join(dict.fromkeys(f"{v:.6g}" for v in (min(values), max(values))))
    backbones = {name for r in records for name in r.detail.get("by_backbone", {})}
    within = units.counted(len(backbones), "backbone") if backbones else ""
    over = f"over {within}" if within else f"in {units.counted(len(records), 'record')}"
    return Found(
        verdict=_combined(verdicts),
        effect=f"{test.metric} {span} {over}",
        values={"least": min(values), "most": max(values)},
        evidence=ids(*records),
        within=within,
    )


def _at_most(ends: Sequence[float], bound: float) -> Verdict:
    if ends[1] <= bound:
        return SUPPORTED
    return CONTRADICTED if ends[0] > bound else OPEN


def _at_least(
    ends: Sequence[float], bound: float, contradicted_below: float | None = None
) -> Verdict:
    if ends[0] >= bound:
        return SUPPORTED
    short = bound if contradicted_below is None else contradicted_below
    return CONTRADICTED if ends[1] < short else OPEN


_JUDGES: dict[str, Callable[[Any, Sequence[RunFile]], Found]] = {
    "structure": _structure,
    "growth": _growth,
    "ratio": _ratio,
    "recipe": _compute_ratio,
    "difference": _difference,
    "convergence": _convergence,
    "bound": _bound,
}
