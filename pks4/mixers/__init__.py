"""Mixers along time that can stand where PKS4's scanner stands, each by itself at every site.

base   sizes of a mixer, and the rule by which priors act on it
s6     the selective scan of Mamba: PKS4's own
ssd, rg_lru, gated_deltanet, gru     other recurrences with gates
convolution, attention, plain        mixers without gates
recurrence   the linear recurrence as an operator

`MIXERS` names them; `create_mixer` makes one.
"""

from importlib import import_module

from pks4.errors import unknown_name
from pks4.mixers.base import Mixer, Sizes

# name -> file and class
MIXERS = {
    "s6": ("s6", "S6"),
    "ssd": ("ssd", "SSD"),
    "rg_lru": ("rg_lru", "RGLRU"),
    "gated_deltanet": ("gated_deltanet", "GatedDeltaNet"),
    "gru": ("gru", "GRU"),
    "convolution": ("convolution", "Convolution"),
    "causal_attention": ("attention", "CausalAttention"),
    "attention": ("attention", "Attention"),
    "shift": ("plain", "Shift"),
    "identity": ("plain", "Identity"),
}


def mixer_class(name: str) -> type[Mixer]:
    """The class of a mixer. Raises ValueError for an unknown name."""
    if name not in MIXERS:
        raise ValueError(unknown_name("mixer", name, MIXERS))
    file, cls = MIXERS[name]
    return getattr(import_module(f"pks4.mixers.{file}"), cls)


def create_mixer(name: str, sizes: Sizes) -> Mixer:
    """A mixer of these sizes. Raises ValueError for an unknown name and sizes that do not fit."""
    return mixer_class(name)(sizes)
