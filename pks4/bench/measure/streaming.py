"""Frame after frame with a state that does not grow: equal to the whole clip, bytes, seconds.

For contestants that have `initial_state(b)` and `step(frame, state)`, as a causal PKS4 has. Three
things are asked, each of a fresh state, in eval mode, from a fixed seed:

* is the result after t frames that of `forward` on the same t frames? At every t up to the cell's
  last frame, but at most 64. Weights that start at 0, such as the gate, are drawn first: with a
  closed gate both ways would agree whatever the state holds. The measure fails above 1e-5 of the
  largest logit, and where the order of the frames makes no difference to the model.
* how many bytes live more, for each frame that is added? Counted over all live storages, from the
  tenth frame to the last.
* does a frame take longer late in the stream? A stream runs to `frames_total`; states of early and
  late frames are kept, and the next frame of each is timed in interleaved rounds, so that a drift
  of the machine cancels.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading
from pks4.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

ALONE = True
RUNS = True  # computes on this machine
METRICS = (
    "streaming_deviation", "streaming_state_bytes", "streaming_bytes_per_frame",
    "streaming_frame_seconds", "streaming_late_ratio",
)  # fmt: skip
SETTINGS = {"frames_total": 10_000, "rounds": 40, "calls": 5}
RULE = "streaming/v1"
MOST_COMPARED = 64  # frames of the comparison with the whole clip
TOLERANCE = 1e-5  # of logits, relative to the largest
MARKS = (10, 100, 1_000, 10_000)
BANK = 32  # frames that the stream repeats: it holds no more than these


def measure(trial: Trial) -> Iterator[Reading]:
    """Compare with the whole clip, count bytes, run the stream and time it."""
    import torch

    from pks4.simulate.what_ran import Scans

    total = trial.settings["frames_total"]
    if total < 2 * MARKS[0]:
        raise UserError(f"streaming: frames_total must be at least {2 * MARKS[0]}, got {total}")
    model = _opened(trial.build().eval(), trial.cell.model)
    with torch.no_grad():
        with Scans(model) as scans:
            found, backwards = _compared(trial, model)
        evidence = {
            "how": "measured",
            "rule": RULE,
            "device": "cpu",
            "dtype": "float32",
            "scan_backend": scans.backend(),
            "step": "one frame after another, in plain PyTorch",
            "threads": torch.get_num_threads(),
        }
        yield _deviation(found, backwards, evidence)
        frames = trial.clip(frames=min(BANK, total))
        stream = _stream(trial, model, frames, total)
        yield from _bytes(stream, evidence)
        yield from _seconds(trial, model, frames, stream, evidence)


def _opened(model: "nn.Module", name: str) -> "nn.Module":
    """The model with weights that are all 0 drawn from a normal; UserError if it cannot stream."""
    import torch

    if not (hasattr(model, "step") and hasattr(model, "initial_state")):
        raise UserError(
            f"model {name!r} takes whole clips: it has no step(frame, state), so it cannot stream"
        )
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(0, 0.1, generator=chance)
    return model


def _compared(trial: Trial, model: Any) -> tuple[dict[int, float], float]:
    """How far the stream's logits are from those of the whole clip, of the largest, by frames.

    And how far those of the clip played backwards are.
    """
    last = min(trial.cell.frames, MOST_COMPARED)
    clip = trial.clip(frames=last)
    state, found = model.initial_state(clip.shape[0]), {}
    for t in range(1, last + 1):
        logits, state = model.step(clip[:, t - 1], state)
        whole = model(clip[:, :t])
        found[t] = float((logits - whole).abs().max() / whole.abs().max())
    return found, float((model(clip.flip(1)) - whole).abs().max() / whole.abs().max())


def _deviation(found: dict[int, float], backwards: float, evidence: dict[str, Any]) -> Reading:
    """The largest difference of a logit between stream and whole clip, of the largest logit.

    Raises ValueError above 1e-5, and for a model to which the order of frames is all the same.
    """
    worst = max(found, key=found.__getitem__)
    if not found[worst] <= TOLERANCE:
        raise ValueError(
            f"the stream's logits differ from those of the whole clip by {found[worst]:.2e} after "
            f"{worst} frames; at most {TOLERANCE:g} is rounding"
        )
    if len(found) > 1 and backwards < 10 * TOLERANCE:
        raise ValueError("the order of the frames makes no difference, so agreement shows nothing")
    return Reading(
        metric="streaming_deviation",
        value=found[worst],
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail={
            "by_frame": {str(t): d for t, d in found.items()},
            "played_backwards": backwards,
            "tolerance": TOLERANCE,
        },
    )


def _bytes(stream: "Stream", evidence: dict[str, Any]) -> Iterator[Reading]:
    """Bytes of the state, and bytes that live more for each added frame."""
    evidence = {**evidence, "counted": "live storages, seen at every operator"}
    early, late = min(stream.states), max(stream.states)
    yield Reading(
        metric="streaming_state_bytes",
        value=_nbytes(stream.states[late]),
        unit="B",
        kind="exact",
        evidence=evidence,
    )
    more, frames = stream.alive[late] - stream.alive[early], late - early
    yield Reading(
        metric="streaming_bytes_per_frame",
        value=more // frames if more % frames == 0 else more / frames,
        unit="B",
        kind="exact",
        evidence=evidence,
        detail={"live_bytes_by_frame": {str(t): n for t, n in stream.alive.items()}},
    )


def _seconds(
    trial: Trial, model: Any, frames: "Tensor", stream: "Stream", evidence: dict[str, Any]
) -> Iterator[Reading]:
    """Seconds of a frame late in the stream, and their ratio to an early one's."""
    import numpy as np

    from pks4.bench.stats.paired_times import compare

    states = stream.states
    early, late = min(states), max(states)
    samples = _rounds(model, frames, states, trial.settings)
    ratio = compare(samples[late], samples[early], samples[0])
    by_mark = {str(t): float(np.median(samples[t])) for t in states}
    yield Reading(
        metric="streaming_frame_seconds",
        value=by_mark[str(late)],
        unit="s",
        kind="noisy",
        evidence=evidence,
        detail={
            "median_seconds_by_frame": by_mark,
            "samples_seconds": samples[late].tolist(),
            "frames_total": late,
        },
    )
    yield Reading(
        metric="streaming_late_ratio",
        value=ratio.value,
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail={
            "interval": ratio.interval,
            "aa_ratio": ratio.control,
            "aa_interval": ratio.control_interval,
            "least_effect": ratio.least_effect,
            "verdict": _word(ratio.verdict),
            "early_frame": early,
            "late_frame": late,
        },
    )


