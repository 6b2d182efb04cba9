"""The training engine, on accelerate: one process or many, CPU or GPU, float32 or bf16.

One code path for all: each process takes its share of each batch (see `batches`), gradients are
averaged by accelerate, and a training that was cut goes on at the epoch where it was, to the same
weights. The recipe is the same for every contestant: what differs is the model and what its recipe
says.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from pks4.data.errors import BadClipsError
from pks4.data.video_dataset import Batch, Tally
from pks4.train import batches, checkpoint, sharding
from pks4.train.augment import Augment, Mix, seed_of
from pks4.train.checkpoint import History
from pks4.train.optimizer import optimiser_of, set_rate
from pks4.train.recipe import Recipe, check_sharding

MEAN, STD = 127.5, 63.75  # of uint8 pixels; about unit range for every model alike
NAMED = 20  # bad clips that a history names

Progress = Callable[[int, int, str], None]
Loss = Callable[[Any, Tensor], Tensor]
Net = nn.Module | sharding.Level


class Diverged(Exception):
    """The loss became infinite or not a number; `detail` holds the curve up to there."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.detail = {"losses": history.losses, "val_top1": history.val_top1}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a training does beside its recipe.

    after_epoch: gives the validation top-1, which the history keeps.
    saved: the checkpoint's file, replaced after each epoch; None: none.
    about: what else a checkpoint must have in common with this training, such as its data.
    clip_macs: MACs of one clip, backward included; what `training_macs` is divided by.
    classes: how many there are, for mixup and cutmix.
    max_bad: share of the clips that may be unreadable in an epoch.
    sharding: "none", every process has the whole model (DDP), or "full", parameters, gradients and
        the optimiser's state lie in shards over the processes (FSDP2).
    """

    loss: Loss | None = None  # of outputs and labels; None: cross-entropy
    after_epoch: Callable[[nn.Module], float] | None = None
    saved: Path | None = None
    about: dict[str, str] = field(default_factory=dict)
    clip_macs: float | None = None
    classes: int = 0
    max_bad: float = 0.01
    sharding: str = "none"


def pixels(video: Tensor) -> Tensor:
    """uint8 frames (…, 3, h, w) as float32 around 0."""
    return (video.float() - MEAN) / STD


def precision(recipe: Recipe) -> torch.autocast:
    """Autocast as the recipe has it, in training as in scoring."""
    # Not accelerate's: its precision is one for the whole process, image model included.
    return torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.precision == "bf16")


def fit(
    model: nn.Module,
    source: batches.Source,
    recipe: Recipe,
    progress: Progress,
    options: Options = Options(),
) -> History:
    """Train model on the clips of source, in place, and leave it where it was.

    A clip that cannot be read is left out of its batch, whose mean is then over the others.

    Raises Diverged when a loss is not finite, BadClipsError when more than `max_bad` of the clips
    cannot be read, UserError for a checkpoint that does not fit or shards of one process.
    """
    return _Training(model, source, recipe, options).run(progress)


class _Training:
    """A model with its optimiser, its batches and what it went through."""

    def __init__(
        self, model: nn.Module, source: batches.Source, recipe: Recipe, options: Options
    ) -> None:
        self.recipe, self.options, self.origin = recipe, options, _device_of(model)
        self.accelerator = Accelerator(cpu=recipe.device == "cpu", mixed_precision="no")
        if self.accelerator.device.type != recipe.device:
            raise ValueError(
                f"recipe asks for device {recipe.device!r}, this process runs on "
                f"{self.accelerator.device.type!r}"
            )
        check_sharding(options.sharding, self.accelerator.num_processes)
        self.bare, self.clips = model, len(source)
        self.key = {"model": _digest_of(model), "recipe": recipe.digest, **options.about}
        model.to(self.accelerator.device)
        units = self._units(source) if options.sharding == "full" else None
        optimiser = optimiser_of(model, recipe)
        self.history = History()
        if options.saved:
            self.history = (
                checkpoint.load(options.saved, self.key, model, optimiser) or self.history
            )
        self.sharded: sharding.Sharded | None = None
        if units is None:
            self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        else:
            device = self.accelerator.device
            self.sharded = sharding.Sharded(model, optimiser, recipe, units, device)
            self.model, self.optimiser = self.sharded.net, self.sharded.optimiser
        self.shares = batches.Shares(
            len(source), recipe.batch_size, recipe.seed, accumulate=recipe.accumulate,
            process=self.accelerator.process_index, processes=self.accelerator.num_processes,
        )  # fmt: skip
        if not self.shares.sizes():
            raise ValueError(f"{len(source)} clips make no batch; give at least one")
        self.total = recipe.steps(len(self.shares.sizes()), options.clip_macs)
        self.factor = recipe.factor(len(self.shares.sizes()), self.total)
        change = Augment(recipe, source.size)
        self.loader = batches.loader(
            batches.Keyed(source, change if change.change else None), self.shares,
            recipe.workers, recipe.seed,
        )  # fmt: skip
        self.mix = Mix(recipe)

    def run(self, progress: Progress) -> History:
        """Train until all steps are done, from wherever the history is."""
        epochs = -(-self.total // len(self.shares.sizes()))
        while self.history.steps < self.total:
            self._epoch(len(self.history.losses))
            done = len(self.history.losses)
            if self.sharded:
                self.sharded.collect()
            if self.options.after_epoch:
                self.history.val_top1.append(self._validated(self.options.after_epoch))
            if self.options.saved and self.accelerator.is_main_process:
                optimiser = self.sharded.kept if self.sharded else self.optimiser
                checkpoint.save(self.options.saved, self.key, self.bare, optimiser, self.history)
            self.accelerator.wait_for_everyone()
            progress(done, epochs, f"loss {self.history.losses[-1]:.3f}")
        self.bare.to(self.origin)
        return self.history

    def _units(self, source: batches.Source) -> list[str]:
        """What is gathered one by one where the model lies in shards; it goes to the CPU."""
        sharding.as_on_first([*self.bare.parameters(), *self.bare.buffers()])
        clip = batches.first_clip(source).to(self.accelerator.device)
        with precision(self.recipe):
            units = sharding.units(self.bare, pixels(clip))
        self.bare.to("cpu")
        return units

    def _validated(self, validate: Callable[[nn.Module], float]) -> float:
        rests = _device_of(self.bare)
        self.bare.to(self.accelerator.device)
        with precision(self.recipe):
            top1 = validate(self.bare)
        self.bare.to(rests)
        return top1

    def _epoch(self, epoch: int) -> None:
        self.shares.epoch = epoch
        torch.manual_seed(seed_of(self.recipe.seed, epoch, self.accelerator.process_index))
        self.model.train()
        started, waited, total, clips = time.perf_counter(), 0.0, 0.0, 0
        loaded, tally = iter(self.loader), Tally(self.clips, self.options.max_bad)
        for _ in range(min(len(self.shares.sizes()), self.total - self.history.steps)):
            before = time.perf_counter()
            parts = [next(loaded) for _ in range(self.recipe.accumulate)]
            waited += time.perf_counter() - before
            size, lacking = self._readable(parts, tally)
            loss = self._gradients(parts, size, lacking)
            self._check(loss, epoch)
            self._step(size)
            total, clips = total + loss * size, clips + size
        if not clips:
            errors = [item.error for item in tally.bad]
            raise BadClipsError(f"no clip of epoch {epoch + 1} could be read", errors)
        self._note(tally)
        self.history.losses.append(total / clips)
        self.history.epoch_clips.append(clips)
        self.history.seconds.append(time.perf_counter() - started)
        self.history.wait_seconds.append(waited)

    def _readable(self, parts: list[Batch], tally: Tally) -> tuple[int, bool]:
        """Clips of a step that could be read, and whether a part has none; over all processes."""
        bad = [item for part in parts for item in part.bad]
        read = [len(part.label) for part in parts]
        told = [sum(read), len(bad), read.count(0)]
        if self.accelerator.num_processes > 1:
            counts = torch.tensor(told, device=self.accelerator.device)
            told = self.accelerator.reduce(counts, "sum").tolist()
        size, unread, empty = told
        if unread:
            tally.add(gather_object(bad))
        return size, empty > 0

    def _note(self, tally: Tally) -> None:
        """Keep how many clips of an epoch could not be read, and the first of them by name."""
        self.history.bad.append(len(tally.bad))
        named = self.history.bad_named
        new = sorted({item.name for item in tally.bad} - set(named))
        named.extend(new[: NAMED - len(named)])

    def _gradients(self, parts: list[Batch], size: int, lacking: bool) -> float:
        """Gradients of a batch of `size` clips, the same in all processes; its mean loss."""
        loss, last = 0.0, len(parts) - 1
        if self.sharded:
            nets = self.sharded.level([part.video for part in parts])
        else:
            # The parallel model meets the others in its passes, which who has no clip cannot make.
            nets = [self.bare if lacking else self.model] * len(parts)
        for turn, (net, part) in enumerate(zip(nets, parts, strict=True)):
            with contextlib.nullcontext() if turn == last else self.accelerator.no_sync(net):
                loss += self._part(net, part, size, turn)
        if self.accelerator.num_processes > 1:
            told = torch.tensor(loss, device=self.accelerator.device)
            loss = self.accelerator.reduce(told, "sum").item()
            if lacking and not self.sharded:
                self._average()
        return loss

    def _part(self, net: Net, part: Batch, size: int, turn: int) -> float:
        """Gradients of one part of a batch of `size` clips; its share of the mean loss."""
        accelerator = self.accelerator
        if part.video is None:
            if isinstance(net, sharding.Level) and net.spare is not None:
                with precision(self.recipe):
                    value = net.nothing(pixels(net.spare.to(accelerator.device)))
                accelerator.backward(value)
            return 0.0
        video, label = pixels(part.video.to(accelerator.device)), part.label.to(accelerator.device)
        share = len(video) / size
        with precision(self.recipe):
            value = self._loss(net, video, label, turn)
        # Processes are averaged, so each counts its share of the whole batch as many times.
        accelerator.backward(value * (share * accelerator.num_processes))
        return (value.detach() * share).item()

    def _average(self) -> None:
        """The mean over processes of the gradients, of which some processes may have none."""
        for weight in self.bare.parameters():
            if weight.requires_grad:
                own = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(own, "mean")

    def _loss(self, net: Net, video: Tensor, label: Tensor, turn: int) -> Tensor:
        if self.options.loss:
            return self.options.loss(net(video), label)
        if self.mix.active:
            when = (self.history.steps, turn, self.accelerator.process_index)
            video, label = self.mix(video, label, self.options.classes, *when)
        return F.cross_entropy(
            net(video).float(), label, label_smoothing=self.recipe.label_smoothing
        )

    def _step(self, size: int) -> None:
        """One step of the optimiser; a batch without a clip is none, but the schedule goes on."""
        if size:
            if self.recipe.clip_norm:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            set_rate(self.optimiser, self.recipe.learning_rate * self.factor(self.history.steps))
            self.optimiser.step()
            self.optimiser.zero_grad()
        self.history.steps += 1

    def _check(self, loss: float, epoch: int) -> None:
        if not torch.isfinite(torch.tensor(loss)):
            raise Diverged(f"loss {loss} in epoch {epoch + 1}; lower learning_rate", self.history)


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _digest_of(model: nn.Module) -> str:
    """A hash of the names, shapes and roles of a model's weights, not of their values."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    told = [(k, tuple(v.shape), str(v.dtype), k in trained) for k, v in model.state_dict().items()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
