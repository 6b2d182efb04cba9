"""Real peak of a training step on this machine, beside the simulated one and their ratio.

A fresh process does two steps of AdamW; the second counts. On a CPU it is resident memory above the
libraries, on CUDA what PyTorch allocated at most. See `pks4.bench.memory_session`.
"""

from collections.abc import Iterator

from pks4.bench import fresh
from pks4.bench.record import Reading
from pks4.bench.trial import Trial

ALONE = True
RUNS = True  # computes on this machine
SETTINGS = {"device": "cpu", "kernel": "flash_cpu"}
TARGETS = {"cpu": "cpu-fp32", "cuda": "cuda-fp32"}
THREADS = 1


def measure(trial: Trial) -> Iterator[Reading]:
    """Measure, simulate the same step, and put both side by side."""
    from pks4.bench.memory_session import TAMED
    from pks4.errors import UserError, unknown_name

    device = trial.settings["device"]
    if device not in TARGETS:
        raise UserError(unknown_name("device", device, TARGETS))
    if device == "cuda":
        _check_cuda()
    job = {
        "cell": trial.cell.model_dump(),
        "settings": trial.settings,
        "threads": THREADS,
    }
    (found,) = fresh.session("pks4.bench.memory_session", job, TAMED)
    simulated = _simulated(trial, device)
    evidence = {
        "how": "measured",
        "rule": "peak_memory/v1",
        "device": device,
        "dtype": "float32",
        "threads": THREADS,
        **found.pop("ran"),
    }
    ratio = found["peak"] / simulated
    yield Reading(
        metric="step_peak_measured_bytes",
        value=found["peak"],
        unit="B",
        kind="noisy",
        evidence=evidence,
        detail={**found, "simulated": simulated, "measured_over_simulated": ratio},
    )
    yield Reading(
        metric="step_peak_ratio",
        value=ratio,
        unit="1",
        kind="noisy",
        evidence={**evidence, "reference": "step_memory/v1"},
        detail={"simulated": simulated},
    )


def _simulated(trial: Trial, device: str) -> int:
    from pks4.bench.kernels import declared_attention
    from pks4.bench.step_memory import step_memory
    from pks4.bench.targets import standing_on, target

    where = target(TARGETS[device], trial.settings["kernel"])
    model = trial.build("meta")
    with (
        standing_on(where, model, trial.clip("meta")) as clip,
        declared_attention(where.kernel),
    ):
        return step_memory(model, clip).peak


def _check_cuda() -> None:
    import torch

    from pks4.errors import UserError

    if not torch.cuda.is_available():
        raise UserError("device 'cuda': PyTorch sees no GPU here; take device = \"cpu\"")
