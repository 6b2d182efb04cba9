"""The case behind a number: what two records must share before their values may be compared.

A case is the contestant with its options, the cell's sizes, the measure's complete settings, how
the number was obtained (rule, target, kernel, scan backend, data …) and the version of PyTorch.
Noisy numbers need the same machine too. Where cases differ, a difference of values says nothing
about the code: it is "not comparable", and the differing fact is named. A setting that an older run
lacks counts as the default, because a change of what is measured has a new rule. Floors that void a
cell do not count: they change no number.
"""

from collections.abc import Mapping
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.plan import FLOORS
from pks4.bench.records.record import Record

# Facts of `evidence` that say which path gave the number; others are outcomes.
EVIDENCE = (
    "how", "rule", "target", "device", "dtype", "precision", "kernel", "scan_backend", "threads",
    "reference", "reader", "data", "image_digest",
)  # fmt: skip
ONCE = {"features": "cached", "decoded": "once"}  # evidence, and how it begins if done only once
CONTESTANT = ("model", "options", "scale", "frames", "batch", "task")
LIBRARIES = ("torch",)
MACHINE = ("os", "cpu", "cores", "gpu")


def case(record: Record, cell: Cell | None) -> dict[str, Any]:
    """Every fact that two records must share, by a name that people read."""
    facts: dict[str, Any] = {name: getattr(record, name) for name in CONTESTANT}
    if cell is not None:
        facts["num_classes"] = cell.num_classes
        measure = catalogue.measures().get(record.measure)
        defaults = measure.facts.get("SETTINGS", {}) if measure else {}
        settings = {**defaults, **cell.settings.get(record.measure, {})}
        facts["settings"] = {k: v for k, v in settings.items() if k not in FLOORS}
    facts |= {name: record.evidence[name] for name in EVIDENCE if name in record.evidence}
    return facts | {name: record.versions.get(name) for name in LIBRARIES}


def done_once(record: Record) -> dict[str, Any]:
    """The further facts on which times alone depend: what was computed or decoded only once."""
    facts = {name: str(record.evidence.get(name, "")) for name in ONCE}
    return {name: fact for name, fact in facts.items() if fact.startswith(ONCE[name])}


def machine(record: Record) -> dict[str, Any]:
    """The facts of a machine on which times depend."""
    return {name: record.environment[name] for name in MACHINE if name in record.environment}


def differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[str]:
    """What differs, as `name: old → new`; mappings are compared key by key."""
    found = []
    for name in dict.fromkeys([*base, *head]):
        old, new = base.get(name), head.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{line}" for line in differences(old, new)]
        else:
            found.append(f"{name}: {_words(name, base)} → {_words(name, head)}")
    return found


def _words(name: str, facts: Mapping[str, Any]) -> str:
    """A fact as text; an empty text in quotes."""
    return repr(facts[name]) if facts.get(name) == "" else str(facts.get(name, "none"))
