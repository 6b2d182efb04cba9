"""Clips in batches: which clips each step and each process takes, read in memory or on use.

A source is any torch Dataset with items (video (t, 3, h, w) uint8, label, index). The order of an
epoch depends on (seed, epoch) alone; every process takes its own share of every batch.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pks4.train.augment import seed_of

Key = tuple[int, int]  # epoch, index
Change = Callable[[Tensor, int, int], Tensor]


class Source(Protocol):
    """What training reads: a torch Dataset of known length."""

    def __len__(self) -> int:
        """Clips."""

    def __getitem__(self, index: int) -> tuple[Tensor, Any, int]:
        """Video (t, 3, h, w) uint8, label, index."""


class InMemory(Dataset):
    """Clips that are decoded already: video (n, …), label (n, …)."""

    def __init__(self, video: Tensor, label: Tensor) -> None:
        self.video, self.label = video, label

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        return self.video[index], self.label[index], index


class Keyed(Dataset):
    """A source asked by (epoch, index), so that workers know the epoch of what they augment."""

    def __init__(self, source: Source, change: Change | None = None) -> None:
        self.source, self.change = source, change

    def __getitem__(self, key: Key) -> tuple[Tensor, Any]:
        epoch, index = key
        video, label, _ = self.source[index]
        return video if self.change is None else self.change(video, epoch, index), label


class Shares(Sampler[list[Key]]):
    """One process's parts of the batches of an epoch, in order; a step is `accumulate` parts.

    A last batch with fewer clips than there are parts is left out.
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
            for turn in range(self.accumulate):
                part = turn * self.processes + self.process
                mine = batch[part * size // parts : (part + 1) * size // parts]
                yield [(self.epoch, index) for index in mine]


class InOrder(Sampler[list[Key]]):
    """All clips once, in order, for scoring."""

    def __init__(self, clips: int, batch_size: int) -> None:
        self.clips, self.batch_size = clips, batch_size

    def __len__(self) -> int:
        return -(-self.clips // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, self.clips, self.batch_size):
            yield [(0, i) for i in range(start, min(start + self.batch_size, self.clips))]


def loader(dataset: Keyed, sampler: Sampler[list[Key]], workers: int, seed: int) -> DataLoader:
    """Batches (video, label); workers live as long as the loader."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),  # or its seeds come from the model's stream
    )
