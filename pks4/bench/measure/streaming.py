"""Frame after frame with a state that does not grow: equal to the whole clip, bytes, seconds.

For contestants with `initial_state(b)` and `step(frame, state)`, such as a causal PKS4. Three
questions, each from a fresh state, in eval mode, from a fixed seed:

* Is the result after t frames that of `forward` on the same t frames? Compared at every t up to the
  cell's last frame, but at most 64. Weights that start at 0, such as the gate, are drawn first:
  with a closed gate both results agree whatever the state holds. The measure fails above 1e-5 of
  the largest logit, and where the order of the frames makes no difference to the model.
* How many more bytes live with each added frame? Counted over all live storages, from the tenth
  frame to the last. A state may grow, such as the cache of causal attention: the verdict says so.
* Does a frame take longer late in the stream? A stream runs to `frames_total`. States of early and
  late frames are kept, and the next frame of each is timed in interleaved rounds, so that a drift
  of the machine cancels. The frame after the last has its median and its 99th percentile: a stream
  that must keep up with a camera waits for the slow ones.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.bench.contestants.build import draw_zeros
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.interleaved import sample_rounds
from pks4.bench.records.record import Reading
from pks4.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

ALONE = True
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "streaming_deviation": ("1", "less is better"),
    "streaming_state_bytes": ("B", "less is better"),
    "streaming_bytes_per_frame": ("B", "less is better"),
    "streaming_frame_seconds": ("s", "less is better; p50"),
    "streaming_frame_p99_seconds": ("s", "less is better"),
    "streaming_late_ratio": ("1", "less is better; 1: as early frames"),
}
SETTINGS = {"frames_total": 10_000, "rounds": 300, "calls": 1}
ABOUT = {
    "frames_total": "frames of the stream",
    "rounds": "rounds of samples of early and late frames",
    "calls": "steps of one sample; p99 needs 1",
}
RULE = "streaming/v1"
MOST_COMPARED = 64  # frames of the comparison with the whole clip
TOLERANCE = 1e-5  # of logits, relative to the largest
MARKS = (10, 100, 1_000, 10_000)
LEAST_FOR_P99 = 300  # samples: below 299 the largest may lie under p99 in more than 5 % of runs
BANK = 32  # different frames, which the stream repeats


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Compare with the whole clip, count bytes, run the stream and time it."""
    import torch

    from pks4.simulate.what_ran import ScanObserver

    total = inputs.settings["frames_total"]
    if total < 2 * MARKS[0]:
        raise UserError(f"streaming: frames_total must be at least {2 * MARKS[0]}, got {total}")
    model = _opened(inputs.build().eval(), inputs.cell.model)
    with torch.no_grad():
        with ScanObserver(model) as scans:
            differences, backwards = _compared(inputs, model)
        evidence = {
            "how": "measured",
            "rule": RULE,
            "device": "cpu",
            "dtype": "float32",
            "scan_backend": scans.backend(),
            "step": "one frame after another, in plain PyTorch",
            "threads": torch.get_num_threads(),
        }
        yield _deviation(differences, backwards, evidence)
        frames = inputs.clip(frames=min(BANK, total))
        stream = _stream(inputs, model, frames, total)
        yield from _bytes(stream, evidence)
        yield from _seconds(inputs, model, frames, stream, evidence)


def _opened(model: "nn.Module", name: str) -> "nn.Module":
    """The model with weights that are all 0 drawn from a normal; UserError if it cannot stream."""
    if not (hasattr(model, "step") and hasattr(model, "initial_state")):
        raise UserError(
            f"model {name!r} takes whole clips: it has no step(frame, state), so it cannot stream"
        )
    draw_zeros(model)
    return model


def _compared(inputs: MeasureInput, model: Any) -> tuple[dict[int, float], float]:
    """Differences of logits between stream and whole clip by frames, and of the reversed clip.

    Each is the largest difference over the largest logit.
    """
    last = min(inputs.cell.frames, MOST_COMPARED)
    clip = inputs.clip(frames=last)
    state, differences = model.initial_state(clip.shape[0]), {}
    for t in range(1, last + 1):
        logits, state = model.step(clip[:, t - 1], state)
        whole = model(clip[:, :t])
        differences[t] = float((logits - whole).abs().max() / whole.abs().max())
    return differences, float((model(clip.flip(1)) - whole).abs().max() / whole.abs().max())


