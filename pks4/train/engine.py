"""The training engine, on accelerate: one process or many, CPU or GPU, float32 or bf16.

One code path for all: each process takes its share of each batch (see `batches`), and accelerate
averages the gradients. A training that was interrupted resumes at its last whole epoch and ends
with the same weights. Every contestant trains by this engine; only the model and its recipe differ.
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
from pks4.data.video_dataset import BadClipCounter, Batch
from pks4.train import batches, checkpoint, sharding
from pks4.train.augment import Augment, Mix, seed_of
from pks4.train.checkpoint import History
from pks4.train.optimizer import optimiser_of, set_rate
from pks4.train.recipe import Recipe, check_sharding

MEAN, STD = 127.5, 63.75  # of uint8 pixels; about unit range, the same for every model
NAMED = 20  # a history names so many bad clips

Progress = Callable[[int, int, str], None]
Loss = Callable[[Any, Tensor], Tensor]
Forward = Callable[[Any, Tensor], Any]
Net = nn.Module | sharding.EqualPasses


class Diverged(Exception):
    """The loss became infinite or NaN; `detail` holds the losses of the epochs before."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.detail = {"losses": history.losses, "val_top1": history.val_top1}


def pixels(video: Tensor) -> Tensor:
    """uint8 frames (…, 3, h, w) as float32 around 0."""
    return (video.float() - MEAN) / STD


def on_pixels(net: Any, video: Tensor) -> Any:
    """Outputs of the model from uint8 clips (b, t, 3, h, w)."""
    return net(pixels(video))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of a training that are not part of its recipe.

    loss: of outputs and labels; None: cross-entropy.
    after_epoch: computes the validation top-1, which the history keeps.
    saved: path of the checkpoint, replaced after each epoch; None: no checkpoint.
    about: further keys that a checkpoint must share with this training, such as its data.
    clip_macs: MACs of one clip, backward included; the divisor of `training_macs`.
    classes: number of classes, for mixup and cutmix.
    max_bad: share of the clips of an epoch that may be unreadable.
    sharding: "none", every process holds the whole model (DDP), or "full", the processes share
        parameters, gradients and optimiser state in shards (FSDP2).
    forward: outputs of the model from a batch of the source; another than `on_pixels` is for one
        process and without mixup and cutmix.
    """

    loss: Loss | None = None
    after_epoch: Callable[[nn.Module], float] | None = None
    saved: Path | None = None
    about: dict[str, str] = field(default_factory=dict)
    clip_macs: float | None = None
    classes: int = 0
    max_bad: float = 0.01
    sharding: str = "none"
    forward: Forward = on_pixels


def precision(recipe: Recipe) -> torch.autocast:
    """The recipe's autocast, for training and scoring."""
    # Not accelerate's: it has one precision a process, which would include the image model.
    return torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.precision == "bf16")


def fit(
    model: nn.Module,
    source: batches.Source,
    recipe: Recipe,
    progress: Progress,
    options: Options = Options(),
) -> History:
    """Train model on the clips of source, in place; at the end it is on the device where it was.

    The mean of a batch leaves out clips that cannot be read.

    Raises Diverged when a loss is not finite, BadClipsError when more than `max_bad` of the clips
    cannot be read, and UserError for a checkpoint that does not fit or shards in one process.
    """
    return _Training(model, source, recipe, options).run(progress)


