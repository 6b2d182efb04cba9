"""Class scores of the clips of a split, from one view or the mean over several.

Clips that cannot be read get no score and are counted; above the share `max_bad` of the split the
scoring stops. Each of n processes scores every n-th clip, and all get the whole result.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate.utils import gather_object
from torch import Tensor, nn

from pks4.data.errors import BadClipsError
from pks4.data.sampling import mean_over_views
from pks4.data.video_dataset import Bad, BadClipCounter
from pks4.train import batches
from pks4.train.engine import Forward, on_pixels


@dataclass(frozen=True)
class Predicted:
    """Scores of the n readable clips, in order, on the CPU.

    scores (n, classes): logits, or probabilities if clips have several views; label, index (n,).
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
    forward: Forward = on_pixels,
) -> Predicted:
    """Scores of each clip of source by the model in eval mode; `forward` as in `engine.Options`.

    Raises BadClipsError if more than a share of `max_bad`, or all clips, could not be read.
    """
    model.eval()
    device = next(model.parameters()).device
    distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    process, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    sampler = batches.InOrder(len(source), batch_size, process=process, processes=processes)
    bad_clips, scored = BadClipCounter(len(source), max_bad), []
    for batch in batches.loader(batches.ByEpochAndIndex(source), sampler, workers, 0):
        bad_clips.add(batch.bad)
        if batch.video is not None:
            scored.append(
                (_scores(model, batch.video.to(device), forward), batch.label, batch.index)
            )
    bad = bad_clips.bad
    if distributed:
        scored, bad = gather_object(scored), gather_object(bad)
        BadClipCounter(len(source), max_bad).add(bad)
    if not scored:
        raise BadClipsError("no clip of this split could be read", [item.error for item in bad])
    scores, label, index = (torch.cat(parts) for parts in zip(*scored, strict=True))
    order = index.argsort()
    bad = sorted(bad, key=lambda item: item.index)
    return Predicted(scores[order], label[order], index[order], tuple(bad))


def _scores(model: nn.Module, video: Tensor, forward: Forward) -> Tensor:
    """Logits of clips (b, t, 3, h, w), or mean probabilities of views (b, v, t, 3, h, w)."""
    if video.ndim != 6:
        return forward(model, video).float().cpu()
    logits = forward(model, video.flatten(0, 1)).float().cpu()
    return mean_over_views(logits.unflatten(0, video.shape[:2]))
