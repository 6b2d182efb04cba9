"""Clips decoded when they are asked for, as a training source; a bad clip stops the training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pks4.data.clips import segment_centres
from pks4.data.errors import DataError
from pks4.data.manifest import Entry
from pks4.data.readers import read_frames


class Decoding:
    """`frames` frames of each entry, the centres of equal segments; a reader lives one call."""

    def __init__(self, entries: Sequence[Entry], frames: int, size: int, reader: str) -> None:
        short = min(entries, key=lambda entry: entry.num_frames)
        if not 1 <= frames <= short.num_frames:
            raise DataError(f"frames is {frames}; {short.path} has {short.num_frames}")
        self.entries, self.frames, self.reader = entries, frames, reader
        self.size = (size, size)

    def __len__(self) -> int:
        return len(self.entries)

    def at(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        """A clip, the same in every epoch."""
        entry = self.entries[index]
        wanted = segment_centres(entry.num_frames, self.frames)
        clip = read_frames(entry.path, wanted, self.reader, num_frames=entry.num_frames)
        video = torch.from_numpy(clip).permute(0, 3, 1, 2)  # (t, 3, h, w)
        return video, entry.label, index
