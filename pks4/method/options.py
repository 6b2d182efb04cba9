"""Every choice of PKS4 that the abstract of arXiv 2604.26461 leaves open, and our default.

A comment names the source of each default. The options are one frozen dataclass, checked as a whole
before any layer is built. n is the state size of the SSM, d the channels of the features.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from pks4.checks import at_least_one, one_of
from pks4.errors import unknown_name
from pks4.mixers import Sizes, mixer_class
from pks4.scan import BACKENDS

Direction = Literal["causal", "bidirectional", "halves"]
Modulation = Literal["additive", "multiplicative"]
ReadOut = Literal["soft_argmax", "squeeze"]
ReferenceFrame = Literal["previous", "next"]
DRIVEN = ("delta", "B", "C")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices of the PKS4 module. Raises ValueError for a value that is out of range."""

    # The mixers along time
    mixer: str = "s6"  # PKS4's own; see `pks4.mixers` for the others
    state: int = 16  # n, as in Mamba (arXiv 2312.00752)
    expand: float = 0.5  # width of the scanned stream / d; small, since the backbone mixes space
    rank: int | None = None  # of delta's projection; None: ceil(d / 16), as in Mamba
    mixer_heads: int = 4  # of a mixer that has heads
    kernel: int = 4  # frames that a convolution reads, as Mamba's
    # causal: one scanner, forward in time, which can stream; bidirectional: the sum of a forward
    # and a backward scanner (Vision Mamba, VideoMamba); halves: each scans half of the channels
    direction: Direction = "causal"
    # How priors drive them: the abstract names all three; the form is our choice, by trial
    modulation: Modulation = "additive"  # of B and C; delta's is additive, before softplus
    modulate: tuple[str, ...] = DRIVEN  # another mixer has other gates, and all of them are driven
    # The Kinematic Prior Encoder
    correlation: bool = True  # displacements
    difference: bool = True  # motion boundaries
    prior_channels: int = 32  # ours: the width of all cues together, at 768 channels
    correlation_channels: int = 64  # MotionSqueeze (arXiv 2007.09933)
    radius: int = 3  # 7 x 7 window; CorrNet, PWC-Net and RAFT use 3-4
    dilation: int = 1  # ours: all sites of the window
    readout: ReadOut = "soft_argmax"  # as MotionSqueeze; squeeze: as SELFY (arXiv 2102.07092)
    smooth: bool = True  # depthwise 3 x 3 on the difference; TEA and TDN: on the other frame
    reference_frame: ReferenceFrame = "previous"  # ours: causal; next: as TEA, MotionSqueeze
    # How it runs; neither option changes the result
    scan_backend: str = "auto"  # see pks4.scan
    checkpoint: bool = False  # recompute the module in backward: less memory, more time

    def __post_init__(self) -> None:
        one_of("direction", self.direction, get_args(Direction))
        one_of("modulation", self.modulation, get_args(Modulation))
        one_of("readout", self.readout, get_args(ReadOut))
        one_of("reference_frame", self.reference_frame, get_args(ReferenceFrame))
        for name in ("correlation", "difference", "smooth", "checkpoint"):
            one_of(name, getattr(self, name), (True, False))
        if isinstance(self.modulate, str) or set(self.modulate) - set(DRIVEN):
            raise ValueError(f"modulate must be a tuple out of {DRIVEN}, got {self.modulate!r}")
        mixer_class(self.mixer)  # raises for an unknown name
        if self.mixer != "s6" and self.modulate not in ((), DRIVEN):
            raise ValueError(
                f"modulate chooses among the gates of mixer 's6'; with {self.mixer!r} leave it "
                f"out, or give none for no priors, got {self.modulate!r}"
            )
        if self.mixer not in ("s6", "ssd") and self.modulation != "additive":
            raise ValueError(
                f"modulation={self.modulation!r} is of B and C, which mixer {self.mixer!r} lacks"
            )
        whole = ("state", "mixer_heads", "kernel", "prior_channels", "correlation_channels")
        at_least_one(**{name: getattr(self, name) for name in (*whole, "radius", "dilation")})
        at_least_one(rank=1 if self.rank is None else self.rank)
        if not (isinstance(self.expand, int | float) and 0 < self.expand < float("inf")):
            raise ValueError(f"expand must be more than 0, got {self.expand!r}")
        if self.scan_backend not in ("auto", *BACKENDS):
            names = ("auto", *BACKENDS)
            raise ValueError(unknown_name("scan backend", self.scan_backend, names))

    @property
    def has_priors(self) -> bool:
        """Whether any prior is computed and used."""
        return bool(self.modulate) and (self.correlation or self.difference)

    @property
    def looks_forward(self) -> str:
        """The option that makes a frame's result depend on later frames; empty if none does."""
        if self.direction != "causal":
            return f"direction={self.direction!r}"
        if self.has_priors and self.reference_frame == "next":
            return "reference_frame='next'"
        return "" if mixer_class(self.mixer).causal else f"mixer={self.mixer!r}"

    def sizes(self, d: int, dim: int, *, reverse: bool = False) -> Sizes:
        """Sizes of a mixer of d channels, in a module on features of dim channels."""
        return Sizes(
            d=d,
            state=self.state,
            rank=self.rank or -(-dim // 16),
            heads=self.mixer_heads,
            kernel=self.kernel,
            reverse=reverse,
            scan_backend=self.scan_backend,
            prior_channels=self.prior_channels if self.has_priors else 0,
            modulate=self.modulate if self.mixer == "s6" else None,
            multiplicative=("B", "C") if self.modulation == "multiplicative" else (),
        )


def options_from(named: Mapping[str, Any], also: Iterable[str] = ()) -> Options:
    """Options from a mapping; a list, as TOML writes it, becomes a tuple.

    Raises ValueError for an unknown name; the message suggests near names of options and of `also`.
    """
    names = {field.name for field in fields(Options)}
    for name in named:
        if name not in names:
            raise ValueError(unknown_name("option", name, names | set(also)))
    return Options(**{k: tuple(v) if isinstance(v, list) else v for k, v in named.items()})
