"""What the instruments answer with: frozen records with a text, a dictionary and a table.

Bytes are B, MACs are multiply-adds, both of the inputs as they were given.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from pks4.bench.units import in_full, percent, quantity

SHOWN = 8  # parts of a number that a text lists; the dictionary has all
Lines = list[tuple[str, str]]


class Result:
    """The common face: `str` for people, `to_dict` for programs, a table in a notebook."""

    def lines(self) -> Lines:
        """Names and values for people; a name that begins with two spaces is a part of the last."""
        raise AssertionError(f"{type(self).__name__} has no lines")

    def to_dict(self) -> dict[str, Any]:
        """Every field in base units, as JSON takes them."""
        return asdict(self)  # type: ignore[call-overload]

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="text-align:left;white-space:pre">{escape(name)}</td>'
            f"<td>{escape(value)}</td></tr>"
            for name, value in self.lines()
        )
        return f"<table>{rows}</table>"


def parts(numbers: Mapping[str, int], unit: str) -> Lines:
    """The largest parts of a number, each with its share, and the rest as one."""
    whole = sum(numbers.values()) or 1
    ordered = sorted(((k, v) for k, v in numbers.items() if v), key=lambda part: -part[1])
    if len(ordered) > SHOWN:
        rest = ordered[SHOWN - 1 :]
        ordered[SHOWN - 1 :] = [(f"{len(rest)} others", sum(v for _, v in rest))]
    return [(f"  {k}", f"{quantity(v, unit)}  {percent(v / whole)}") for k, v in ordered]


@dataclass(frozen=True, repr=False)
class Macs(Result):
    """MACs of a forward and of a training step, forward and backward, and parts of the forward."""

    model: str
    forward: int
    train: int | None  # None: nothing of the model is trained
    by_stage: dict[str, int]  # top-level children, or the stages that a contestant's file names
    by_module: dict[str, int]  # class of the innermost module -> MACs
    rule: str
    kernel: str  # of fused attention
    scan_backend: str | None

    def lines(self) -> Lines:
        """See Result."""
        train = "–" if self.train is None else in_full(self.train, "MAC")  # noqa: RUF001
        return [
            ("MACs, forward", in_full(self.forward, "MAC")),
            *parts(self.by_stage, "MAC"),
            ("MACs, by module", ""),
            *parts(self.by_module, "MAC"),
            ("MACs, training step", train),
            ("rule", f"{self.rule}; {ran(self)}"),
        ]


@dataclass(frozen=True, repr=False)
class Step(Result):
    """Memory of a training step with AdamW, simulated: its peak, and what is kept for backward."""

    model: str
    peak: int
    kept: int
    parts: dict[str, int]  # of the peak: weights, optimizer, inputs, activations, gradients, ...
    by_module: dict[str, int]  # of what is kept, by class of the innermost module
    by_stage: dict[str, int]
    phase: str  # of the peak
    after_forward: int
    weight_copies: int  # of what is kept: weights that autocast lowers
    target: str
    batch: int
    kernel: str
    scan_backend: str | None
    rule: str

    def lines(self) -> Lines:
        """See Result."""
        return [
            ("peak of a step", f"{in_full(self.peak, 'B')}, in the {self.phase}"),
            *parts(self.parts, "B"),
            ("kept for backward", in_full(self.kept, "B")),
            *parts(self.by_stage, "B"),
            ("kept, by module", ""),
            *parts(self.by_module, "B"),
            ("simulated", f"{self.target}, batch {self.batch}; {self.rule}; {ran(self)}"),
        ]


@dataclass(frozen=True, repr=False)
class Fits(Result):
    """The most clips, and the most frames, whose training step fits in a memory.

    0: not even the smallest step does. `peak` and `parts` are of the step with the most frames, or
    of that with the most clips where frames were not searched.
    """

    model: str
    memory: int
    frames: int | None  # the most, at `clips_given` clips; None: the model was given, not a build
    batch: int  # the most, of the frames that were given
    frames_given: int | None
    clips_given: int
    most_frames: int  # where the search ended: "at least"
    most_batch: int
    peak: int
    parts: dict[str, int]
    target: str
    kernel: str
    scan_backend: str | None
    rule: str

    def lines(self) -> Lines:
        """See Result."""
        from pks4.simulate.what_fits import RESERVE, count

        of = "" if self.frames_given is None else f" of {self.frames_given} frames"
        frames = [] if self.frames is None else [
            (f"frames, batch {self.clips_given}", count(self.frames, self.most_frames))
        ]  # fmt: skip
        return [
            ("memory", f"{quantity(self.memory, 'B')}, {RESERVE:.0%} kept free"),
            *frames,
            (f"clips{of}", count(self.batch, self.most_batch)),
            ("peak of that step" if self.batch else "peak of the least", in_full(self.peak, "B")),
            *parts(self.parts, "B"),
            ("simulated", f"{self.target}; {self.rule}; {ran(self)}"),
        ]


@dataclass(frozen=True, repr=False)
class Cost(Result):
    """What a model costs: parameters, MACs, memory of a step, and what fits where."""

    model: str
    inputs: str
    params_total: int
    params_trainable: int
    macs: Macs
    step: Step
    fits: dict[str, int]  # memory as people write it -> the most clips of a step
    most_batch: int

    def lines(self) -> Lines:
        """See Result."""
        from pks4.simulate.what_fits import count

        return [
            ("model", self.model),
            ("inputs", self.inputs),
            ("parameters", f"{self.params_total:,}, of which trained {self.params_trainable:,}"),
            *self.macs.lines(),
            *self.step.lines(),
            ("clips of a step that fit", ""),
            *((f"  in {memory}", count(n, self.most_batch)) for memory, n in self.fits.items()),
        ]


def ran(result: Macs | Step | Fits) -> str:
    """The code paths that ran, in words."""
    return ", ".join(filter(None, [result.kernel, result.scan_backend]))
