"""How much fits: the most frames, and the most clips of 16 frames, of a training step in a memory.

Every answer is a simulated step at that number. That one more does not fit is simulated, too, or
follows from two steps before, since memory grows with frames and clips at least as fast as so far.
What allocators, libraries and other processes take is not in it, so `RESERVE` of the memory is kept
free.
"""

import gc
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import Contestant, Suite
from pks4.bench.process import warm_start
from pks4.bench.units import bytes_of
from pks4.errors import UserError, unknown_name
from pks4.simulate.targets import target as find_target
from pks4.simulate.what_fits import CLIP_FRAMES, RESERVE, _secant, count, growth_to, largest

CHUNK_FRAMES = 64  # of a frozen PKS4 backbone
MOST_FRAMES, MOST_CLIPS = 1024, 256  # beyond it, "at least" is the answer
CLASSES = 400
RULE = "step_memory/v1"


@dataclass(frozen=True)
class Question:
    """A step of one contestant at paper scale, as asked."""

    contestant: Contestant
    target: str
    kernel: str
    memory: int  # bytes
    batch: int


@dataclass(frozen=True)
class Fit:
    """What fits of one contestant; 0: not even the smallest step does."""

    label: str
    title: str
    family: str
    frames: int
    clips: int  # of CLIP_FRAMES frames
    peak: int  # bytes of the step with the most frames
    parts: dict[str, int]
    kernel: str
    scan_backend: str | None


def ask(
    suite: Suite, only: Sequence[str], memory: str, target: str, kernel: str, batch: int
) -> list[Question]:
    """One question for each contestant of a suite, or for those labels alone.

    Raises UserError for an unknown label, target or kernel, and for what is no memory.
    """
    from pks4.simulate.attention_kernels import KERNELS

    find_target(target)
    if kernel and kernel not in KERNELS:
        raise UserError(unknown_name("attention kernel", kernel, KERNELS))
    labels = [c.label for c in suite.contestants]
    for label in only:
        if label not in labels:
            raise UserError(unknown_name(f"contestant of suite {suite.name!r}", label, labels))
    size = bytes_of(memory)
    chosen = [c for c in suite.contestants if not only or c.label in only]
    return [Question(c, target, kernel, size, batch) for c in chosen]


def table(found: Sequence[Fit]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows for people: what fits, and where the memory of that step goes, in GiB."""
    parts = list(dict.fromkeys(name for f in found for name in f.parts))
    columns = ("contestant", "frames", f"clips of {CLIP_FRAMES}", "peak, GiB", *parts)
    rows = [
        (
            f.title,
            count(f.frames, MOST_FRAMES),
            count(f.clips, MOST_CLIPS),
            f"{f.peak / 2**30:.2f}",
            *(f"{f.parts.get(name, 0) / 2**30:.2f}" for name in parts),
        )
        for f in found
    ]
    return columns, rows


def remarks(question: Question, found: Sequence[Fit]) -> list[str]:
    """What the table does not say by itself."""
    ran = sorted({f.kernel for f in found} | {f.scan_backend for f in found if f.scan_backend})
    return [
        f"Most frames at batch {question.batch}; parts are of that step. Training step of one clip "
        f"or more at paper scale, {CLASSES} classes, AdamW, simulated on {question.target} "
        f"({RULE}); {', '.join(ran)}.",
        f"{RESERVE:.0%} of the memory is kept free; what allocators and libraries take comes out of"
        " it. GB are GiB. 0: not even the smallest step fits; ≥: more was not tried.",
    ]


def answer(question: Question) -> Fit:
    """Find what fits; half a second a simulated step."""
    entry = catalogue.models()[question.contestant.model]
    limit = int(question.memory * (1 - RESERVE))
    step = entry.frames_step(question.contestant.options)

    @cache
    def step_of(frames: int, batch: int) -> tuple[Any, str, str | None]:
        return simulate(question, frames, batch)

    # A frozen backbone runs in chunks, so that its peak grows less beyond the first.
    options = {**entry.defaults, **question.contestant.options}
    chunk = CHUNK_FRAMES if "frame_chunk" in options and options.get("frozen") else 1
    first = step_of(CLIP_FRAMES, question.batch)[0]
    frames = largest(
        lambda t: step_of(t, question.batch)[0].peak,
        limit,
        MOST_FRAMES,
        step,
        known={CLIP_FRAMES: first.peak},
        guess=int(CLIP_FRAMES * growth_to(limit, first)),
        convex_from=chunk,
    )
    found, kernel, scan = step_of(frames or step, question.batch)
    few = -(-chunk // CLIP_FRAMES)
    guess = int(growth_to(limit, found) * (frames or step) * question.batch / CLIP_FRAMES)
    known = {question.batch: first.peak}
    if few > 1:  # many chunks take their time: two small steps tell where the answer is
        known |= {b: step_of(CLIP_FRAMES, b)[0].peak for b in (few, 4 * few)}
        guess = _secant(known, limit, guess)
    clips = largest(
        lambda b: step_of(CLIP_FRAMES, b)[0].peak,
        limit,
        MOST_CLIPS,
        known=known,
        guess=guess,
        convex_from=few,
    )
    return Fit(
        label=question.contestant.label,
        title=question.contestant.title or question.contestant.label,
        family=entry.facts.get("FAMILY", ""),
        frames=frames,
        clips=clips,
        peak=found.peak,
        parts=found.parts,
        kernel=kernel,
        scan_backend=scan,
    )


def simulate(question: Question, frames: int, batch: int) -> tuple[Any, str, str | None]:
    """One step: its memory, the attention kernel and the scan backend that ran."""
    import torch

    from pks4.bench.contestants.build import build, configured
    from pks4.simulate import step_memory

    entry = catalogue.models()[question.contestant.model]
    options = configured(entry, question.contestant.options)
    model = build(entry, options, frames=frames, num_classes=CLASSES)
    size = options["image_size"]
    clip = torch.empty(batch, frames, 3, size, size, device="meta")
    return step_memory.simulate(model, clip, find_target(question.target, question.kernel))


def answers(questions: Sequence[Question], jobs: int) -> Iterator[Fit]:
    """All answers as they come, `jobs` at once, in processes forked with the libraries loaded."""
    context = multiprocessing.get_context("forkserver" if warm_start.AVAILABLE else "spawn")
    if warm_start.AVAILABLE:
        context.set_forkserver_preload(["pks4.bench.run.preloaded"])
    # What is imported needs no looking through for garbage.
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=gc.freeze) as pool:
        try:
            for done in as_completed([pool.submit(answer, q) for q in questions]):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
