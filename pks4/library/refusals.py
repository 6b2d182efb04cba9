"""Errors of a user's model in one line, with the shape that its first layer wants."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from pks4.errors import UserError
from pks4.simulate.attention_kernels import UncountedAttention
from pks4.simulate.calls import NothingTrained

LONGEST = 300  # characters of what another library says
OURS = str(Path(__file__).parents[1])
SPACE = ("length", "h, w", "t, h, w")  # of a convolution with one, two and three dimensions
NEEDS_VALUES = (DataDependentOutputException, DynamicOutputShapeException)
CLEAR = (UserError, NothingTrained)  # they say what to do
OF_SHAPES = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


@contextmanager
def told(what: str, model: nn.Module | None = None) -> Iterator[None]:
    """Turn what a user's code raises into one line that begins with `what`.

    With a model, errors of shapes end with what its first layer wants.
    """
    try:
        yield
    except CLEAR as error:
        raise UserError(f"{what}: {error}") from error
    except UncountedAttention as error:
        raise UserError(f"{what}: {error}{_place(error)}") from error
    except NEEDS_VALUES as error:
        raise UserError(
            f"{what}: its code asks for values of a tensor ({error}){_place(error)}; a simulation "
            "has none: make the choice by shapes or by an option"
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
        hint = wanted(model) if model is not None and isinstance(error, OF_SHAPES) else ""
        raise UserError(f"{what}: {type(error).__name__}: {said}{_place(error)}{hint}") from error


def wanted(model: nn.Module) -> str:
    """What the first layer that says it takes, as the end of a line; empty where none says."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            takes = f"(b, {layer.in_channels}, {SPACE[len(layer.kernel_size) - 1]})"
        elif isinstance(layer, nn.Linear):
            takes = f"(…, {layer.in_features})"
        elif isinstance(layer, nn.Embedding):
            takes = f"whole numbers below {layer.num_embeddings}, (b, length) of int64"
        else:
            continue
        return f"; its first layer, {name or 'itself'} ({type(layer).__name__}), wants {takes}"
    return ""


def _place(error: BaseException) -> str:
    """The last line of the user's own code in a traceback; empty where there is none."""
    libraries = (OURS, str(Path(torch.__file__).parents[1]), str(Path(traceback.__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(libraries)]
    return f", at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
