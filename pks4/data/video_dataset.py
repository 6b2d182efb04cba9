"""A split on disk, decoded clip by clip; bad clips are counted and never replaced.

Each item opens and closes a reader, so threads and forks share none.  Random choices depend
on (seed, epoch, index) alone, whatever worker makes them.  A clip that cannot be read exactly
becomes a `Bad` item.  `collate` moves it from the batch's tensors to the batch's list `bad`;
`BadClipCounter` counts over workers and raises an error when too many are bad.

Letters: b clips of a batch, v views, t frames, h w rows and columns.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pks4.data.errors import BadClipsError, DataError, VideoError
from pks4.data.manifest import Entry
from pks4.data.readers import read_frames, reader_info
from pks4.data.sampling import (
    Sampling,
    eval_frames,
    eval_pictures,
    resize,
    train_frames,
    train_picture,
)

_SHOWN = 5  # bad clips named in the error
_AHEAD = 8  # clips decoded at once


@dataclass(frozen=True)
class Bad:
    """A clip that could not be read exactly."""

    index: int
    error: VideoError

    @property
    def name(self) -> str:
        """Folder, file and kind, without the user's path to the folder."""
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

    In training a video is (t, 3, size, size) uint8; in evaluation it is all views
    (v, t, 3, size, size). `at` takes the epoch, so that workers may persist over epochs.
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
        self.kept: dict[int, torch.Tensor] = {}  # of a clip (num_frames, 3, h, w)
        self._reader_info = reader_info(reader)

    def __len__(self) -> int:
        return len(self.entries)

    def keep(self, max_bytes: int) -> int:
        """Decode clips for training now, in order, while all their frames fit; the bytes they take.

        Where all epochs resize frames alike, they are kept resized, which gives the same clips in
        less room. A clip that cannot be read whole is left to `at`.
        """
        total = 0
        with ThreadPoolExecutor(min(_AHEAD, os.cpu_count() or 1)) as pool:
            for start in range(0, len(self), _AHEAD):
                indices = range(start, min(start + _AHEAD, len(self)))
                for index, video in zip(indices, pool.map(self._whole, indices), strict=True):
                    if video is None:
                        continue
                    if total + video.nbytes > max_bytes:
                        return total
                    self.kept[index] = video
                    total += video.nbytes
        return total

    def at(self, epoch: int, index: int) -> tuple[torch.Tensor, int, int] | Bad:
        """A clip with the random choices of this epoch."""
        entry = self.entries[index]
        try:
            video = self._train(entry, epoch, index) if self.training else self._views(entry)
            return video, entry.label, index
        except VideoError as error:
            return Bad(index, error)

    def describe(self) -> dict[str, Any]:
        """How clips are read and sampled, for a record."""
        return {"training": self.training, "seed": self.seed, "clips": len(self.entries),
                "reader": self._reader_info, "sampling": self.sampling.describe()}  # fmt: skip

    def _train(self, entry: Entry, epoch: int, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(_mix(self.seed, epoch, index))
        frames = train_frames(self.sampling, entry.num_frames, generator)
        kept = self.kept.get(index)
        video = self._read(entry, frames) if kept is None else kept[frames]
        return train_picture(self.sampling, video, generator, may_flip=self.may_flip(entry.label))

    def _views(self, entry: Entry) -> torch.Tensor:
        clips = eval_frames(self.sampling, entry.num_frames)
        video = self._read(entry, [frame for clip in clips for frame in clip])
        parts = video.split(self.sampling.frames)  # clips of (t, 3, h, w)
        return torch.cat([eval_pictures(self.sampling, part) for part in parts])

    def _whole(self, index: int) -> torch.Tensor | None:
        """All frames of a clip; None if any cannot be read."""
        entry, side = self.entries[index], self.sampling.fixed_side
        try:
            video = self._read(entry, list(range(entry.num_frames)))
        except VideoError:
            return None
        return video if side is None else resize(video, side)

    def _read(self, entry: Entry, indices: list[int]) -> torch.Tensor:
        frames = read_frames(entry.path, indices, self.reader, num_frames=entry.num_frames)
        return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()  # (t, 3, h, w)


def collate(items: Sequence[tuple[torch.Tensor, Any, int] | Bad]) -> Batch:
    """A batch of the clips that were read; `bad` lists the others."""
    good = [item for item in items if not isinstance(item, Bad)]
    labels = [torch.as_tensor(label) for _, label, _ in good]
    return Batch(
        video=torch.stack([video for video, _, _ in good]) if good else None,
        label=torch.stack(labels) if good else torch.empty(0, dtype=torch.int64),
        index=torch.tensor([index for _, _, index in good], dtype=torch.int64),
        bad=tuple(item for item in items if isinstance(item, Bad)),
    )


@dataclass
class BadClipCounter:
    """The bad clips of an epoch of `total` clips; above a share of `max_bad` an error."""

    total: int
    max_bad: float = 0.01
    bad: list[Bad] = field(default_factory=list)

    def add(self, bad: Sequence[Bad]) -> None:
        """Add a batch's bad clips. Raises BadClipsError above the share `max_bad` of all clips."""
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
    """No flip, unless the data set allows it; a plain function, which workers can pickle."""
    return False


def _mix(seed: int, epoch: int, index: int) -> int:
    """Hash three numbers to one seed; a plain sum would collide."""
    high, low = np.random.SeedSequence([seed, epoch, index]).generate_state(2)
    return (int(high) << 31) ^ int(low)
