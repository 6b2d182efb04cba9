"""The image weights that a contestant starts from: its twin trained on stills, a package, a file.

`image_weights` is "stills", a name of `weights.imagenet.BACKBONES`, or a local file. Every
contestant gets the same pixels; so the normalisation that a file was trained with (`image_mean`,
`image_std`, of values from 0 to 1) is folded into the first convolution.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from pks4.train.image_pretraining import Asked
    from pks4.weights.image_files import ImageModel

STILLS = "stills"
# Options that cell and twin may share, but that do not change the image model.
NOT_OF_THE_IMAGE_MODEL = ("frozen", "attention", "dropout", "tubelet")


def kernel_on(device: str, precision: str, settings: Mapping[str, Any]) -> str:
    """The attention kernel of the settings; on a GPU the CPU's default becomes the GPU's."""
    if device == "cuda" and settings["kernel"] == "flash_cpu":
        return "flash" if precision == "bf16" else "efficient"
    return str(settings["kernel"])


def image_twin(model: str) -> Any:
    """The entry whose image weights a contestant starts from; UserError if it has none."""
    models = catalogue.models()
    twin = models[model].facts.get("IMAGE_TWIN")
    if twin is None:
        raise UserError(
            f"model {model!r} has no image twin, so its accuracy would not compare; "
            "leave it out of grids that measure accuracy"
        )
    return catalogue.find("image twin", twin, models)


def image_model(inputs: MeasureInput, twin: Any) -> "ImageModel":
    """The image model that the settings name."""
    from pks4.train.engine import MEAN, STD
    from pks4.weights.image_files import ImageModel
    from pks4.weights.imagenet import BACKBONES, image_weights

    cell, name = inputs.cell, inputs.settings["image_weights"]
    if name == STILLS:
        return _from_stills(inputs, twin)
    if name in BACKBONES:
        state = image_weights(name, cell.options.get("backbone"), mean=MEAN, std=STD)
        return ImageModel(state, {"weights": name, "digest": name})
    if not Path(name).is_file():
        raise UserError(
            f"image_weights {name!r} is neither {STILLS!r}, nor one of {', '.join(BACKBONES)}, "
            "nor a file here"
        )
    return _from_file(inputs, twin, Path(name))


def _twin_cell(inputs: MeasureInput, twin: Any) -> tuple[Any, dict[str, Any]]:
    """The cell of the twin at one frame, and its options."""
    given = inputs.cell.options
    kept = [k for k in given if k in twin.options and k not in NOT_OF_THE_IMAGE_MODEL]
    options = {k: given[k] for k in kept}
    change = {"model": twin.name, "options": options, "frames": 1}
    return inputs.cell.model_copy(update=change), options


def asked_of(inputs: MeasureInput, twin: Any) -> "Asked":
    """What the cell asks of an image model that is trained on stills."""
    from pks4.train.image_pretraining import Asked

    settings = inputs.settings
    return Asked(
        model=twin.name,
        options=_twin_cell(inputs, twin)[1],
        images=settings["images"],
        epochs=settings["image_epochs"],
        learning_rate=settings["image_learning_rate"],
        batch_size=settings["image_batch_size"],
    )


def build_twin(inputs: MeasureInput, twin: Any) -> Callable[[], Any]:
    """A function that builds the twin of the cell at one frame."""
    return partial(build, _twin_cell(inputs, twin)[0])


def _from_stills(inputs: MeasureInput, twin: Any) -> "ImageModel":
    """The twin trained on still digits: shipped, from the cache, or trained now."""
    from pks4.data.dataset import cache_root
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.train.image_pretraining import image_model

    asked, device = asked_of(inputs, twin), inputs.settings["device"]
    with declared_attention(kernel_on(device, "no", inputs.settings)):
        return image_model(asked, build_twin(inputs, twin), cache_root(), inputs.progress, device)


def _from_file(inputs: MeasureInput, twin: Any, path: Path) -> "ImageModel":
    """The twin with the weights of a local file, all of them or none."""
    from pks4.data.integrity import file_sha256
    from pks4.weights.files import load_weights, read_weights
    from pks4.weights.image_files import ImageModel, facts_of

    stated, model = facts_of(path), build(_twin_cell(inputs, twin)[0])
    if stated and stated["key"]["model"] != twin.name:
        raise UserError(
            f"image_weights {path}: an image model of {stated['key']['model']!r}, and "
            f"{inputs.cell.model!r} starts from {twin.name!r}; give a file of that"
        )
    if hasattr(model, "backbone"):
        load_weights(model.backbone.net, path)
    else:
        model.load_image_weights(read_weights(path))
    mean, std = inputs.settings["image_mean"], inputs.settings["image_std"]
    expect_pixels(model, mean, std)
    facts = {"weights": path.name, "digest": file_sha256(path), "mean": mean, "std": std}
    return ImageModel(model.state_dict(), {**stated, **facts})


def expect_pixels(model: "nn.Module", mean: list[float], std: list[float]) -> None:
    """Adapt a model trained on pixels (x - mean) / std, x from 0 to 1, to this project's pixels.

    Exact: the scale goes into the first convolution, the shift into its bias. UserError where there
    is a shift and the convolution has no bias, or pads with zeros, which no longer are the mean.
    """
    import torch
    from torch import nn

    from pks4.train.engine import MEAN, STD

    if len(mean) != 3 or len(std) != 3 or not all(0 < s <= 1 for s in std):
        raise UserError("image_mean and image_std are three numbers each, of pixels from 0 to 1")
    first = next(
        m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d) and m.in_channels == 3
    )
    ours_mean, ours_std = MEAN / 255, STD / 255
    shape = (1, 3, *[1] * (first.weight.ndim - 2))
    scale = torch.tensor([ours_std / s for s in std]).view(shape)
    shift = torch.tensor([(ours_mean - m) / s for m, s in zip(mean, std, strict=True)]).view(shape)
    padded = isinstance(first.padding, str) or any(first.padding)
    if shift.any() and (first.bias is None or padded):
        raise UserError(
            f"image_mean {mean}: the first convolution has no bias or pads, so pixels around "
            f"{ours_mean} cannot be turned into these exactly; use weights trained with mean 0.5"
        )
    with torch.no_grad():
        if first.bias is not None:
            first.bias += (first.weight * shift).flatten(1).sum(1)
        first.weight *= scale
