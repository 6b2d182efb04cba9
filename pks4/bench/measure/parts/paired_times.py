"""One session of paired times in a fresh process: contestant, baseline, and the baseline again.

The job comes as a line of JSON on standard input; progress and samples are written as lines of
JSON (see `paired_sessions.py`).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.bench.measure.parts.paired_sessions import take
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child

if TYPE_CHECKING:
    from torch import Tensor, nn

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
    """Of both operations: seconds per call of each arm (see `take`), and the path that ran."""
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
            samples = take(settings, seed, arms, lambda n: send(rounds=n))
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


if __name__ == "__main__":
    main()
