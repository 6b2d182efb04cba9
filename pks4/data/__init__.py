"""Data: the embedded data set, users' data sets, video readers, clips in memory.

    from pks4.data import Dataset, make_dataset

    dataset: Dataset = make_dataset("temporal", counts={"train": 1800, "val": 180, "test": 360})

`make_dataset` is the function `make` of `kinetic_digits/make_dataset.py`. Importing this package
imports none of torch, av, scikit-learn; each file imports what it needs.

    kinetic_digits/  the embedded data set: rendering, encoding, leak probes
    index/           official annotations of real data sets -> manifests of a user's videos
    readers/         exact frames of a video by PyAV, decord or TorchCodec
    manifest         one CSV a split, one line a clip, read strictly
    dataset          the folder of an embedded data set, and the cache of such folders
    index_folder     the folder of an indexed data set
    integrity        whether the files of a data set are unchanged
    sampling         which frames and crops of a video a model sees
    decoded_split    a split decoded into one tensor
    video_dataset    a split decoded clip by clip while training; bad clips are counted
    errors           errors of the data room, one line each
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pks4.data.dataset import Dataset
    from pks4.data.kinetic_digits.make_dataset import make as make_dataset

__all__ = ["Dataset", "make_dataset"]


def __getattr__(name: str) -> Any:
    """Import `Dataset` and `make_dataset` on first use, so that the package stays light."""
    if name == "Dataset":
        return import_module("pks4.data.dataset").Dataset
    if name == "make_dataset":
        return import_module("pks4.data.kinetic_digits.make_dataset").make
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
