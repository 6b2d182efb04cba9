"""The most frames, and the most clips of 16 frames, whose training step fits in a memory.

Each answer is the number of a simulated step. That one more does not fit is simulated too, or
follows from two smaller steps, since memory grows with frames and clips at least linearly. Memory
of allocators, libraries and other processes is not included, so `RESERVE` of the memory is kept
free.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import Contestant, Suite
from pks4.bench.process.child import ChildFailed, Children, receive
from pks4.bench.units import bytes_of
from pks4.errors import UserError, unknown_name
from pks4.simulate.targets import target as find_target
from pks4.simulate.what_fits import CLIP_FRAMES, RESERVE, count, growth_to, largest, secant

if TYPE_CHECKING:
    from pks4.simulate.step_memory import Simulated

CHUNK_FRAMES = 64  # of a frozen PKS4 backbone
MOST_FRAMES, MOST_CLIPS = 1024, 256  # the search ends there; the answer is then "at least"
CLASSES = 400
RULE = "step_memory/v1"


@dataclass(frozen=True)
class Question:
    """Which frames and clips of one contestant at paper scale fit in `memory`?"""

    contestant: Contestant
    target: str
    kernel: str
    memory: int  # bytes
    batch: int


@dataclass(frozen=True)
class Fit:
    """The frames and clips that fit; 0: not even the smallest step does."""

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
    """One question for each contestant of a suite, or for the labels in `only`.

    Raises UserError for an unknown label, target or kernel, and for a memory that is no size.
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


def table(results: Sequence[Fit]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows for people: the numbers that fit, and the memory of that step in GiB."""
    parts = list(dict.fromkeys(name for f in results for name in f.parts))
    columns = ("contestant", "frames", f"clips of {CLIP_FRAMES}", "peak, GiB", *parts)
    rows = [
        (
            f.title,
            count(f.frames, MOST_FRAMES),
            count(f.clips, MOST_CLIPS),
            f"{f.peak / 2**30:.2f}",
            *(f"{f.parts.get(name, 0) / 2**30:.2f}" for name in parts),
        )
        for f in results
    ]
    return columns, rows


def remarks(question: Question, results: Sequence[Fit]) -> list[str]:
    """The remarks below the table."""
    ran = sorted({f.kernel for f in results} | {f.scan_backend for f in results if f.scan_backend})
    return [
        f"Most frames at batch {question.batch}; parts are of that step. Training step of one clip "
        f"or more at paper scale, {CLASSES} classes, AdamW, simulated on {question.target} "
        f"({RULE}); {', '.join(ran)}.",
        f"{RESERVE:.0%} of the memory is kept free; what allocators and libraries take comes out of"
        " it. GB are GiB. 0: not even the smallest step fits; ≥: more was not tried.",
    ]


def answer(question: Question) -> Fit:
    """Search for both numbers; a simulated step takes half a second."""
    entry = catalogue.models()[question.contestant.model]
    limit = int(question.memory * (1 - RESERVE))
    step = entry.frames_step(question.contestant.options)
    # A frozen backbone runs in chunks, so its peak grows less after the first chunk.
    options = {**entry.defaults, **question.contestant.options}
    chunk = CHUNK_FRAMES if "frame_chunk" in options and options.get("frozen") else 1
    step_of = cache(partial(simulate, question))
    first = step_of(CLIP_FRAMES, question.batch).memory
    frames = largest(
        lambda t: step_of(t, question.batch).memory.peak,
        limit,
        MOST_FRAMES,
        step,
        known={CLIP_FRAMES: first.peak},
        guess=int(CLIP_FRAMES * growth_to(limit, first)),
        convex_from=chunk,
    )
    memory, kernel, scan = step_of(frames or step, question.batch)
    clips_so_far = (frames or step) * question.batch / CLIP_FRAMES
    return Fit(
        label=question.contestant.label,
        title=question.contestant.title or question.contestant.label,
        family=entry.facts.get("FAMILY", ""),
        frames=frames,
        clips=_most_clips(
            lambda b: step_of(CLIP_FRAMES, b).memory.peak,
            limit,
            {question.batch: first.peak},
            int(growth_to(limit, memory) * clips_so_far),
            -(-chunk // CLIP_FRAMES),
        ),
        peak=memory.peak,
        parts=memory.parts,
        kernel=kernel,
        scan_backend=scan,
    )


def _most_clips(
    peak: Callable[[int], int], limit: int, known: dict[int, int], guess: int, convex_from: int
) -> int:
    """The most clips of CLIP_FRAMES frames; `peak` is that of a step with so many clips."""
    if convex_from > 1:  # many chunks are slow to simulate: extrapolate from two small steps
        known |= {clips: peak(clips) for clips in (convex_from, 4 * convex_from)}
        guess = secant(known, limit, guess)
    return largest(peak, limit, MOST_CLIPS, known=known, guess=guess, convex_from=convex_from)


def simulate(question: Question, frames: int, batch: int) -> "Simulated":
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
    """All answers as they come, `jobs` at once, each from a child process."""
    children = Children()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            for done in as_completed([threads.submit(_ask, children, q) for q in questions]):
                yield done.result()
        except BaseException:
            children.stop()
            threads.shutdown(cancel_futures=True)
            raise
        finally:
            children.close()


def _ask(children: Children, question: Question) -> Fit:
    job = {**vars(question), "contestant": question.contestant.model_dump()}
    with children.start("pks4.bench.budget.fit", job) as child:
        events = list(child.events())
        if code := child.wait():
            raise ChildFailed(code, child.last_line)
    if "refused" in events[-1]:
        raise UserError(events[-1]["refused"])
    return Fit(**events[-1])


def main() -> None:
    """Answer the question on standard input."""
    job, send = receive()
    contestant = Contestant.model_validate(job.pop("contestant"))
    try:
        send(**vars(answer(Question(contestant, **job))))
    except UserError as error:
        send(refused=str(error))


if __name__ == "__main__":
    main()
