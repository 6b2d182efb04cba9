"""Checkpoints of a training, one file that is replaced after each epoch, whole or not at all.

Random states are not in it: every epoch starts its generator from (seed, epoch, process), so the
number of the epoch tells them.
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
    """What a training went through so far, an entry an epoch.

    losses: mean loss of a clip, nat. clips: seen. seconds: of training, without validation.
    wait_seconds: of these, waiting for data. val_top1: where it was asked for. bad: clips that
    could not be read; bad_named: the first of them, each once.
    """

    losses: list[float] = field(default_factory=list)
    epoch_clips: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)
    val_top1: list[float] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    bad_named: list[str] = field(default_factory=list)
    steps: int = 0
    resumed_at: list[int] = field(default_factory=list)  # epochs done when it was taken up again

    @property
    def clips(self) -> int:
        """Clips seen."""
        return sum(self.epoch_clips)


def save(
    path: Path, key: dict[str, str], model: nn.Module, optimiser: Any, history: History
) -> None:
    """Replace the checkpoint; CannotWrite, with the old one intact, if it cannot be written."""
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
    """Put the checkpoint's state into model and optimiser; None where there is no checkpoint.

    Raises UserError for one of another model, recipe or data, or one that cannot be read.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = saved["key"] if saved["version"] == VERSION else {}
    except Exception as error:  # a damaged file fails in many ways
        raise UserError(
            f"{path}: not a checkpoint ({type(error).__name__}); delete it to train from the start"
        ) from error
    other = sorted(name for name in key.keys() | found.keys() if key.get(name) != found.get(name))
    if other:
        raise UserError(
            f"{path}: a checkpoint of another {' and '.join(other)}; "
            "delete it to train from the start"
        )
    try:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        history = History(**saved["history"])
    except Exception as error:  # it says whose it is, and holds something else
        raise UserError(
            f"{path}: a damaged checkpoint ({type(error).__name__}); "
            "delete it to train from the start"
        ) from error
    history.resumed_at.append(len(history.losses))
    return history
