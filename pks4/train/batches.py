"""Sources of clips, and the batches of each step and process.

A source gives an item (video uint8, label, index), or `Bad`, for (epoch, index). A video is
(t, 3, h, w), or (v, t, 3, h, w) where a clip has several views. The order of an epoch depends on
(seed, epoch) alone; each process takes a share of every batch.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pks4.data.decoded_split import segment_centres
from pks4.data.errors import BadClipsError, DataError
from pks4.data.manifest import Entry
from pks4.data.readers import read_frames
from pks4.data.video_dataset import Bad, collate
from pks4.train.augment import seed_of

Key = tuple[int, int]  # epoch, index
Item = tuple[Tensor, Any, int]  # video, label, index
Change = Callable[[Tensor, int, int], Tensor]


class Source(Protocol):
    """What training reads from; `size` is (h, w) of its frames."""

    size: tuple[int, int]

    def __len__(self) -> int:
        """The number of clips."""

    def at(self, epoch: int, index: int) -> Item | Bad:
        """A clip as augmented or drawn for this epoch."""


def first_clips(source: Source, count: int = 1) -> Tensor:
    """The first `count` readable clips (n, t, 3, h, w) of a source, each in its first view.

    Fewer where the source has fewer; BadClipsError if it has none.
    """
    items = (source.at(0, index) for index in range(len(source)))
    read = (item[0] for item in items if not isinstance(item, Bad))
    clips = [clip if clip.ndim == 4 else clip[0] for clip in islice(read, count)]
    if not clips:
        raise BadClipsError("no clip could be read", [])
    return torch.stack(clips)


class InMemory:
    """Clips decoded before training: video (n, …), label (n, …); the same in every epoch."""

    def __init__(self, video: Tensor, label: Tensor) -> None:
        self.video, self.label = video, label
        self.size = (video.shape[-2], video.shape[-1])

    def __len__(self) -> int:
        return len(self.label)

    def at(self, epoch: int, index: int) -> Item:
        """A clip, the same in every epoch."""
        return self.video[index], self.label[index], index


class Decoding:
    """Clips decoded on access: `frames` frames of each entry, the centres of equal segments.

    A clip that cannot be read raises its VideoError, which stops the training.
    """

    def __init__(self, entries: Sequence[Entry], frames: int, size: int, reader: str) -> None:
        shortest = min(entries, key=lambda entry: entry.num_frames)
        if not 1 <= frames <= shortest.num_frames:
            raise DataError(f"frames is {frames}; {shortest.path} has {shortest.num_frames}")
        self.entries, self.frames, self.reader = entries, frames, reader
        self.size = (size, size)

    def __len__(self) -> int:
        return len(self.entries)

    def at(self, epoch: int, index: int) -> tuple[Tensor, int, int]:
        """A clip, the same in every epoch."""
        entry = self.entries[index]
        indices = segment_centres(entry.num_frames, self.frames)
        clip = read_frames(entry.path, indices, self.reader, num_frames=entry.num_frames)
        video = torch.from_numpy(clip).permute(0, 3, 1, 2)  # (t, 3, h, w)
        return video, entry.label, index


class ByEpochAndIndex(Dataset):
    """A source as a torch data set with keys (epoch, index): workers augment by the epoch."""

    def __init__(self, source: Source, change: Change | None = None) -> None:
        self.source, self.change = source, change

    def __getitem__(self, key: Key) -> Item | Bad:
        item = self.source.at(*key)
        if self.change is None or isinstance(item, Bad):
            return item
        video, label, index = item
        return self.change(video, *key), label, index


class EpochBatches(Sampler[list[Key]]):
    """The batches of an epoch for one process, in order; `accumulate` of them make a step.

    Drops a last batch that has fewer clips than processes x `accumulate`.
    """

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        *,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size < accumulate * processes:
            raise ValueError(
                f"batch_size {batch_size} is less than one clip for each of {processes} processes "
                f"x {accumulate} accumulated parts"
            )
        self.clips, self.batch_size, self.seed = clips, batch_size, seed
        self.accumulate, self.process, self.processes = accumulate, process, processes
        self.epoch = 0

    def sizes(self) -> list[int]:
        """Clips of each step of an epoch, over all processes."""
        starts = range(0, self.clips, self.batch_size)
        sizes = [min(self.batch_size, self.clips - start) for start in starts]
        return [size for size in sizes if size >= self.accumulate * self.processes]

    def __len__(self) -> int:
        return len(self.sizes()) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        order = torch.randperm(
            self.clips, generator=torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        ).tolist()
        parts = self.accumulate * self.processes
        for step, size in enumerate(self.sizes()):
            batch = order[step * self.batch_size :][:size]
            for i in range(self.accumulate):
                part = i * self.processes + self.process
                share = batch[part * size // parts : (part + 1) * size // parts]
                yield [(self.epoch, index) for index in share]


class InOrder(Sampler[list[Key]]):
    """All clips once, in order, for scoring; each of n processes takes every n-th clip."""

    def __init__(
        self, clips: int, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> None:
        self.indices, self.batch_size = range(process, clips, processes), batch_size

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]


def loader(
    dataset: ByEpochAndIndex, sampler: Sampler[list[Key]], workers: int, seed: int
) -> DataLoader:
    """A loader of `pks4.data.video_dataset.Batch`; its workers persist over epochs."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),  # else it draws from the model's stream
    )
