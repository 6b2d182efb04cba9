"""Real peak of a training step, in a process of its own: resident memory above the libraries.

On a CPU the kernel's high-water mark is read (VmHWM, reset before the step that counts), above what
was resident before the model was built (a step of the small model came first, so that nothing is
loaded late); malloc must give freed memory back, see `TAMED`. On CUDA
PyTorch's own marks are read, allocated and reserved. The first step, which makes the optimizer's
moments, does not count.
"""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.input import Trial
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pks4.simulate.targets import Target

# glibc keeps freed memory and moves its threshold for what it gives back: the mark would lie.
TAMED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> None:
    """Do the job on standard input: one line with the peak and what ran."""
    line, events = child.receive()
    job = json.loads(line)
    import torch

    torch.set_num_threads(job["threads"])
    trial = Trial(Cell.model_validate(job["cell"]), job["settings"])
    found = measured(trial)
    events.write(json.dumps(found) + "\n")


def measured(trial: Trial) -> dict[str, Any]:
    """Peak bytes of the second training step on the device of the settings, and what ran."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.targets import precision, target_of
    from pks4.simulate.what_ran import forward_seen

    device, where = trial.settings["device"], target_of(trial.settings)
    with declared_attention(where.kernel) as calls:
        small = trial.small(trial.cell.frames)
        # loads what libraries load late, kernels included
        _stepper(small.build(), small.clip(), device, where)()
        gc.collect()
        base = _resident("VmRSS") if device == "cpu" else 0
        model, clip = trial.build().to(device), trial.clip(device)
        step = _stepper(model, clip, device, where)
        step()
        marks = _marks_of(step, device, base)
        with precision(where):  # when all is measured: to look takes memory
            ran = forward_seen(model, clip, calls)
    ran.check(trial.asked_attention())
    return {**marks, "ran": ran.evidence()}


def _stepper(
    model: "nn.Module", clip: "Tensor", device: str, where: "Target"
) -> Callable[[], None]:
    """A closure that does one training step, with the loss that `step_memory` simulates."""
    import torch

    from pks4.simulate.targets import precision

    model, clip = model.to(device), clip.to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6, foreach=False)

    def step() -> None:
        with precision(where):
            loss = model(clip).float().sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _marks_of(step: Callable[[], None], device: str, base: int) -> dict[str, int]:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return {
            "peak": torch.cuda.max_memory_allocated(),
            "reserved": torch.cuda.max_memory_reserved(),
        }
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    time.sleep(0.01)
    step()
    return {"peak": _resident("VmHWM") - base, "base": base}


def _resident(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not tell {field}; real memory on a CPU needs Linux")


if __name__ == "__main__":
    main()
