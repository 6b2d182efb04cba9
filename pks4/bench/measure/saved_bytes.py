"""Activation memory: bytes kept for backward, by module class and stage, without a GPU.

Every tensor that autograd keeps is noted once per storage; parameters, buffers and the input do
not count. On fake tensors with a declared attention kernel this equals a real run to the byte,
under autocast too, whose copies of weights count. A kernel's own workspace and what backward
allocates for a moment are not in this number.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.bench.record import Reading
from pks4.bench.trial import Trial
from pks4.bench.whereabouts import Stages, Whereabouts

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pks4.bench.paths import Ran
    from pks4.bench.targets import Target

METRICS = ("saved_bytes",)
SETTINGS = {
    "target": "cpu-fp32",
    "kernel": "",  # "math" keeps scores; "": the target's
    "check_up_to": 8,  # frames of a cell that is checked against a real run
    "check_frames": 2,  # of that run; it is at tiny scale,
    "check_whole": False,  # or else the cell itself
}
RULE = "saved_bytes/v1"


class Disagreement(Exception):
    """A simulated run keeps other bytes than a real one."""


def measure(trial: Trial) -> Iterator[Reading]:
    """Run one forward on fake tensors and add up what is kept; check a small one against reality.

    In cells of up to `check_up_to` frames, where the target is a CPU, the same contestant is run
    for real, small or as it is, and must keep the same to the byte.
    """
    from pks4.bench.targets import target

    where = target(trial.settings["target"], trial.settings["kernel"])
    kept = simulated(trial, where)
    kept.ran.check(trial.asked_attention())
    checked = where.rules == "cpu" and trial.cell.frames <= trial.settings["check_up_to"]
    check = _cross_check(trial, where) if checked else None
    yield Reading(
        metric="saved_bytes",
        value=kept.by_class.total(),
        unit="B",
        kind="exact",
        evidence={
            **where.evidence(),
            "rule": RULE,
            **kept.ran.evidence(),
            "agreed": [f"a real run at {check['scale']} scale"] if check else [],
        },
        detail={
            "by_class": dict(kept.by_class.most_common()),
            "by_stage": dict(kept.by_stage),
            "weight_copies": kept.weight_copies,
            "materialised_by": list(kept.ran.materialised),
            "check": check,
        },
    )


class Kept(NamedTuple):
    """Bytes kept for backward; copies are of weights that autocast lowered, the same at any T."""

    by_class: Counter[str]
    by_stage: Counter[str]
    weight_copies: int
    ran: "Ran"


def simulated(trial: Trial, where: "Target") -> Kept:
    """A forward of the trial's model on a target, on fake tensors."""
    from pks4.bench.targets import standing_on

    model = trial.build("meta")
    with standing_on(where, model, trial.clip("meta")) as clip:
        return saved_bytes(model, clip, where.kernel, trial.stages())


def _cross_check(trial: Trial, where: "Target") -> dict[str, Any]:
    """A contestant simulated and real, side by side; raises Disagreement where they differ."""
    import torch

    small = trial if trial.settings["check_whole"] else trial.small(trial.settings["check_frames"])
    fake, model, clip = simulated(small, where), small.build(), small.clip()
    with torch.autocast("cpu", torch.bfloat16, enabled=where.dtype == "bfloat16"):
        real = saved_bytes(model, clip, where.kernel, small.stages())
    for name in Kept._fields:
        said, was = getattr(fake, name), getattr(real, name)
        if said != was:
            raise Disagreement(
                f"bytes kept at {small.cell.scale} scale, {small.cell.frames} frames, {name}: "
                f"simulated {_apart(said, was)}, real {_apart(was, said)}; is the fake kernel of "
                "an operator wrong?"
            )
    return {
        "scale": small.cell.scale,
        "frames": small.cell.frames,
        "bytes": real.by_class.total(),
    }


def _apart(said: Any, other: Any) -> Any:
    """What of a count is not as in the other."""
    if not isinstance(said, Counter):
        return said
    return {k: said[k] for k in sorted({*said, *other}) if said[k] != other[k]}


def saved_bytes(
    model: "nn.Module", clip: "Tensor", kernel: str, stages: "Stages | None" = None
) -> Kept:
    """Bytes kept for backward by module class and by stage, and what ran.

    `stages` names parts of module names by stage (`STAGES` of a contestant's file); without it
    stages are the top-level children. Works on any device; the model is run once, forward only.
    """
    from pks4.bench.kernels import declared_attention
    from pks4.bench.lowered import LoweredWeights
    from pks4.bench.paths import Paths
    from pks4.cost import open_stage

    by_class: Counter[str] = Counter()
    by_stage: Counter[str] = Counter()
    where = Whereabouts(model, stages)
    copies = LoweredWeights(model)
    copied = 0

    def note(storage: "torch.UntypedStorage") -> None:
        nonlocal copied
        by_class[where.module] += storage.nbytes()
        by_stage[open_stage() or where.stage] += storage.nbytes()
        copied += storage.nbytes() if storage in copies else 0

    with (
        where,
        declared_attention(kernel) as calls,
        copies,
        Paths(model, calls, lambda: where.module) as paths,
        noted_storages([*model.parameters(), *model.buffers(), clip], note),
    ):
        output = model(clip)
    del output
    return Kept(by_class, by_stage, copied, paths.ran())


@contextmanager
def noted_storages(
    ignored: Iterable["Tensor"], note: Callable[["torch.UntypedStorage"], None]
) -> Iterator[None]:
    """While open, `note` gets each storage that autograd keeps, once.

    Storages of the `ignored` tensors do not count.
    """
    import torch

    own = {t.untyped_storage()._cdata for t in ignored}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their identities apart

    def look(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in kept:
            kept[storage._cdata] = storage
            note(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, lambda t: t):
        yield