class _Training:
    """A model with its optimiser, its batches and its history."""

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
        self.unwrapped, self.clips = model, len(source)
        self.key = {"model": _digest_of(model), "recipe": recipe.digest, **options.about}
        model.to(self.accelerator.device)
        units = self._shard_units(source) if options.sharding == "full" else None
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
        self.epoch_batches = batches.EpochBatches(
            len(source), recipe.batch_size, recipe.seed, accumulate=recipe.accumulate,
            process=self.accelerator.process_index, processes=self.accelerator.num_processes,
        )  # fmt: skip
        if not self.epoch_batches.sizes():
            raise ValueError(f"{len(source)} clips make no batch; give at least one")
        self.total = recipe.steps(len(self.epoch_batches.sizes()), options.clip_macs)
        self.factor = recipe.factor(len(self.epoch_batches.sizes()), self.total)
        change = Augment(recipe, source.size)
        self.loader = batches.loader(
            batches.ByEpochAndIndex(source, change if change.change else None), self.epoch_batches,
            recipe.workers, recipe.seed,
        )  # fmt: skip
        self.mix = Mix(recipe)

    def run(self, progress: Progress) -> History:
        """Train from the end of the history until all steps are done."""
        epochs = -(-self.total // len(self.epoch_batches.sizes()))
        while self.history.steps < self.total:
            self._epoch(len(self.history.losses))
            done = len(self.history.losses)
            if self.sharded:
                self.sharded.collect()
            if self.options.after_epoch:
                self.history.val_top1.append(self._validated(self.options.after_epoch))
            if self.options.saved and self.accelerator.is_main_process:
                optimiser = self.sharded.whole_optimiser if self.sharded else self.optimiser
                checkpoint.save(
                    self.options.saved, self.key, self.unwrapped, optimiser, self.history
                )
            self.accelerator.wait_for_everyone()
            progress(done, epochs, f"loss {self.history.losses[-1]:.3f}")
        self.unwrapped.to(self.origin)
        return self.history

    def _shard_units(self, source: batches.Source) -> list[str]:
        """Names of the modules to shard, see `sharding.units`; moves the model to the CPU."""
        sharding.as_on_first([*self.unwrapped.parameters(), *self.unwrapped.buffers()])
        clip = batches.first_clips(source).to(self.accelerator.device)
        with precision(self.recipe):
            units = sharding.units(self.unwrapped, pixels(clip))
        self.unwrapped.to("cpu")
        return units

    def _validated(self, validate: Callable[[nn.Module], float]) -> float:
        device = _device_of(self.unwrapped)
        self.unwrapped.to(self.accelerator.device)
        with precision(self.recipe):
            top1 = validate(self.unwrapped)
        self.unwrapped.to(device)
        return top1

    def _epoch(self, epoch: int) -> None:
        self.epoch_batches.epoch = epoch
        torch.manual_seed(seed_of(self.recipe.seed, epoch, self.accelerator.process_index))
        self.model.train()
        started, waited, total, clips = time.perf_counter(), 0.0, 0.0, 0
        loaded, bad_clips = iter(self.loader), BadClipCounter(self.clips, self.options.max_bad)
        for _ in range(min(len(self.epoch_batches.sizes()), self.total - self.history.steps)):
            before = time.perf_counter()
            parts = [next(loaded) for _ in range(self.recipe.accumulate)]
            waited += time.perf_counter() - before
            size, lacking = self._readable(parts, bad_clips)
            loss = self._gradients(parts, size, lacking)
            self._check(loss, epoch)
            self._step(size)
            total, clips = total + loss * size, clips + size
        if not clips:
            errors = [item.error for item in bad_clips.bad]
            raise BadClipsError(f"no clip of epoch {epoch + 1} could be read", errors)
        self._record_bad_clips(bad_clips)
        self.history.losses.append(total / clips)
        self.history.epoch_clips.append(clips)
        self.history.seconds.append(time.perf_counter() - started)
        self.history.wait_seconds.append(waited)

    def _readable(self, parts: list[Batch], bad_clips: BadClipCounter) -> tuple[int, bool]:
        """Readable clips of a step over all processes, and whether any part has none."""
        bad = [item for part in parts for item in part.bad]
        read = [len(part.label) for part in parts]
        counts = [sum(read), len(bad), read.count(0)]
        if self.accelerator.num_processes > 1:
            tensor = torch.tensor(counts, device=self.accelerator.device)
            counts = self.accelerator.reduce(tensor, "sum").tolist()
        size, unread, empty = counts
        if unread:
            bad_clips.add(gather_object(bad))
        return size, empty > 0

    def _record_bad_clips(self, bad_clips: BadClipCounter) -> None:
        """Add an epoch's number of unreadable clips, and the names of the first, to the history."""
        self.history.bad.append(len(bad_clips.bad))
        named = self.history.bad_named
        new = sorted({item.name for item in bad_clips.bad} - set(named))
        named.extend(new[: NAMED - len(named)])

    def _gradients(self, parts: list[Batch], size: int, lacking: bool) -> float:
        """Compute the gradients of a batch of `size` clips over all processes; its mean loss."""
        loss, last = 0.0, len(parts) - 1
        if self.sharded:
            nets = self.sharded.equal_passes([part.video for part in parts])
        else:
            # DDP synchronises in each pass, but a process without a clip makes no pass.
            nets = [self.unwrapped if lacking else self.model] * len(parts)
        for i, (net, part) in enumerate(zip(nets, parts, strict=True)):
            with contextlib.nullcontext() if i == last else self.accelerator.no_sync(net):
                loss += self._part(net, part, size, i)
        if self.accelerator.num_processes > 1:
            total = torch.tensor(loss, device=self.accelerator.device)
            loss = self.accelerator.reduce(total, "sum").item()
            if lacking and not self.sharded:
                self._average()
        return loss

    def _part(self, net: Net, part: Batch, size: int, i: int) -> float:
        """Compute the gradients of part i of a batch of `size` clips; its share of the loss."""
        accelerator = self.accelerator
        if part.video is None:
            if isinstance(net, sharding.EqualPasses) and net.padding_clip is not None:
                with precision(self.recipe):
                    value = net.zero_loss(pixels(net.padding_clip.to(accelerator.device)))
                accelerator.backward(value)
            return 0.0
        video, label = part.video.to(accelerator.device), part.label.to(accelerator.device)
        share = len(video) / size
        with precision(self.recipe):
            value = self._loss(net, video, label, i)
        # The mean over processes divides by their number, so multiply by it here.
        accelerator.backward(value * (share * accelerator.num_processes))
        return (value.detach() * share).item()

    def _average(self) -> None:
        """Average the gradients over processes; a process without gradients counts as zeros."""
        for weight in self.unwrapped.parameters():
            if weight.requires_grad:
                grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(grad, "mean")

    def _loss(self, net: Net, video: Tensor, label: Tensor, part: int) -> Tensor:
        if self.options.loss:
            return self.options.loss(self.options.forward(net, video), label)
        if self.mix.active:
            when = (self.history.steps, part, self.accelerator.process_index)
            mixed, label = self.mix(pixels(video), label, self.options.classes, *when)
            logits = net(mixed)
        else:
            logits = self.options.forward(net, video)
        return F.cross_entropy(logits.float(), label, label_smoothing=self.recipe.label_smoothing)

    def _step(self, size: int) -> None:
        """Step the optimiser if the batch has clips; the schedule advances in any case."""
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
    """A hash of the names, shapes, dtypes and trainability of all weights, but not their values."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    state = model.state_dict()
    weights = [(k, tuple(v.shape), str(v.dtype), k in trained) for k, v in state.items()]
    return hashlib.sha256(json.dumps(weights).encode()).hexdigest()[:16]
