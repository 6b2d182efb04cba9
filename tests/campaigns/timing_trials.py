"""How often do paired times cry wolf, and do they find a planted 5 %? A campaign, not a test.

    python -m tests.campaigns.timing_trials [--trials 25] [--load 1] [--json]

Each trial is a session as the measure `time` makes it: interleaved rounds of reference, candidate
and the reference again, judged by `stats/paired_times.py`. In A/A trials the candidate is the
reference; in planted ones it does 5 % more of the same work. `--load` processes keep cores busy at
random meanwhile. Printed: false alarms, finds, void sessions, and what single medians would say.
"""

import argparse
import json
import multiprocessing
import random
import time

import numpy as np
import torch

from pks4.bench.measure.parts.paired_sessions import take
from pks4.bench.measure.time import SETTINGS
from pks4.bench.stats.paired_times import compare

PLANTED = 1.05
UNITS = 200  # pieces of work of a reference call
FIXED_RULE = 0.07  # of two medians: what many suites call a difference


def worker_that_disturbs(seed: int) -> None:
    """Keep a core busy for a random while, then rest for one."""
    chance = random.Random(seed)
    while True:
        end = time.perf_counter() + chance.uniform(0.01, 0.3)
        while time.perf_counter() < end:
            pass
        time.sleep(chance.uniform(0.01, 0.3))


def work(units: int):
    """A call that does so many equal pieces of work, a fraction of a millisecond each."""
    a = torch.randn(64, 64)

    def call() -> None:
        x = a
        for _ in range(units):
            x = torch.tanh(x @ a)

    return call


def trial(factor: float, seed: int) -> tuple[str, float]:
    """One session: its verdict, and the ratio of plain medians."""
    settings = {**SETTINGS, "rounds": 21, "sample_ms": 20}
    arms = {
        "reference": work(UNITS),
        "candidate": work(round(UNITS * factor)),
        "again": work(UNITS),
    }
    samples = take(settings, seed, arms, lambda n: None)
    wall = {arm: np.array(pairs)[:, 0] for arm, pairs in samples.items()}
    found = compare(wall["candidate"], wall["reference"], wall["again"])
    return found.verdict, float(np.median(wall["candidate"]) / np.median(wall["reference"]))


def campaign(trials: int) -> dict[str, object]:
    """Verdicts of A/A and of planted trials."""
    same = [trial(1.0, i) for i in range(trials)]
    planted = [trial(PLANTED, 1000 + i) for i in range(trials)]
    return {
        "trials": trials,
        "false_alarms": sum(v in ("slower", "faster") for v, _ in same),
        "void": sum(v == "void" for v, _ in (*same, *planted)),
        "planted_found": sum(v == "slower" for v, _ in planted),
        "planted_wrong": sum(v == "faster" for v, _ in planted),
        "fixed_rule_false_alarms": sum(abs(r - 1) > FIXED_RULE for _, r in same),
        "fixed_rule_found": sum(r - 1 > FIXED_RULE for _, r in planted),
    }


def main() -> None:
    """Run the campaign under load and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--load", type=int, default=1, help="processes that disturb")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    disturbers = [
        multiprocessing.Process(target=worker_that_disturbs, args=(i,), daemon=True)
        for i in range(options.load)
    ]
    for one in disturbers:
        one.start()
    try:
        found = {**campaign(options.trials), "load": options.load}
    finally:
        for one in disturbers:
            one.kill()
    if options.json:
        print(json.dumps(found))
        return
    for name, number in found.items():
        print(f"{name:<26}{number}")


if __name__ == "__main__":
    main()
