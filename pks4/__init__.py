"""PKS4 and the suite that measures it.

PKS4 is a per-frame 2D backbone plus one plug-in module: a Kinematic Prior Encoder whose priors
modulate selective state-space scanners. They run along time only, one for each place in the frame.
This is a reconstruction from the abstract of arXiv 2604.26461; see `docs/reconstruction.md`.

The rooms, in the order of the flow:

    method    the module, its priors, and PKS4 as a contestant
    mixers    the selective scan as a layer, and the mixers that can stand in its place
    scan      the selective scan over time and its backends
    models    parts that the rivals in baselines/ and PKS4 share
    weights   weights from local files, the authors' names of parameters, packaged weights
    data      the embedded data set, indexes of users' data sets, video readers
    train     one training engine and one recipe for all contestants
    simulate  memory and MACs of a training step without computing it
    bench     the benchmark: suites, runs, records, statistics, reports
    library   the instruments for any model, as Python calls
    commands  one file a command; cli.py registers them
    errors, checks, macs  errors for users, checks of arguments, the counting rule macs/v1

Letters used everywhere:

    b  clips in a batch         A  state matrix of the SSM, (d, n), negative
    t  frames                   B  input matrix, one n-vector per site and step ("write")
    h  rows of the grid         C  output matrix, one n-vector per site and step ("read")
    w  columns of the grid      D  skip vector, (d,)
    s  sites of a frame, h*w    delta  step size, one per site, step and channel
    d  channels
    n  state size of the SSM

Dimensions are lower case, parameters of the SSM upper case. The public names below are imported on
first use, so that `import pks4` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "PKS4": "pks4.method.module",
    "Options": "pks4.method.options",
    "KinematicPriorEncoder": "pks4.method.prior",
    "plug_in": "pks4.method.video",
    "scan_sites": "pks4.scan",
    "selective_scan": "pks4.scan",
    "create_model": "pks4.library.models",
    "list_models": "pks4.library.models",
    "register_model": "pks4.library.models",
    "load_official": "pks4.weights.official",
    "count_macs": "pks4.library.instruments",
    "simulate_step": "pks4.library.instruments",
    "what_fits": "pks4.library.fitting",
    "run": "pks4.library.runs",
    "read_run": "pks4.library.runs",
    "compare_runs": "pks4.library.runs",
}
__all__ = ["__version__", *_LAZY]  # their types are in __init__.pyi


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import pks4` stays light."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pks4' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *_LAZY})
