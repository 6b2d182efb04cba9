"""A split on disk as a torch data set: one reader an item, bad clips counted, never replaced.

A reader lives one call, so nothing of it is shared between threads or carried over a fork.  What is
drawn depends on (seed, epoch, index) alone, whatever worker draws it.  A clip that cannot be read
exactly comes as a `Bad` item; `collate` leaves it out of the batch and hands it over beside the
batch, and `Tally` counts over workers and stops when too many are bad.

Letters: b clips of a batch, v views, t frames, h w rows and columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pks4.data.errors import BadClipsError, DataError, VideoError
from pks4.data.manifest import Entry
from pks4.data.readers import read_frames, reader_info
from pks4.data.sampling import Sampling, eval_frames, eval_pictures, train_frames, train_picture

_SHOWN = 5  # bad clips named in the error


@dataclass(frozen=True)
class Bad:
    """A clip that could not be read exactly."""

    index: int
    error: VideoError

    @property
    def name(self) -> str:
        """Folder, file and kind, without the way to where this user keeps videos."""
        path = self.error.path
        return f"{path.parent.name}/{path.name} [{self.error.kind}]"


@dataclass(frozen=True)
class Batch:
    """Video (b, t, 3, h, w) or (b, v, t, 3, h, w) uint8, label and index (b,), and the bad clips.

    A batch of bad clips alone has no video: `video` is None, and label and index are empty.
    """

    video: torch.Tensor | None
    label: torch.Tensor
    index: torch.Tensor
    bad: tuple[Bad, ...]


class Videos:
    """Items (video, label, index), or Bad.

    In training a video is (t, 3, size, size) uint8; else all its views (v, t, 3, size, size).
    An item is asked for by its epoch, so that workers may live longer than one.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        sampling: Sampling,
        *,
        training: bool,
        seed: int = 0,
        reader: str = "pyav",
        may_flip: Callable[[int], bool] | None = None,
    ) -> None:
        if not entries:
            raise DataError("no clip in this split; index the data set again")
        self.entries, self.sampling, self.training = list(entries), sampling, training
        self.seed, self.reader = seed, reader
        self.size = (sampling.size, sampling.size)
        self.may_flip = may_flip or _never
        self._reader_info = reader_info(reader)

    def __len__(self) -> int:
        return len(self.entries)

    def at(self, epoch: int, index: int) -> tuple[torch.Tensor, int, int] | Bad:
        """A clip as this epoch draws it."""
        entry = self.entries[index]
        try:
            video = self._train(entry, epoch, index) if self.training else self._views(entry)
            return video, entry.label, index
        except VideoError as error:
            return Bad(index, error)

    def describe(self) -> dict[str, Any]:
        """What a record must say about how clips were read and drawn."""
        return {"training": self.training, "seed": self.seed, "clips": len(self.entries),
                "reader": self._reader_info, "sampling": self.sampling.describe()}  # fmt: skip

    def _train(self, entry: Entry, epoch: int, index: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(_mix(self.seed, epoch, index))
        video = self._read(entry, train_frames(self.sampling, entry.num_frames, chance))
        return train_picture(self.sampling, video, chance, may_flip=self.may_flip(entry.label))

    def _views(self, entry: Entry) -> torch.Tensor:
        clips = eval_frames(self.sampling, entry.num_frames)
        video = self._read(entry, [frame for clip in clips for frame in clip])
        parts = video.split(self.sampling.frames)  # clips of (t, 3, h, w)
        return torch.cat([eval_pictures(self.sampling, part) for part in parts])

    def _read(self, entry: Entry, indices: list[int]) -> torch.Tensor:
        frames = read_frames(entry.path, indices, self.reader, num_frames=entry.num_frames)
        return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()  # (t, 3, h, w)


def collate(items: Sequence[tuple[torch.Tensor, Any, int] | Bad]) -> Batch:
    """A batch of the clips that were read, the others beside it."""
    good = [item for item in items if not isinstance(item, Bad)]
    labels = [torch.as_tensor(label) for _, label, _ in good]
    return Batch(
        video=torch.stack([video for video, _, _ in good]) if good else None,
        label=torch.stack(labels) if good else torch.empty(0, dtype=torch.int64),
        index=torch.tensor([index for _, _, index in good], dtype=torch.int64),
        bad=tuple(item for item in items if isinstance(item, Bad)),
    )


@dataclass
class Tally:
    """Bad clips of an epoch of `total` clips; raises BadClipsError above a share of `max_bad`."""

    total: int
    max_bad: float = 0.01
    bad: list[Bad] = field(default_factory=list)

    def add(self, bad: Sequence[Bad]) -> None:
        """Count a batch's bad clips, and stop once they are more than the share of all clips."""
        self.bad.extend(bad)
        if len(self.bad) <= self.max_bad * self.total:
            return
        shown = "; ".join(str(item.error) for item in self.bad[:_SHOWN])
        raise BadClipsError(
            f"{len(self.bad)} of {self.total} clips cannot be used, more than "
            f"{self.max_bad:.3g} of them: {shown}; restore them, or raise max_bad",
            [item.error for item in self.bad],
        )


def _never(label: int) -> bool:
    """No flip, where the data set does not say that one is allowed; spawned workers carry it."""
    return False


def _mix(seed: int, epoch: int, index: int) -> int:
    """One seed of three numbers, without the collisions of a sum."""
    high, low = np.random.SeedSequence([seed, epoch, index]).generate_state(2)
    return (int(high) << 31) ^ int(low)
