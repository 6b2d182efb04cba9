"""Scores of clips, by one process or shared among many, of one view or the mean over several.

A clip that cannot be read is left out of the scores and counted; above the share `max_bad` of the
split the scoring stops. Every process takes every n-th clip, and all of them get the whole answer.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate.utils import gather_object
from torch import Tensor, nn

from pks4.data.errors import BadClipsError
from pks4.data.sampling import mean_over_views
from pks4.data.video_dataset import Bad, Tally
from pks4.train import batches
from pks4.train.engine import pixels


@dataclass(frozen=True)
class Predicted:
    """What a model says of the n clips that could be read, in order, on the CPU.

    scores (n, classes): logits, or probabilities where a clip has several views; label, index (n,).
    """

    scores: Tensor
    label: Tensor
    index: Tensor
    bad: tuple[Bad, ...]


@torch.no_grad()
def predict(
    model: nn.Module,
    source: batches.Source,
    batch_size: int = 32,
    workers: int = 0,
    max_bad: float = 0.01,
) -> Predicted:
    """What model, in eval mode, says of each clip of source.

    Raises BadClipsError where more than a share of `max_bad`, or all, could not be read.
    """
    model.eval()
    device = next(model.parameters()).device
    many = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    process, processes = (dist.get_rank(), dist.get_world_size()) if many else (0, 1)
    order = batches.InOrder(len(source), batch_size, process=process, processes=processes)
    tally, found = Tally(len(source), max_bad), []
    for batch in batches.loader(batches.Keyed(source), order, workers, 0):
        tally.add(batch.bad)
        if batch.video is not None:
            found.append((_scores(model, batch.video.to(device)), batch.label, batch.index))
    bad = tally.bad
    if many:
        found, bad = gather_object(found), gather_object(bad)
        Tally(len(source), max_bad).add(bad)
    if not found:
        raise BadClipsError("no clip of this split could be read", [item.error for item in bad])
    scores, label, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    place = index.argsort()
    bad = sorted(bad, key=lambda item: item.index)
    return Predicted(scores[place], label[place], index[place], tuple(bad))


def _scores(model: nn.Module, video: Tensor) -> Tensor:
    """Logits of clips (b, t, 3, h, w), or mean probabilities of views (b, v, t, 3, h, w)."""
    if video.ndim == 5:
        return model(pixels(video)).float().cpu()
    logits = model(pixels(video.flatten(0, 1))).float().cpu()
    return mean_over_views(logits.unflatten(0, video.shape[:2]))
