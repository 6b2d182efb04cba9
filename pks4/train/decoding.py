"""Clips decoded when they are asked for, as a training source; a bad clip stops the training."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pks4.data.clips import segment_centres
from pks4.data.errors import DataError
from pks4.data.manifest import Entry
from pks4.data.readers import read_frames


class Decoding(Dataset):
    """`frames` frames of each entry, the centres of equal segments; a reader lives one call."""

    def __init__(self, entries: Sequence[Entry], frames: int, reader: str) -> None:
        short = min(entries, key=lambda entry: entry.num_frames)
        if not 1 <= frames <= short.num_frames:
            raise DataError(f"frames is {frames}; {short.path} has {short.num_frames}")
        self.entries, self.frames, self.reader = entries, frames, reader

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        entry = self.entries[index]
        wanted = segment_centres(entry.num_frames, self.frames)
        clip = read_frames(entry.path, wanted, self.reader, num_frames=entry.num_frames)
        video = torch.from_numpy(clip).permute(0, 3, 1, 2)  # (t, 3, h, w)
        return video, entry.label, index
