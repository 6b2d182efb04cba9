"""Data: the embedded set 'kinetic digits', its manifests, the video readers, clips in memory.

    from pks4.data import Dataset, make

    dataset = make.make("temporal", counts={"train": 1800, "val": 180, "test": 360})

`make` is the module `kinetic_digits/make_dataset.py`; its function of that name renders a data set.
Importing this package imports none of torch, av, scikit-learn; each file takes what it needs.

The flow, one file a step. In `kinetic_digits/`: tasks -> trajectory and long_task (where the sprite
is) -> sprites -> render (frames) -> encode (H.264) -> make_dataset (a folder). Here: manifest and
dataset (what the folder holds) -> integrity (is it still so) -> readers (frames back) ->
decoded_split (a tensor). leak_probe and leak_views ask whether a task can be cheated.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pks4.data.dataset import Dataset
    from pks4.data.kinetic_digits import make_dataset as make

__all__ = ["Dataset", "make"]


def __getattr__(name: str) -> Any:
    """Import `Dataset` and `make` when first asked for, so that the package stays light."""
    if name == "Dataset":
        return import_module("pks4.data.dataset").Dataset
    if name == "make":
        return import_module("pks4.data.kinetic_digits.make_dataset")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
