"""Real peak of a training step, in a fresh process: resident memory above the libraries.

On a CPU it is Linux's high-water mark (VmHWM, reset before the step that counts) less the resident
memory before the model was built. A step of the small model comes first, so that no library is
loaded later. malloc must return freed memory, see `TAMED`. On CUDA PyTorch's counters of allocated
and reserved memory are read. The first step, which makes the optimizer's moments, does not count.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pks4.simulate.targets import Target

# By default glibc keeps freed memory and moves its threshold, which would raise the mark.
TAMED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> None:
    """Do the job on standard input: one line with the peak and what ran."""
    job, send = child.receive()
    import torch

    torch.set_num_threads(job["threads"])
    inputs = MeasureInput(Cell.model_validate(job["cell"]), job["settings"])
    send(**measured(inputs))


def measured(inputs: MeasureInput) -> dict[str, Any]:
    """Peak bytes of the second training step on the device of the settings, and the path."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.targets import precision, target_of
    from pks4.simulate.what_ran import observe_forward

    device, where = inputs.settings["device"], target_of(inputs.settings)
    with declared_attention(where.kernel) as calls:
        small = inputs.small(inputs.cell.frames)
        # loads libraries and kernels that are loaded on first use
        _stepper(small.build(), small.clip(), device, where)()
        gc.collect()
        base = _resident("VmRSS") if device == "cpu" else 0
        model, clip = inputs.build().to(device), inputs.clip(device)
        step = _stepper(model, clip, device, where)
        step()
        marks = _marks_of(step, device, base)
        with precision(where):  # after the measurement, since to observe takes memory
            ran = observe_forward(model, clip, calls)
    ran.check(inputs.asked_attention())
    return {**marks, "ran": ran.evidence()}


def _stepper(
    model: "nn.Module", clip: "Tensor", device: str, where: "Target"
) -> Callable[[], None]:
    """A closure that does one training step with the loss of `step_memory`."""
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
    raise RuntimeError(f"this system does not report {field}; real memory on a CPU needs Linux")


if __name__ == "__main__":
    main()
