"""A memory limit for measures that compute: predicted before they run, enforced while they run.

A measure whose file says `RUNS = True` computes on this machine. Under a limit its training step is
simulated first; if the step alone is above the limit, the measure does not run. Otherwise the limit
is set on the data segment of the process, so that an allocation beyond it raises an error.
"""

from pathlib import Path

from pks4.bench import units
from pks4.bench.measure.parts.input import MeasureInput


class AboveLimit(Exception):
    """A cell that is predicted to need more memory than it may have."""


def check(inputs: MeasureInput, limit: int) -> int:
    """Predicted bytes of a training step of this cell; raises AboveLimit if above the limit."""
    from pks4.simulate.step_memory import simulate
    from pks4.simulate.targets import target

    batch = inputs.settings.get("batch_size", inputs.cell.batch)
    clip = inputs.clip("meta", batch=batch)
    need = simulate(inputs.build("meta"), clip, target("cpu-fp32")).memory.peak
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
