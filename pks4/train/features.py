"""The features of a model's frozen part: the same in every epoch, so computed once.

A model with a frozen part in front says so by two members, and neither has random numbers in its
frozen part:

    frozen_part     a module with `features(video)`, of clips (b, t, 3, h, w) a tensor (b, …), and
                    `facts()`, what they depend on besides its weights; None if nothing is frozen
    from_features   of such a tensor, the logits; both in turn are the model's forward

The last bits of a matrix product may depend on how many rows it has. So features are computed one
clip at a time, stored or not, and a training that reads them is the same to the bit as one that
computes them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pks4.data.errors import BadClipsError
from pks4.data.video_dataset import Bad
from pks4.train.batches import Source
from pks4.train.engine import pixels


def frozen_part(model: nn.Module) -> Any:
    """The frozen part of a model, or None."""
    return getattr(model, "frozen_part", None)


@torch.no_grad()
def of_clip(part: Any, clip: Tensor) -> Tensor:
    """Features of a uint8 clip (t, 3, h, w)."""
    # Sources differ in memory layout, on which last bits depend too.
    return part.features(pixels(clip[None].contiguous()))[0].contiguous()


def of_source(
    part: Any, source: Source, device: str, progress: Callable[[int], None]
) -> Iterator[tuple[Tensor, int]]:
    """Features, on the CPU, and label of each clip of a source that gives the same in each epoch.

    `progress` gets the number of clips that are done, a hundred times at most.
    Raises BadClipsError for a clip that cannot be read.
    """
    for index in range(len(source)):
        if index % (len(source) // 100 + 1) == 0:
            progress(index)
        item = source.at(0, index)
        if isinstance(item, Bad):
            raise BadClipsError(f"{item.name} cannot be read: {item.error}", [item.error])
        yield of_clip(part, item[0].to(device)).cpu(), int(item[1])


def by_clip(model: Any, video: Tensor) -> Any:
    """Outputs of a model from uint8 clips (b, t, 3, h, w), its features computed clip by clip."""
    return model.from_features(torch.stack([of_clip(model.frozen_part, clip) for clip in video]))


def on_features(model: Any, features: Tensor) -> Any:
    """Outputs of a model from features (b, …)."""
    return model.from_features(features)