def _deviation(
    differences: dict[int, float], backwards: float, evidence: dict[str, Any]
) -> Reading:
    """The largest difference of a logit between stream and whole clip, of the largest logit.

    Raises ValueError above 1e-5, and for a model that ignores the order of frames.
    """
    worst = max(differences, key=differences.__getitem__)
    if not differences[worst] <= TOLERANCE:
        raise ValueError(
            "the stream's logits differ from those of the whole clip by "
            f"{differences[worst]:.2e} after {worst} frames; at most {TOLERANCE:g} is rounding"
        )
    if len(differences) > 1 and backwards < 10 * TOLERANCE:
        raise ValueError("the order of the frames makes no difference, so agreement shows nothing")
    return Reading(
        metric="streaming_deviation",
        value=differences[worst],
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail={
            "by_frame": {str(t): d for t, d in differences.items()},
            "played_backwards": backwards,
            "tolerance": TOLERANCE,
        },
    )


def _bytes(stream: "Stream", evidence: dict[str, Any]) -> Iterator[Reading]:
    """Bytes of the state, and more live bytes for each added frame."""
    counted = {**evidence, "counted": "live storages, seen at every operator"}
    reading = partial(Reading, unit="B", kind="exact", evidence=counted)
    early, late = min(stream.states), max(stream.states)
    yield reading(metric="streaming_state_bytes", value=_nbytes(stream.states[late]))
    more, frames = stream.alive[late] - stream.alive[early], late - early
    yield reading(
        metric="streaming_bytes_per_frame",
        value=more // frames if more % frames == 0 else more / frames,
        detail={
            "verdict": "growing" if more > 0 else "constant",
            "live_bytes_by_frame": {str(t): n for t, n in stream.alive.items()},
        },
    )


def _seconds(
    inputs: MeasureInput, model: Any, frames: "Tensor", stream: "Stream", evidence: dict[str, Any]
) -> Iterator[Reading]:
    """Seconds of a frame late in the stream, p50 and p99, and their ratio to an early one's."""
    import numpy as np

    from pks4.bench.measure.parts.paired_sessions import ratio_reading
    from pks4.bench.stats.paired_times import compare

    states = stream.states
    early, late = min(states), max(states)
    samples = _rounds(model, frames, states, inputs.settings)
    ratio = compare(samples[late], samples[early], samples[0])
    by_mark = {str(t): float(np.median(samples[t])) for t in states}
    reading = partial(Reading, unit="s", kind="noisy", evidence=evidence)
    lacking = _lacks_for_p99(inputs.settings)
    yield reading(
        metric="streaming_frame_seconds",
        value=by_mark[str(late)],
        detail={
            "median_seconds_by_frame": by_mark,
            "samples_seconds": samples[late].tolist(),
            "frames_total": late,
            **({"p99": lacking} if lacking else {}),
        },
    )
    if not lacking:
        yield reading(
            metric="streaming_frame_p99_seconds",
            value=float(np.percentile(samples[late], 99)),
            detail={"samples": len(samples[late]), "largest_seconds": float(samples[late].max())},
        )
    detail = {"verdict": _verdict(ratio.verdict), "early_frame": early, "late_frame": late}
    yield ratio_reading("streaming_late_ratio", ratio, evidence, detail)


def _lacks_for_p99(settings: dict[str, Any]) -> str:
    """Why the samples give no p99; empty if they do."""
    if settings["calls"] > 1:
        return f"not given: a sample is the mean of {settings['calls']} frames; set calls = 1"
    if settings["rounds"] < LEAST_FOR_P99:
        return f"not given: {settings['rounds']} rounds; at least {LEAST_FOR_P99} show it"
    return ""


def _verdict(verdict: str) -> str:
    """The verdict on late against early, in words for a stream."""
    return {"same": "constant", "slower": "growing"}.get(verdict, verdict)


class Stream(NamedTuple):
    """The state and the live bytes at each mark and at the end of a long stream."""

    states: dict[int, Any]
    alive: dict[int, int]


def _stream(inputs: MeasureInput, model: Any, frames: "Tensor", total: int) -> Stream:
    """Run `total` frames through the model, repeating `frames`."""
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
                live.total()  # forgets storages that were freed
                inputs.progress(t, total, "frames")
    tensor = torch.from_numpy
    states = {t: tree_map_only(np.ndarray, tensor, state) for t, state in kept.items()}
    return Stream(states, alive)


def _as_array(x: "Tensor") -> Any:
    """A copy outside PyTorch's storages."""
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
    """Seconds of the next frame after each state, by round; key 0 is the earliest state again."""
    import numpy as np

    arms, calls = {**states, 0: states[min(states)]}, settings["calls"]

    def seconds(t: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            model.step(frames[:, 0], arms[t])
        return (time.perf_counter() - started) / calls

    samples = sample_rounds(arms, seconds, settings["rounds"], seed=0)
    return {t: np.array(values) for t, values in samples.items()}
