"""From an entry of the catalogue and options to a model: where every contestant is built."""

import contextlib
from typing import Any

from pks4.bench.catalogue import Entry
from pks4.errors import UserError


def build(
    entry: Entry,
    options: dict[str, Any],
    *,
    frames: int,
    num_classes: int,
    device: str = "meta",
    seed: int = 0,
) -> Any:
    """The model with exactly these options, in train mode; on meta nothing is initialised.

    An nn.Module with the methods of the contract in docs/extend.md, such as macs(). It is built on
    the CPU and moved, so that a seed gives the same weights on every device. Raises UserError, one
    line, for a value that the model refuses.
    """
    import torch

    from pks4 import regime

    common = {name: options[name] for name in entry.common if name in options}
    own = {name: value for name, value in options.items() if name not in common}
    module = entry.load()
    torch.manual_seed(seed)
    where = torch.device("meta") if device == "meta" else contextlib.nullcontext()
    try:
        with where:
            model = module.build(frames=frames, num_classes=num_classes, **own)
            regime.apply(model, **common)
    except (ValueError, TypeError) as error:
        raise UserError(f"model {entry.name!r}: {' '.join(str(error).split())}") from error
    return model.to(device).train()
