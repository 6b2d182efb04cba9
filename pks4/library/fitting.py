"""What fits in a memory: the most clips, and for a build the most frames, of a training step."""

from collections.abc import Callable
from functools import cache, partial
from inspect import Parameter, signature
from typing import Any, Protocol

import torch
from torch import nn

from pks4.bench.budget import fit
from pks4.bench.plan.suite import Contestant
from pks4.bench.units import bytes_of
from pks4.errors import UserError
from pks4.library.inputs import batch_of, on_meta
from pks4.library.instruments import peak_of_step, target_named
from pks4.library.models import FRAMES, entry_named
from pks4.library.refusals import told
from pks4.library.results import Fits
from pks4.simulate.step_memory import RULE, Simulated
from pks4.simulate.targets import Target
from pks4.simulate.what_fits import RESERVE, growth_to, largest, secant

MOST_FRAMES, MOST_BATCH = 1024, 1 << 16  # the search ends there
SIDE = 224  # of the clips of a build, where none are given
Clip = Callable[[int], Any]


class Grown(Protocol):
    """A step's memory: its peak and the parts of that, in bytes."""

    @property
    def peak(self) -> int: ...
    @property
    def parts(self) -> dict[str, int]: ...


def what_fits(
    build_or_model: nn.Module | Callable[..., nn.Module] | str,
    clip_or_shape: Any = None,
    *,
    memory: str = "24GB",
    target: str = "cuda-bf16",
    kernel: str = "",
    batch: int = 1,
    frames_step: int = 1,
) -> Fits:
    """The most clips, and the most frames at `batch` clips, whose training step fits in `memory`.

    A model is asked for clips alone. For frames give what builds it: the name of a contestant, or a
    class or function that takes `frames`, or one number. `clip_or_shape` is that of a model; for a
    build it is a function from frames to one, by default `lambda t: (1, t, 3, 224, 224)`.
    `frames_step`: the build takes multiples of so many frames. A twentieth of the memory is kept
    free. Raises UserError as `simulate_step` does.
    """
    if isinstance(build_or_model, str):
        return _of_contestant(build_or_model, memory, target, kernel, batch)
    where, limit = target_named(target, kernel), int(bytes_of(memory) * (1 - RESERVE))
    if isinstance(build_or_model, nn.Module):
        if clip_or_shape is None:
            raise UserError("what_fits takes the model's input too, such as (1, 3, 224, 224)")
        step_of = cache(partial(peak_of_step, build_or_model, clip_or_shape, where))
        given = batch_of(on_meta(clip_or_shape))
        (clips,) = most_clips(step_of, [limit], given, step_of(given).memory)
        return _fits(
            build_or_model, memory, where, step_of(clips or 1), clips=clips, clips_given=given
        )
    return _of_build(build_or_model, clip_or_shape, memory, limit, where, batch, frames_step)


def most_clips(
    step_of: Callable[[int], Simulated], limits: list[int], clips: int, first: Grown
) -> list[int]:
    """For each limit, bytes, the most clips whose step is within it; `first` is one of `clips`."""
    peaks = {clips: first.peak}

    def peak(clips: int) -> int:
        peaks[clips] = step_of(clips).memory.peak
        return peaks[clips]

    found = []
    for limit in limits:
        guess = secant(peaks, limit, int(clips * growth_to(limit, first)))
        known = dict(peaks)
        found.append(largest(peak, limit, MOST_BATCH, known=known, guess=guess, convex_from=1))
    return found


def _of_build(
    build: Callable[..., nn.Module], clip_or_shape: Any, memory: str, limit: int, where: Target,
    batch: int, step: int,
) -> Fits:  # fmt: skip
    model_of = cache(partial(_built, build))
    clip_of: Clip = clip_or_shape or (lambda t: (1, t, 3, SIDE, SIDE))
    if not callable(clip_of):
        raise UserError(
            "for a build, give the clip as a function of frames: lambda t: (1, t, 3, 224, 224)"
        )

    @cache
    def step_of(frames: int) -> Simulated:
        return peak_of_step(model_of(frames), clip_of(frames), where, batch)

    given = -(-FRAMES // step) * step
    first = step_of(given).memory
    frames = largest(
        lambda t: step_of(t).memory.peak,
        limit,
        MOST_FRAMES,
        step,
        known={given: first.peak},
        guess=int(given * growth_to(limit, first)),
    )
    of_given = cache(partial(peak_of_step, model_of(given), clip_of(given), where))
    (clips,) = most_clips(of_given, [limit], batch, first)
    return _fits(
        model_of(given), memory, where, step_of(frames or step),
        clips=clips, clips_given=batch, frames=frames, frames_given=given,
    )  # fmt: skip


def _built(build: Callable[..., nn.Module], frames: int) -> nn.Module:
    """The model for so many frames, on meta where its code can make it there."""
    name = getattr(build, "__qualname__", type(build).__name__)
    with told(name):
        parameters = signature(build).parameters
    needed = [k for k, p in parameters.items() if p.default is Parameter.empty]
    if "frames" in parameters:
        make = partial(build, frames=frames)
    elif len(needed) == 1:
        make = partial(build, frames)
    else:
        raise UserError(f"{name} must take `frames`, or one number, and build the model for them")
    with told(f"{name} of {frames} frames"):
        model = made(make)
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} gave a {type(model).__name__}, not an nn.Module")
    return model


def made(make: Callable[[], Any]) -> Any:
    """What it makes, on meta; with values where its code reads some while it makes it."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return make()
        except Exception:  # it says again what else is wrong
            return make()


def _of_contestant(name: str, memory: str, target: str, kernel: str, batch: int) -> Fits:
    """The same by `pks4-bench fit`'s own search, at paper scale."""
    entry_named(name)
    where = target_named(target, kernel)
    contestant = Contestant(label=name, model=name)
    found = fit.answer(fit.Question(contestant, target, kernel, bytes_of(memory), batch))
    return Fits(
        model=name,
        memory=bytes_of(memory),
        frames=found.frames,
        batch=found.clips,
        frames_given=fit.CLIP_FRAMES,
        clips_given=batch,
        most_frames=fit.MOST_FRAMES,
        most_batch=fit.MOST_CLIPS,
        peak=found.peak,
        parts=found.parts,
        target=where.name,
        kernel=found.kernel,
        scan_backend=found.scan_backend,
        rule=fit.RULE,
    )


def _fits(
    model: nn.Module, memory: str, where: Target, step: Simulated, *,
    clips: int, clips_given: int, frames: int | None = None, frames_given: int | None = None,
) -> Fits:  # fmt: skip
    return Fits(
        model=type(model).__name__,
        memory=bytes_of(memory),
        frames=frames,
        batch=clips,
        frames_given=frames_given,
        clips_given=clips_given,
        most_frames=MOST_FRAMES,
        most_batch=MOST_BATCH,
        peak=step.memory.peak,
        parts=step.memory.parts,
        target=where.name,
        kernel=step.kernel,
        scan_backend=step.scan_backend,
        rule=RULE,
    )
