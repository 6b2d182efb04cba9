"""One session of paired times in a fresh process: candidate, baseline, and the baseline again.

The job comes as a line of JSON on standard input; progress and samples are written as lines of
JSON. A sample is a loop that takes at least `sample_ms`. Each round samples every arm once, in
random order. In settings and records the baseline is called `reference`.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.bench.measure.parts.interleaved import sample_rounds
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child
from pks4.bench.records.record import Reading

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pks4.bench.stats.paired_times import Ratio
    from pks4.simulate.targets import Target

ARMS = ("reference", "candidate", "again")
OPERATIONS = ("forward", "step")


def main() -> None:
    """Do the job on standard input."""
    job, send = child.receive()
    import torch

    torch.set_num_threads(job["threads"])
    inputs = MeasureInput(Cell.model_validate(job["cell"]), job["settings"])
    for operation, result in session(inputs, job["seed"], send):
        send(operation=operation, **result)


def session(
    inputs: MeasureInput, seed: int, send: Callable[..., None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of both operations: seconds per call of each arm (see `SAMPLERS`), and the path that ran."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.targets import target_of
    from pks4.simulate.what_ran import PathObserver

    settings, where = inputs.settings, target_of(inputs.settings)
    device = settings["device"]
    clip = inputs.clip(device)
    models = {"candidate": inputs.build(device), "reference": _baseline(inputs)}
    models["again"] = _baseline(inputs)
    for operation in OPERATIONS:
        arms = {arm: _operation(operation, models[arm], clip, where) for arm in ARMS}
        with declared_attention(where.kernel) as calls:
            # One call alone, to observe its code path.
            with PathObserver(models["candidate"], calls, device) as observer:
                arms["candidate"]()
            ran = observer.path()
            ran.check(inputs.asked_attention())
            samples = _rounds(settings, seed, arms, lambda n: send(rounds=n))
        yield operation, {"samples": samples, "ran": ran.evidence()}


def _baseline(inputs: MeasureInput) -> "nn.Module":
    """The baseline contestant at this cell's scale and frames."""
    name = inputs.settings["reference"]
    entry = catalogue.find("reference model", name, catalogue.models())
    options = entry.facts["SCALES"][inputs.cell.scale]
    cell = inputs.cell.model_copy(update={"model": name, "options": options})
    return build(cell, inputs.settings["device"])


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
    """Seconds per call of each arm, one sample a round, in random order, after warm-ups."""
    loops, sample = {}, SAMPLERS[settings["device"]]
    for arm, call in arms.items():
        for _ in range(settings["warm_ups"]):
            call()
        wall, *_ = sample(call, 1)
        loops[arm] = max(1, round(settings["sample_ms"] / 1000 / wall))
    rounds = settings["rounds"]
    return sample_rounds(ARMS, lambda arm: sample(arms[arm], loops[arm]), rounds, seed, done)


def _on_cpu(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall and CPU seconds per call."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - wall) / loops, (time.process_time() - cpu) / loops


def _on_cuda(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall, CPU and device seconds per call; the device is idle before and after."""
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


def ratio_reading(
    metric: str, ratio: "Ratio", evidence: dict[str, Any], detail: dict[str, Any]
) -> Reading:
    """The reading of a ratio of paired times: its interval, its A/A control, its verdict."""
    judged = {
        "interval": ratio.interval,
        "aa_ratio": ratio.control.value,
        "aa_interval": ratio.control.interval,
        "least_effect": ratio.least_effect,
        "verdict": ratio.verdict,
    }
    return Reading(
        metric=metric,
        value=ratio.value,
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail=judged | detail,
    )


if __name__ == "__main__":
    main()
