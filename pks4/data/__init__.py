"""Data: the embedded set 'kinetic digits', its manifests, the video readers, clips in memory.

    from pks4.data import Dataset, make

    dataset = make.make("temporal", counts={"train": 1800, "val": 180, "test": 360})

`make` is the module `pks4.data.make`, whose function of the same name renders a data set.
Importing this package imports none of torch, av, scikit-learn; each file takes what it needs.

The flow, one file a step: digits (tasks and classes) -> trajectory and long (where the sprite is)
-> material (sprites and backgrounds) -> render (frames) -> encode (H.264) -> make (a folder)
-> manifest and dataset (what the folder holds) -> integrity (is it still so) -> readers (frames
back) -> clips (a tensor); probe and probe_views ask whether a task can be cheated.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pks4.data import make
    from pks4.data.dataset import Dataset

__all__ = ["Dataset", "make"]


def __getattr__(name: str) -> Any:
    """Import `Dataset` and `make` when first asked for, so that the package stays light."""
    if name == "Dataset":
        return import_module("pks4.data.dataset").Dataset
    if name == "make":
        return import_module("pks4.data.make")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
