"""One session of paired times in a process of its own: candidate, reference, reference again.

The job comes as a line of JSON on standard input, progress and samples go out as lines of JSON. A
sample is a loop long enough for `sample_ms`; arms are sampled once a round, in random order.
"""

import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from pks4.bench import catalogue, child
from pks4.bench.plan import Cell
from pks4.bench.trial import Trial, build, scan_backend

if TYPE_CHECKING:
    from torch import Tensor, nn

ARMS = ("reference", "candidate", "again")
OPERATIONS = ("forward", "step")


def main() -> None:
    """Do the job on standard input."""
    line, events = child.receive()
    job = json.loads(line)
    import torch

    torch.set_num_threads(job["threads"])
    trial = Trial(Cell.model_validate(job["cell"]), job["settings"])
    for operation, found in session(trial, job["seed"], events):
        _say(events, operation=operation, **found)


def session(trial: Trial, seed: int, events: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Samples of both operations, (wall, CPU) seconds a call of each arm, and what ran."""
    from pks4.bench.kernels import declared_attention

    clip, settings = trial.clip(), trial.settings
    models = {"candidate": trial.build(), "reference": _reference(trial)}
    models["again"] = _reference(trial)
    for operation in OPERATIONS:
        arms = {arm: _operation(operation, models[arm], clip) for arm in ARMS}
        with declared_attention(settings["kernel"]) as calls:
            arms["candidate"]()  # alone, to see which kernel it calls
        with declared_attention(settings["kernel"]):
            samples = _rounds(settings, seed, arms, lambda n: _say(events, rounds=n))
        ran = {"kernel": calls.evidence(), "scan_backend": scan_backend(models["candidate"])}
        yield operation, {"samples": samples, "ran": ran}


def _reference(trial: Trial) -> "nn.Module":
    """The reference contestant at this cell's scale and frames."""
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
    settings: dict[str, Any],
    seed: int,
    arms: dict[str, Callable[[], Any]],
    done: Callable[[int], None],
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds a call of each arm, once a round, in random order; warm-ups left out."""
    loops = {}
    for arm, call in arms.items():
        for _ in range(settings["warm_ups"]):
            call()
        wall, _ = _sample(call, 1)
        loops[arm] = max(1, round(settings["sample_ms"] / 1000 / wall))
    order = random.Random(seed)
    samples: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for n in range(settings["rounds"]):
            for arm in order.sample(ARMS, len(ARMS)):
                samples[arm].append(_sample(arms[arm], loops[arm]))
            done(n + 1)
    finally:
        if collecting:
            gc.enable()
    return samples


def _sample(call: Callable[[], Any], loops: int) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - wall) / loops, (time.process_time() - cpu) / loops


def _say(events: IO[str], **what: Any) -> None:
    events.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main()
