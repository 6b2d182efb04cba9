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

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import Trial, build
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pks4.simulate.targets import Target

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
    """Samples of both operations, seconds a call of each arm (see `SAMPLERS`), and what ran."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.targets import target_of
    from pks4.simulate.what_ran import Paths

    settings, where = trial.settings, target_of(trial.settings)
    device = settings["device"]
    clip = trial.clip(device)
    models = {"candidate": trial.build(device), "reference": _reference(trial)}
    models["again"] = _reference(trial)
    for operation in OPERATIONS:
        arms = {arm: _operation(operation, models[arm], clip, where) for arm in ARMS}
        with declared_attention(where.kernel) as calls:
            # alone, to see which ways it takes
            with Paths(models["candidate"], calls, lambda: trial.cell.model, device) as paths:
                arms["candidate"]()
            ran = paths.ran()
            ran.check(trial.asked_attention())
            samples = _rounds(settings, seed, arms, lambda n: _say(events, rounds=n))
        yield operation, {"samples": samples, "ran": ran.evidence()}


def _reference(trial: Trial) -> "nn.Module":
    """The reference contestant at this cell's scale and frames."""
    name = trial.settings["reference"]
    entry = catalogue.find("reference model", name, catalogue.models())
    options = entry.facts["SCALES"][trial.cell.scale]
    cell = trial.cell.model_copy(update={"model": name, "options": options})
    return build(cell, trial.settings["device"])


def _operation(name: str, model: "nn.Module", clip: "Tensor", where: "Target") -> Callable[[], Any]:
    """A closure that does one forward (eval, no gradients) or one training step."""
    import torch
    import torch.nn.functional as F

    from pks4.simulate.targets import precision

    if name == "forward":
        model.eval()

        def forward() -> None:
            with torch.no_grad(), precision(where):
                model(clip)

        return forward
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6)
    labels = torch.zeros(len(clip), dtype=torch.long, device=clip.device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with precision(where):
            loss = F.cross_entropy(model(clip), labels)
        loss.backward()
        optimiser.step()

    return step


def _rounds(
    settings: dict[str, Any],
    seed: int,
    arms: dict[str, Callable[[], Any]],
    done: Callable[[int], None],
) -> dict[str, list[tuple[float, ...]]]:
    """Seconds a call of each arm, once a round, in random order; warm-ups left out."""
    loops, sample = {}, SAMPLERS[settings["device"]]
    for arm, call in arms.items():
        for _ in range(settings["warm_ups"]):
            call()
        wall, *_ = sample(call, 1)
        loops[arm] = max(1, round(settings["sample_ms"] / 1000 / wall))
    order = random.Random(seed)
    samples: dict[str, list[tuple[float, ...]]] = {arm: [] for arm in arms}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for n in range(settings["rounds"]):
            for arm in order.sample(ARMS, len(ARMS)):
                samples[arm].append(sample(arms[arm], loops[arm]))
            done(n + 1)
    finally:
        if collecting:
            gc.enable()
    return samples


def _on_cpu(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall and CPU seconds a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - wall) / loops, (time.process_time() - cpu) / loops


def _on_cuda(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall and CPU seconds a call, from an idle device to an idle one, and the device's own."""
    import torch

    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()

    def until_idle() -> None:
        first.record()
        for _ in range(loops):
            call()
        last.record()
        torch.cuda.synchronize()

    wall, cpu = _on_cpu(until_idle, 1)
    return wall / loops, cpu / loops, first.elapsed_time(last) / 1000 / loops


SAMPLERS = {"cpu": _on_cpu, "cuda": _on_cuda}


def _say(events: IO[str], **what: Any) -> None:
    events.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main()
