"""Mixers along time that can stand where PKS4's scanner stands, separately at every site.

base   sizes of a mixer, and the rule by which priors act on it
s6     the selective scan of Mamba: PKS4's own
ssd, rg_lru, gated_deltanet, gru     other recurrences with gates
convolution, attention, plain        mixers without gates
recurrence   the linear recurrence as an operator

`MIXERS` names them; `create_mixer` makes one.
"""

from pks4.errors import unknown_name
from pks4.mixers.attention import Attention, CausalAttention
from pks4.mixers.base import Mixer, Sizes
from pks4.mixers.convolution import Convolution
from pks4.mixers.gated_deltanet import GatedDeltaNet
from pks4.mixers.gru import GRU
from pks4.mixers.plain import Identity, Shift
from pks4.mixers.rg_lru import RGLRU
from pks4.mixers.s6 import S6
from pks4.mixers.ssd import SSD

MIXERS: dict[str, type[Mixer]] = {
    "s6": S6,
    "ssd": SSD,
    "rg_lru": RGLRU,
    "gated_deltanet": GatedDeltaNet,
    "gru": GRU,
    "convolution": Convolution,
    "causal_attention": CausalAttention,
    "attention": Attention,
    "shift": Shift,
    "identity": Identity,
}


def mixer_class(name: str) -> type[Mixer]:
    """The class of a mixer. Raises ValueError for an unknown name."""
    if name not in MIXERS:
        raise ValueError(unknown_name("mixer", name, MIXERS))
    return MIXERS[name]


def create_mixer(name: str, sizes: Sizes) -> Mixer:
    """A mixer of these sizes. Raises ValueError for an unknown name and sizes that do not fit."""
    return mixer_class(name)(sizes)
