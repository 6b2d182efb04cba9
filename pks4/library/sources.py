"""A model by a text: FILE:NAME, timm:NAME, hf:CLASS, or the name of a contestant.

    mine.py:Net                          an nn.Module, a class of them, or a function that gives one
    timm:vit_small_patch14_dinov2        an architecture of timm, without weights
    hf:VideoMAEForVideoClassification    a class of transformers, from its configuration's defaults
    st_adapter                           a contestant at paper scale

Nothing is downloaded. Where the code of a model allows it, it is built without values.
"""

from collections.abc import Iterable
from functools import partial
from inspect import Parameter, isclass, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pks4.bench.contestants.build import configured
from pks4.bench.contestants.entry import imported
from pks4.errors import UserError, unknown_name, unknown_of_many
from pks4.library.fitting import made
from pks4.library.models import FRAMES, create_model, entry_named
from pks4.library.refusals import told

IN_CONTRACT = {"frames": FRAMES, "num_classes": 400}  # what a maker may ask for
TOKENS = 512  # of a text, at most


def model_and_inputs(text: str, shapes: Iterable[str] | None) -> tuple[nn.Module, Any]:
    """The model of a text, and inputs as written, else as the model or its first layer says."""
    model, known = load(text)
    if shapes:
        return model, parsed_inputs(shapes)
    return model, known or guessed_inputs(model)


def load(text: str) -> tuple[nn.Module, Any]:
    """The model, and inputs for one clip of it, or None where they cannot be known.

    Raises UserError for what is not there, and for what makes no nn.Module by itself.
    """
    kind, _, name = text.partition(":")
    if kind == "timm":
        return _of_timm(name)
    if kind == "hf":
        return _of_transformers(name)
    if ".py" in text:
        return _of_file(text), None
    entry = entry_named(text)
    side = configured(entry, {})["image_size"]
    return create_model(text, device="meta"), (1, FRAMES, 3, side, side)


def _of_timm(name: str) -> tuple[nn.Module, Any]:
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UserError(unknown_of_many("timm model", name, known, "timm.list_models()"))
    with told(f"timm:{name}"):
        model = made(partial(timm.create_model, name))
    return model, (1, *model.pretrained_cfg["input_size"])


def _of_transformers(name: str) -> tuple[nn.Module, Any]:
    import transformers

    cls = getattr(transformers, name, None)
    if not (isclass(cls) and issubclass(cls, nn.Module)):
        known = [n for n in dir(transformers) if "For" in n or n.endswith("Model")]
        raise UserError(unknown_of_many("transformers model", name, known, "dir(transformers)"))
    configuration = getattr(cls, "config_class", None)
    if configuration is None:
        raise UserError(f"hf:{name}: has no configuration of its own; name an architecture's class")
    with told(f"hf:{name}"):
        model = made(lambda: cls(configuration()))
    return model, _inputs_by_config(model)


def _inputs_by_config(model: Any) -> dict[str, Any] | None:
    """What the main input of a transformers model is by its configuration; None if not known."""
    main, config = model.main_input_name, model.config
    if main.startswith("pixel_values"):
        side = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
        if not isinstance(side, int):
            return None
        frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
        channels = getattr(config, "num_channels", None) or getattr(config, "in_chans", 3)
        return {main: (1, *([frames] if frames else []), channels, side, side)}
    if main == "input_ids":
        length = min(getattr(config, "max_position_embeddings", None) or TOKENS, TOKENS)
        names = [main, *(["decoder_input_ids"] if config.is_encoder_decoder else [])]
        return {n: torch.empty(1, length, dtype=torch.int64, device="meta") for n in names}
    return None


def _of_file(text: str) -> nn.Module:
    """The model that a file calls by this name."""
    file, _, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    path = Path(file).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{file}: is no Python file with a model, FILE.py:NAME")
    with told(f"{path}: cannot be imported"):
        module = imported(path)
    if not name:
        there = ", ".join(_offered(module)) or "none"
        raise UserError(f"{file}: name its model, {file}:NAME; there are: {there}")
    if name not in vars(module):
        raise UserError(f"{file}: {unknown_name('model', name, _offered(module))}")
    return _made_of(f"{file}: {name}", vars(module)[name])


def _offered(module: ModuleType) -> Iterable[str]:
    """What a file itself calls a module, a class of modules or a function."""
    for name, value in vars(module).items():
        its_own = getattr(value, "__module__", None) == module.__name__ and name[0] != "_"
        if isinstance(value, nn.Module) or (its_own and callable(value)):
            yield name


def _made_of(what: str, value: Any) -> nn.Module:
    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        kind = type(value).__name__
        raise UserError(f"{what} is of type {kind}, not an nn.Module or what makes one")
    with told(what):
        parameters = signature(value).parameters
    given = {k: v for k, v in IN_CONTRACT.items() if k in parameters}
    needed = [
        n for n, p in parameters.items()
        if p.default is Parameter.empty and n not in given
        and p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]  # fmt: skip
    if needed:
        raise UserError(
            f"{what} needs {', '.join(needed)}; name a function without arguments that gives the "
            "model, such as def small(): return Net(96)"
        )
    with told(what):
        model = made(partial(value, **given))
    if not isinstance(model, nn.Module):
        raise UserError(f"{what} gives a {type(model).__name__}, not an nn.Module")
    return model


def guessed_inputs(model: nn.Module) -> Any:
    """Inputs by the first layer: an image, a clip, a row or a text; UserError where none tells."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            return (1, layer.in_channels, 224, 224)
        if isinstance(layer, nn.Conv3d):
            return (1, layer.in_channels, FRAMES, 224, 224)
        if isinstance(layer, nn.Linear):
            return (1, layer.in_features)
        if isinstance(layer, nn.Embedding):
            return torch.empty(1, TOKENS, dtype=torch.int64, device="meta")
    raise UserError(f"no layer of {type(model).__name__} says what it takes; add --input SHAPE")


def parsed_inputs(texts: Iterable[str]) -> Any:
    """Inputs as written on a command line: SHAPE, or NAME=SHAPE; a dtype after a colon.

    `1x3x224x224`; `input_ids=1x128:int64`. Several without names are positional arguments. Raises
    UserError for anything else.
    """
    named: dict[str, Tensor] = {}
    placed: list[Tensor] = []
    for text in texts:
        name, equals, shape = text.rpartition("=")
        if equals:
            named[name] = _tensor(shape)
        else:
            placed.append(_tensor(shape))
    if named and placed:
        raise UserError("--input: name every input, as NAME=SHAPE, or none of them")
    return named or tuple(placed)


def _tensor(text: str) -> Tensor:
    shape, _, dtype = text.partition(":")
    kind = getattr(torch, dtype or "float32", None)
    try:
        sizes = [int(size) for size in shape.replace(",", "x").split("x")]
        assert isinstance(kind, torch.dtype)
        return torch.empty(sizes, dtype=kind, device="meta")
    except (ValueError, AssertionError, RuntimeError):
        raise UserError(
            f"--input {text!r} is no shape; write it as 1x3x224x224, NAME=1x128:int64"
        ) from None
