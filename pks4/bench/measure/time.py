"""Wall-clock of a forward and of a training step, paired with a reference contestant.

Candidate, reference and the reference again are sampled in interleaved rounds in one process (see
`pks4.bench.pairing`); raw samples are kept, wall and CPU time. A sample is a loop long enough for
`sample_ms`. One thread, garbage collection off, first calls left out as warm-up.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench.record import Reading
from pks4.bench.trial import Trial, build, scan_backend

if TYPE_CHECKING:
    from torch import Tensor, nn

ALONE = True
SETTINGS = {
    "reference": "frame_mean",
    "rounds": 20,
    "sample_ms": 50,
    "warm_ups": 3,
    "kernel": "flash_cpu",
}
ARMS = ("reference", "candidate", "again")


def measure(trial: Trial) -> Iterator[Reading]:
    """Time both operations of the candidate against the reference contestant."""
    import torch

    from pks4.bench.kernels import declared_attention

    clip = trial.clip()
    models = {"candidate": trial.build(), "reference": _reference(trial)}
    models["again"] = _reference(trial)
    evidence = {
        "how": "measured",
        "rule": "paired/v1",
        "device": "cpu",
        "dtype": "float32",
        "scan_backend": scan_backend(models["candidate"]),
        "threads": torch.get_num_threads(),
        "processes": 1,
        "reference": trial.settings["reference"],
    }
    for operation in ("forward", "step"):
        arms = {arm: _operation(operation, models[arm], clip) for arm in ARMS}
        with declared_attention(trial.settings["kernel"]) as calls:
            arms["candidate"]()  # alone, to see which kernel it calls
        with declared_attention(trial.settings["kernel"]):
            samples = _rounds(trial, operation, arms)
        yield from _readings(operation, samples, {**evidence, "kernel": calls.evidence()})


def _reference(trial: Trial) -> "nn.Module":
    """The reference contestant at this cell's scale and frames."""
    from pks4.bench import catalogue

    name = trial.settings["reference"]
    entry = catalogue.find("reference model", name, catalogue.models())
    options = entry.facts["SCALES"][trial.cell.scale]
    return build(trial.cell.model_copy(update={"model": name, "options": options}))


def _operation(name: str, model: "nn.Module", clip: "Tensor") -> Callable[[], Any]:
    """A closure that does one forward (eval, no gradients) or one training step."""
    import torch
    import torch.nn.functional as F

    if name == "forward":
        model.eval()

        def forward() -> None:
            with torch.no_grad():
                model(clip)

        return forward
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6)
    labels = torch.zeros(len(clip), dtype=torch.long)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(clip), labels).backward()
        optimiser.step()

    return step


def _rounds(
    trial: Trial, operation: str, arms: dict[str, Callable[[], Any]]
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds per call of each arm, one pair a round, arms in random order."""
    loops = {}
    for arm, call in arms.items():
        for _ in range(trial.settings["warm_ups"]):
            call()
        wall, _ = _sample(call, 1)
        loops[arm] = max(1, round(trial.settings["sample_ms"] / 1000 / wall))
    order = random.Random(0)
    samples: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for done in range(trial.settings["rounds"]):
            for arm in order.sample(ARMS, len(ARMS)):
                samples[arm].append(_sample(arms[arm], loops[arm]))
            trial.progress(done + 1, trial.settings["rounds"], operation)
    finally:
        if collecting:
            gc.enable()
    return samples


def _sample(call: Callable[[], Any], loops: int) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - wall) / loops, (time.process_time() - cpu) / loops


def _readings(operation: str, samples: dict, evidence: dict[str, Any]) -> Iterator[Reading]:
    import numpy as np

    from pks4.bench.pairing import compare

    wall = {arm: np.array([w for w, _ in pairs]) for arm, pairs in samples.items()}
    cpu = np.array([c for _, c in samples["candidate"]])
    yield Reading(
        metric=f"{operation}_seconds",
        value=float(np.median(wall["candidate"])),
        unit="s",
        kind="noisy",
        evidence=evidence,
        detail={
            "samples_seconds": wall["candidate"].tolist(),
            "cpu_seconds": cpu.tolist(),
            "cpu_per_wall": float(np.median(cpu / wall["candidate"])),
        },
    )
    ratio = compare(wall["candidate"], wall["reference"], wall["again"])
    yield Reading(
        metric=f"{operation}_ratio",
        value=ratio.value,
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail={
            "interval": ratio.interval,
            "aa_ratio": ratio.control,
            "aa_interval": ratio.control_interval,
            "least_effect": ratio.least_effect,
            "verdict": ratio.verdict,
            "reference": evidence["reference"],
            "reference_seconds": wall["reference"].tolist(),
            "again_seconds": wall["again"].tolist(),
        },
    )
