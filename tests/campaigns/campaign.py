"""Both campaigns, as one table in Markdown: what was survived, what was refused, what was lost.

    python -m tests.campaigns.campaign [--sample N] [--seed S] [--jobs N] > table.md

In full it takes an hour or two one part after another; `--jobs 2` does two at once. Progress goes
to standard error. Ctrl-C prints the table of what is done so far, and says so.
"""

import argparse
import sys
from collections.abc import Iterable

from pks4.bench.records.environment import commit, cores
from tests.campaigns import faults, fuzz

LOST = ("has changed", "twice", "other keys", "other values", "has no record")


def table(shot: dict[str, faults.Survived], fed: dict[str, fuzz.Found]) -> str:
    """Faults and files, a line each, with a total below."""
    rows = ["| fault | survived |", "|---|---:|"]
    for name, one in _in_order(shot, faults.FAULTS):
        rows.append(f"| {name} | {one.skipped or f'{one.survived}/{one.trials}'} |")
    survived, trials = (
        sum(getattr(one, n) for one in shot.values()) for n in ("survived", "trials")
    )
    lost = sum(any(w in line for w in LOST) for one in shot.values() for line in one.wrong)
    rows += [f"| **all** | **{survived}/{trials}** |", "", f"Trials that lost or doubled a record: "
             f"{lost}.", ""]  # fmt: skip
    rows += ["| files | cases | accepted | refused in a line | anything else |"]
    rows += ["|---|---:|---:|---:|---:|"]
    totals = [0, 0, 0, 0]
    for name, one in _in_order(fed, fuzz.KINDS):
        counts = [one.cases, one.accepted, one.refused, len(one.wrong)]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        rows.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    rows.append("| **all** | " + " | ".join(f"**{n}**" for n in totals) + " |")
    return "\n".join(rows)


def _in_order(found: dict, names: Iterable[str]) -> list[tuple]:
    """What was found by name, in this order; parts end in any."""
    return [(name, found[name]) for name in names if name in found]


def main() -> None:
    """Run both; exit code 1 if anything was lost, not survived, or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="trials of each fault and cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="parts at once, each by itself")
    options = parser.parse_args()
    asked = (options.sample, None, options.seed, options.jobs)
    shot: dict[str, faults.Survived] = {}
    fed: dict[str, fuzz.Found] = {}
    whole = False
    try:
        for kind, found in fuzz.campaign(*asked):
            fed[kind] = found
        for fault, part in faults.campaign(*asked):
            faults.add(shot, fault, part)
        whole = True
    finally:
        head, changed = commit()
        print(f"Commit {(head or 'unknown')[:7]}{', changed' if changed else ''}, "
              f"seed {options.seed}, {cores()} cores, {options.jobs} parts at once"
              f"{'' if whole else '; broken off: the parts that were done'}.\n")  # fmt: skip
        print(table(shot, fed))
        wrong = [line for one in (*shot.values(), *fed.values()) for line in one.wrong]
        print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
