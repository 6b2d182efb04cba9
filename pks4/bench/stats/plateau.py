"""Whether a training had flattened when it ended: what its last fifth of epochs still changed.

A cosine schedule brings the learning rate from a tenth of its peak to 0 in the last fifth. A curve
that still moves there would have gone on with a longer schedule; one that does not is flat, or
cannot learn. The last epoch is compared with the last one before that fifth.

* Training loss: falling, where it fell by more than 2 % of the first epoch's loss. A share of the
  last loss would call a training unfinished that goes from 0.02 to 0.01.
* Validation top-1: rising, where it rose by more than 2 points. Below that, a few clips decide.
"""

from collections.abc import Sequence

LOSS_SHARE = 0.02  # of the first epoch's loss
TOP1_POINTS = 0.02


def last_fifth(epochs: int) -> int:
    """The number of epochs in the last fifth, at least 1."""
    return -(-epochs // 5)


def change_at_end(values: Sequence[float]) -> float | None:
    """The change of a value by epoch over the last fifth; None for fewer than two epochs."""
    before = len(values) - 1 - last_fifth(len(values))
    return values[-1] - values[before] if before >= 0 else None


def loss_fall(losses: Sequence[float]) -> float | None:
    """How far a loss by epoch fell at the end, as a share of the first; None as above."""
    change = change_at_end(losses)
    return None if change is None else -change / losses[0]
