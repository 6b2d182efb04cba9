"""Samples in interleaved rounds: how every timing of this project is taken.

Each round samples every arm once, in random order, so that a drift of the machine or of its clock
reaches all arms alike; statistics use ratios within a round. The garbage collector is off.
"""

import gc
import random
from collections.abc import Callable, Iterable
from typing import TypeVar

Arm = TypeVar("Arm")
Sample = TypeVar("Sample")


def sample_rounds(
    arms: Iterable[Arm],
    sample: Callable[[Arm], Sample],
    rounds: int,
    seed: int,
    done: Callable[[int], None] = lambda number: None,
) -> dict[Arm, list[Sample]]:
    """Samples of each arm, one a round; `done` is called with the number of finished rounds."""
    order, names = random.Random(seed), list(arms)
    samples: dict[Arm, list[Sample]] = {arm: [] for arm in names}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(1, rounds + 1):
            for arm in order.sample(names, len(names)):
                samples[arm].append(sample(arm))
            done(number)
    finally:
        if collecting:
            gc.enable()
    return samples