def _word(verdict: str) -> str:
    """What the verdict on late against early says of the stream."""
    return {"same": "constant", "slower": "growing"}.get(verdict, verdict)


class Stream(NamedTuple):
    """What a long stream left: at each mark and at the end the state, and the bytes alive."""

    states: dict[int, Any]
    alive: dict[int, int]


def _stream(trial: Trial, model: Any, frames: "Tensor", total: int) -> Stream:
    import numpy as np
    import torch
    from torch.utils._pytree import tree_map_only

    from pks4.simulate.operators import LiveBytes

    wanted = {t for t in (*MARKS, total) if t <= total}
    kept, alive, state = {}, {}, model.initial_state(frames.shape[0])
    with LiveBytes() as live:
        for t in range(1, total + 1):
            _, state = model.step(frames[:, t % frames.shape[1]], state)
            if t in wanted:
                alive[t] = live.total()
                kept[t] = tree_map_only(torch.Tensor, _as_array, state)
            if t % 100 == 0:
                live.total()  # forgets the dead
                trial.progress(t, total, "frames")
    back = torch.from_numpy
    return Stream({t: tree_map_only(np.ndarray, back, one) for t, one in kept.items()}, alive)


def _as_array(x: "Tensor") -> Any:
    """A copy that is no storage of PyTorch's."""
    return x.numpy().copy()


def _nbytes(state: Any) -> int:
    from torch.utils._pytree import tree_leaves

    storages = {
        x.untyped_storage()._cdata: x.untyped_storage().nbytes()
        for x in tree_leaves(state)
        if hasattr(x, "untyped_storage")
    }
    return sum(storages.values())


def _rounds(
    model: Any, frames: "Tensor", states: dict[int, Any], settings: dict[str, Any]
) -> dict[int, Any]:
    """Seconds of the next frame after each state, by round; 0 is the earliest state once more."""
    import gc

    import numpy as np

    arms = {**states, 0: states[min(states)]}
    chance = np.random.default_rng(0)
    samples: dict[int, list[float]] = {t: [] for t in arms}
    gc.collect()
    gc.disable()
    try:
        for _ in range(settings["rounds"]):
            for t in chance.permutation(list(arms)):
                started = time.perf_counter()
                for _ in range(settings["calls"]):
                    model.step(frames[:, 0], arms[t])
                samples[t].append((time.perf_counter() - started) / settings["calls"])
    finally:
        gc.enable()
    return {int(t): np.array(values) for t, values in samples.items()}
