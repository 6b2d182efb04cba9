"""How contestants look in every figure: colour and marker by family, line style within a family.

The colours follow Okabe and Ito, which stay apart for colour-blind readers (their pale purple is
darkened). Names are written in a darker tone of those that are too light for words on white: each
has a contrast of 4.5 or more. The marker repeats the family, so that colour is never the only
carrier. PKS4 is drawn heavier and on top, on the same scale and with the same error bars as
everyone else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pks4.bench.view.rows import Contestant
from pks4.bench.view.view import FAMILIES, PKS4_FAMILY

INK = "#222222"
MUTED = "#6b6b6b"
FAINT = "#e3e3e3"
_TONES = (
    "#D55E00", "#0072B2", "#009E73", "#AA4499", "#56B4E9", "#E69F00", "#8C564B",
    "#555555",
)  # fmt: skip
_COLOURS = dict(zip(FAMILIES, _TONES, strict=True))
_MARKERS = dict(zip(FAMILIES, "Dos^v*hX", strict=True))
_OTHER = ("#B8860B", "P")
_INKS = {  # colour -> of its words
    "#D55E00": "#B34F00", "#009E73": "#007F5F", "#B8860B": "#8A6508",
    "#56B4E9": "#1F719F", "#E69F00": "#8F6200",
}  # fmt: skip
_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (9, 3)),
    (0, (6, 1.6, 1.2, 1.6, 1.2, 1.6)), (0, (2.5, 1.4)), (0, (1.2, 3)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one contestant is drawn."""

    colour: str
    ink: str  # of its name
    marker: str
    dashes: Any
    width: float
    marker_size: float
    weight: str
    layer: int

    @property
    def line(self) -> dict[str, Any]:
        """matplotlib's arguments for its line."""
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": self.width,
                "zorder": self.layer}  # fmt: skip

    def dot(self, larger: float = 0.0, edge: float = 0.7) -> dict[str, Any]:
        """matplotlib's arguments for its marker, `larger` points more than usual."""
        return {"color": self.colour, "marker": self.marker, "markeredgecolor": "white",
                "markersize": self.marker_size + larger, "markeredgewidth": edge}  # fmt: skip


def colour(family: str) -> str:
    """The colour of a family; families that are not ours share one."""
    return _COLOURS.get(family, _OTHER[0])


def ink(family: str) -> str:
    """The colour of words in a family's colour, on white."""
    return _INKS.get(colour(family), colour(family))


def marker(family: str) -> str:
    """The matplotlib marker of a family."""
    return _MARKERS.get(family, _OTHER[1])


def looks(contestants: Mapping[str, Contestant]) -> dict[str, Look]:
    """label -> look; line styles are given out in the order of the plan, family by family."""
    counts: dict[str, int] = {}
    found = {}
    for label, contestant in contestants.items():
        family = contestant.family
        place = counts.get(family, 0)
        counts[family] = place + 1
        ours = family == PKS4_FAMILY
        found[label] = Look(
            colour=colour(family),
            ink=ink(family),
            marker=marker(family),
            dashes=_DASHES[place % len(_DASHES)],
            width=2.4 if ours else 1.5,
            marker_size=6.5 if ours else 5.5,
            weight="bold" if ours else "normal",
            layer=4 if ours else 3,
        )
    return found
