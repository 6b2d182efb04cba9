"""Both campaigns, as one table in Markdown: what was survived, what was refused, what was lost.

    python tests/campaign.py [--sample N] [--seed S] > table.md

In full it takes an hour or two on two cores; `docs/faults.md` shows what it printed.
"""

import argparse
import sys

import faults
import fuzz

from pks4.bench.environment import commit, cores

LOST = ("has changed", "twice", "other keys", "other values", "has no record")


def table(shot: dict[str, faults.Survived], fed: dict[str, fuzz.Found]) -> str:
    """Faults and files, a line each, with a total below."""
    rows = ["| fault | survived |", "|---|---:|"]
    for name, one in shot.items():
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
    for name, one in fed.items():
        counts = [one.cases, one.accepted, one.refused, len(one.wrong)]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        rows.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    rows.append("| **all** | " + " | ".join(f"**{n}**" for n in totals) + " |")
    return "\n".join(rows)


def main() -> None:
    """Run both; exit code 1 if anything was lost, not survived, or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="trials of each fault and cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    fed = fuzz.campaign(options.sample, None, options.seed)
    shot = faults.campaign(options.sample, None, options.seed)
    head, changed = commit()
    print(f"Commit {(head or 'unknown')[:7]}{', changed' if changed else ''}, seed {options.seed}, "
          f"{cores()} cores.\n")  # fmt: skip
    print(table(shot, fed))
    wrong = [line for one in (*shot.values(), *fed.values()) for line in one.wrong]
    print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
