"""Checkpoints of a training: one file, replaced atomically after each epoch.

A checkpoint holds no random states: every epoch seeds its generator by (seed, epoch, process), so
the number of the epoch determines them.
"""

import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pks4.errors import CannotWrite, UserError

VERSION = 1


@dataclass
class History:
    """The course of a training, one entry an epoch.

    losses: mean loss of a clip, nat. epoch_clips: clips seen. seconds: training time, without
    validation. wait_seconds: the part of it spent waiting for data. val_top1: after each epoch, if
    validated. bad: number of clips that could not be read; bad_named: the first of their names.
    """

    losses: list[float] = field(default_factory=list)
    epoch_clips: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)
    val_top1: list[float] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    bad_named: list[str] = field(default_factory=list)
    steps: int = 0
    resumed_at: list[int] = field(default_factory=list)  # epochs that were done at each resume

    @property
    def clips(self) -> int:
        """Clips seen."""
        return sum(self.epoch_clips)


def save(
    path: Path, key: dict[str, str], model: nn.Module, optimiser: Any, history: History
) -> None:
    """Replace the checkpoint. Raises CannotWrite, and keeps the old file, if writing fails."""
    content = io.BytesIO()
    state = {
        "version": VERSION,
        "key": key,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": asdict(history),
    }
    torch.save(state, content)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(
            f"cannot write checkpoint {path}: {error.strerror}; free some space and resume"
        ) from error


def load(path: Path, key: dict[str, str], model: nn.Module, optimiser: Any) -> History | None:
    """Restore model and optimiser from the checkpoint; None if there is no file.

    Raises UserError for a checkpoint of another model, recipe or data, or one that cannot be read.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved_key = saved["key"] if saved["version"] == VERSION else {}
    except Exception as error:  # a damaged file fails in many ways
        raise UserError(
            f"{path}: not a checkpoint ({type(error).__name__}); delete it to train from the start"
        ) from error
    names = key.keys() | saved_key.keys()
    differing = sorted(name for name in names if key.get(name) != saved_key.get(name))
    if differing:
        raise UserError(
            f"{path}: a checkpoint of another {' and '.join(differing)}; "
            "delete it to train from the start"
        )
    try:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        history = History(**saved["history"])
    except Exception as error:  # the key fits, the content does not
        raise UserError(
            f"{path}: a damaged checkpoint ({type(error).__name__}); "
            "delete it to train from the start"
        ) from error
    history.resumed_at.append(len(history.losses))
    return history
