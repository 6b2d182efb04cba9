"""Claims held against records: a verdict for each test, and one for the claim.

Verdicts: supported, contradicted, inconclusive, not testable here. Without records there is no
verdict but "inconclusive", which names what is missing. An interval decides where there is one:
its near end must be past the bound, and its far end short of it to contradict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pks4.bench import units
from pks4.bench.claims import claims
from pks4.bench.claims.evidence import Missing, ids, lacking, shared_frames, single, with_all
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.bench.stats import growth, intervals, sampled, structure

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]
SUPPORTED: Verdict = "supported"
CONTRADICTED: Verdict = "contradicted"
OPEN: Verdict = "inconclusive"
NOT_HERE: Verdict = "not testable here"
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a test came to: verdict, effect in words and numbers, and the records behind it."""

    verdict: Verdict
    effect: str = ""
    values: dict[str, Any] | None = None  # what the effect says, as numbers
    evidence: tuple[str, ...] = ()  # run:cell:metric
    within: str = ""  # what those records hold, where they are fewer than what was tested
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim with its verdict, and each test with what it came to."""

    claim: claims.Claim
    verdict: Verdict
    tests: tuple[tuple[claims.AnyTest, Found], ...]
    suites: frozenset[str] = frozenset()  # of the runs that it was held against

    @property
    def commands(self) -> list[str]:
        """What would measure what is missing: first of all suites that were not given."""
        if not any(found.missing for test, found in self.tests if test.judged):
            return []
        every = self.claim.measured_by
        return [c for c in every if not self.suites & set(c.split())] or every


def judge(claim: claims.Claim, runs: Sequence[RunFile]) -> Judged:
    """A claim against the records of these runs."""
    tests = tuple((test, _test(test, runs, claim.measured_by)) for test in claim.tests)
    suites = frozenset(run.header.suite for run in runs)
    return Judged(claim=claim, verdict=_combined(claim, tests), tests=tests, suites=suites)


def _combined(claim: claims.Claim, tests: Sequence[tuple[claims.AnyTest, Found]]) -> Verdict:
    all_judged = [found.verdict for test, found in tests if test.judged]
    verdicts = [v for v in all_judged if v != NOT_HERE]
    if not verdicts:
        return NOT_HERE if all_judged else OPEN
    if all(v == SUPPORTED for v in verdicts):
        return SUPPORTED
    against = all if claim.combine == "readings" else any
    return CONTRADICTED if against(v == CONTRADICTED for v in verdicts) else OPEN


def _test(test: Any, runs: Sequence[RunFile], commands: Sequence[str]) -> Found:
    if isinstance(test, claims.NotTestable):
        return Found(verdict=NOT_HERE, effect=test.reason)
    try:
        return _JUDGES[test.kind](test, runs)
    except Missing as missing:
        return Found(verdict=OPEN, missing=lacking(missing, test, commands))


def _structure(test: claims.Structure, runs: Sequence[RunFile]) -> Found:
    groups = with_all(runs, test, [(test.contestant, test.metric)])
    series = max((one for _, (one,) in groups), key=len)  # the first of those with the most T
    if len(series) < test.least_frames:
        raise Missing(f"{test.metric} of {test.contestant!r} at {test.least_frames} T or more")
    records = {t: single(by_seed) for t, by_seed in series.items()}
    values = {t: r.value for t, r in records.items() if isinstance(r.value, int)}
    if len(values) < len(records):
        raise Missing(f"{test.metric} is no exact count, so it has no exact structure")
    found = structure.fit(values)
    assert found is not None
    evidence = ids(*(records[t] for t in found.frames))
    span = f"T = {found.frames[0]} to {found.frames[-1]}"
    effect = f"{found.kind} at {len(found.frames)} T, {span}"
    if found.coefficients:
        _, b, c = (units.quantity(float(x), records[found.frames[0]].unit or "")
                   for x in found.coefficients)  # fmt: skip
        effect += f", {b} · T" + (f" + {c} · T²" if found.coefficients[2] else "")
    verdict = SUPPORTED if found.kind == test.expects else CONTRADICTED
    if found.kind == "unverified":
        verdict = OPEN
    return Found(verdict=verdict, effect=effect, values={"kind": found.kind}, evidence=evidence)


def _growth(test: claims.Growth, runs: Sequence[RunFile]) -> Found:
    metrics = [test.metric, *([test.control] if test.control else [])]
    for _, series in with_all(runs, test, [(test.contestant, metric) for metric in metrics]):
        records = [{t: single(by_seed) for t, by_seed in one.items()} for one in series]
        keys = ("samples_seconds", "reference_seconds")
        powers = [_power(one, key) for one, key in zip(records, keys, strict=False)]
        if all(powers):
            break
    else:
        raise Missing(f"samples of {test.metric} at {growth.LEAST_FRAMES} T or more")
    found, *control = (one for one in powers if one)
    verdict = _at_most(found.interval, test.at_most)
    effect = f"{_grows(found)}, T = {found.frames[0]} to {found.frames[-1]}"
    if control:
        effect += f"; the reference in the same rounds {_grows(control[0])}"
        if _at_most(control[0].interval, test.at_most) == CONTRADICTED:
            verdict = OPEN
            effect += ", beyond the bound itself: these times do not tell"
    return Found(
        verdict=verdict,
        effect=effect,
        values={"power": found.p, "interval": found.interval},
        evidence=ids(*(r for one in records for r in one.values())),
    )


def _power(records: Mapping[int, Record], key: str) -> growth.Power | None:
    samples = {t: r.detail.get(key, []) for t, r in records.items()}
    return growth.fit(samples) if all(samples.values()) else None


def _grows(found: growth.Power) -> str:
    low, high = found.interval
    return f"T^{found.p:.2f} ({low:.2f} to {high:.2f})"


def _ratio(test: claims.Ratio, runs: Sequence[RunFile]) -> Found:
    pairs = [(label, test.metric) for label in [test.over, *test.of]]
    _, series = next(with_all(runs, test, pairs))
    t = shared_frames(series, test.frames)
    records = [single(by_frames[t]) for by_frames in series]
    if not records[0].value:
        raise Missing(f"{test.metric} of {test.over!r} is {records[0].value}")
    ratios = {
        label: (r.value or 0) / records[0].value
        for label, r in zip(test.of, records[1:], strict=True)
    }
    verdict = OPEN
    if min(ratios.values()) >= test.at_least:
        verdict = SUPPORTED
    elif min(ratios.values()) < test.contradicted_below:
        verdict = CONTRADICTED
    told = ", ".join(f"{label} {units.times(x)}" for label, x in ratios.items())
    return Found(
        verdict=verdict, effect=f"{told} at T = {t}", values=ratios, evidence=ids(*records)
    )


def _recipe(test: claims.Recipe, runs: Sequence[RunFile]) -> Found:
    terms = [*test.of, *test.over]
    pairs = [(term.contestant, term.metric) for term in terms]
    _, series = next(with_all(runs, test, pairs))
    records: list[Record] = []
    for term, by_frames in zip(terms, series, strict=True):
        records.append(single(by_frames[shared_frames([by_frames], term.frames)]))
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
    pairs = [(label, test.metric) for label in [test.contestant, *test.others]]
    _, series = next(with_all(runs, test, pairs))
    t = shared_frames(series, test.frames)
    ours, level = series[0][t], 1 - LEVEL / len(test.others)
    told, values, records, verdicts = [], {}, list(ours.values()), []
    for label, by_frames in zip(test.others, series[1:], strict=True):
        found = sampled.difference(by_frames[t], ours, level=level)
        if found is None or found.interval is None:
            raise Missing(f"{test.metric} of {label!r} has no clips, and fewer than three seeds")
        records += by_frames[t].values()
        low, high = found.interval
        verdicts.append(_at_least((low, high), test.above))
        ends = units.point_interval(found.interval)
        told.append(f"{units.points(found.value)} points ({ends}) to {label}")
        values[label] = {"value": found.value, "interval": (low, high), "method": found.method}
    verdict = OPEN
    if CONTRADICTED in verdicts:
        verdict = CONTRADICTED
    elif all(v == SUPPORTED for v in verdicts):
        verdict = SUPPORTED
    count = "" if len(ours) == 1 else f", {len(ours)} seeds"
    effect = f"{'; '.join(told)}; T = {t}{count}"
    return Found(verdict=verdict, effect=effect, values=values, evidence=ids(*records))


def _convergence(test: claims.Convergence, runs: Sequence[RunFile]) -> Found:
    _, (series,) = next(with_all(runs, test, [(test.contestant, test.metric)]))
    by_seed = series[max(series)]
    curves = [r.detail.get("by_epoch", []) for r in by_seed.values()]
    shortest = min(map(len, curves))
    if shortest < test.least_epochs:
        raise Missing(f"curves of {shortest} epochs; {test.least_epochs} would tell what comes on")
    if len(curves) < intervals.LEAST_SEEDS:
        raise Missing(f"{len(curves)} seeds; an interval takes {intervals.LEAST_SEEDS}")
    if not all(map(max, curves)):
        raise Missing("a curve that never leaves 0")
    shares = [max(curve[: test.epoch]) / max(curve) for curve in curves]
    found = intervals.estimate(shares)
    low, high = found.interval or (found.mean, found.mean)
    ends = low, min(high, 1.0)  # no share of its own best is more
    effect = (
        f"{units.percent(found.mean)} ({units.percent_interval(ends)}) of the best of "
        f"{shortest} epochs by epoch {test.epoch}, {len(curves)} seeds"
    )
    return Found(
        verdict=_at_least(ends, test.share), effect=effect,
        values={"share": found.mean, "interval": ends}, evidence=ids(*by_seed.values()),
    )  # fmt: skip


def _bound(test: claims.Bound, runs: Sequence[RunFile]) -> Found:
    _, (series,) = next(with_all(runs, test, [(test.contestant, test.metric)]))
    records = [r for by_seed in series.values() for r in by_seed.values()]
    verdicts = []
    for r in records:
        ends = r.detail.get("interval") or (float(r.value or 0), float(r.value or 0))
        bounded = _at_most(ends, test.at_most) if test.at_most is not None else None
        verdicts.append(bounded or _at_least(ends, test.at_least or 0.0))
    values = [r.value for r in records if r.value is not None]
    span = " to ".join(dict.fromkeys(f"{v:.6g}" for v in (min(values), max(values))))
    verdict = SUPPORTED if all(v == SUPPORTED for v in verdicts) else OPEN
    backbones = {name for r in records for name in r.detail.get("by_backbone", {})}
    within = units.counted(len(backbones), "backbone") if backbones else ""
    over = f"over {within}" if within else f"in {units.counted(len(records), 'record')}"
    return Found(
        verdict=CONTRADICTED if CONTRADICTED in verdicts else verdict,
        effect=f"{test.metric} {span} {over}",
        values={"least": min(values), "most": max(values)},
        evidence=ids(*records),
        within=within,
    )


def _at_most(ends: Sequence[float], bound: float) -> Verdict:
    if ends[1] <= bound:
        return SUPPORTED
    return CONTRADICTED if ends[0] > bound else OPEN


def _at_least(ends: Sequence[float], bound: float) -> Verdict:
    if ends[0] >= bound:
        return SUPPORTED
    return CONTRADICTED if ends[1] < bound else OPEN


_JUDGES: dict[str, Callable[[Any, Sequence[RunFile]], Found]] = {
    "structure": _structure,
    "growth": _growth,
    "ratio": _ratio,
    "recipe": _recipe,
    "difference": _difference,
    "convergence": _convergence,
    "bound": _bound,
}
