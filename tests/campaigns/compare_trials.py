"""How often compare is wrong, and what it finds: the tables of docs/regressions.md, simulated.

`python -m tests.campaigns.compare_trials` takes some two minutes on one core; seeds are fixed.
"""

import numpy as np

from pks4.bench.stats import clips as clip_stats
from pks4.bench.stats import paired_times

TRIALS, POWER_TRIALS, LEVEL = 200, 60, 0.05
PROCESSES, ROUNDS = 3, 7
ROUND_SPREAD = 0.02  # log sd of one time
CLIPS, CLIP_TRIALS = 300, 2000


def session(chance, spread, factor=1.0):
    """Log-ratios of a session whose processes differ by `spread`; a ratio has two times in it."""
    noise = ROUND_SPREAD * np.sqrt(2)
    level = chance.normal(0, spread, (PROCESSES, 1)) + np.log(factor)
    logs = level + chance.normal(0, noise, (PROCESSES, ROUNDS))
    control = chance.normal(0, noise, (PROCESSES, ROUNDS))
    return paired_times.Samples(logs=tuple(logs), control=tuple(control))


def times(spread):
    """Shares: false alarms, intervals that cover, +10 % found, +20 % found."""

    def shift(trial, factor):
        chance = np.random.default_rng([5, trial])
        base = session(chance, spread)
        return paired_times.shift(base, session(chance, spread, factor))

    alike = [shift(n, 1.0) for n in range(TRIALS)]
    alarms = np.mean([s.p < LEVEL and not s.void for s in alike])
    covers = np.mean([s.interval[0] <= 1 <= s.interval[1] for s in alike])
    found = [np.mean([shift(n, f).p < LEVEL for n in range(POWER_TRIALS)]) for f in (1.1, 1.2)]
    return alarms, covers, *found


def accuracies(seeds, spread):
    """Share of false alarms: clips differ in how hard they are, seeds by `spread`."""
    alarms = []
    for n in range(CLIP_TRIALS):
        chance = np.random.default_rng([3, n, seeds])
        clip = chance.normal(0, 1, CLIPS)
        base, head = (
            clip + chance.normal(0, spread, (seeds, 1)) + chance.normal(0, 1, (seeds, CLIPS)) > 0
            for _ in range(2)
        )
        alarms.append(clip_stats.paired_bootstrap(head, base, draws=1000).p < LEVEL)
    return np.mean(alarms)


def main():
    """Print both tables."""
    print("times: processes differ by, false alarms, interval covers, +10 % found, +20 % found")
    for spread in (0.01, 0.04, 0.08):
        print(f"{spread:.0%}", *(f"{share:.1%}" for share in times(spread)), flush=True)
    print("accuracies: seeds, false alarms where seeds differ by 0, 0.1 and 0.3 (probit)")
    for seeds in (1, 2, 3, 5, 10):
        print(seeds, *(f"{accuracies(seeds, s):.1%}" for s in (0.0, 0.1, 0.3)), flush=True)


if __name__ == "__main__":
    main()
