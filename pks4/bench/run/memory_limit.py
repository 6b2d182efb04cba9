"""A memory limit for what really runs: predicted before, enforced while it runs.

A measure whose file says `RUNS = True` computes on this machine. Under a limit its training step is
simulated first; if that alone is above the limit it is not run. Otherwise the limit is put on the
data segment of the process, so that an allocation beyond it is an error that can be caught.
"""

from pathlib import Path

from pks4.bench import units
from pks4.bench.measure.parts.input import Trial


class AboveLimit(Exception):
    """A cell that is predicted to need more memory than it may have."""


def predicted(trial: Trial) -> int:
    """Bytes of a training step of this cell, at the batch that it trains with."""
    from pks4.simulate.step_memory import simulate
    from pks4.simulate.targets import target

    batch = trial.settings.get("batch_size", trial.cell.batch)
    clip = trial.clip("meta", batch=batch)
    return simulate(trial.build("meta"), clip, target("cpu-fp32")).memory.peak


def check(trial: Trial, limit: int) -> int:
    """The predicted need; raises AboveLimit if it is more than the limit."""
    need = predicted(trial)
    if need > limit:
        raise AboveLimit(
            f"oom (predicted): a training step needs {units.quantity(need, 'B')}, above the limit "
            f"of {units.quantity(limit, 'B')}; not run"
        )
    return need


def enforce(limit: int) -> None:
    """Let this process and its children have `limit` bytes more than what it holds now.

    RLIMIT_DATA, since a limit of the address space would hit what PyTorch maps at import.
    """
    import resource

    held = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmData:")
    )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit, hard))
