"""The attention kernel of a rival, declared by name: fused, or with materialised scores.

"sdpa" calls `F.scaled_dot_product_attention` through its module, so that the simulator can replace
it. "eager" is matmul, softmax, matmul, and keeps the scores for backward.
"""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from pks4.errors import unknown_name

ATTENTION = ("sdpa", "eager")


def attend(q: Tensor, k: Tensor, v: Tensor, attention: str) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of q (..., queries, d), k and v (..., keys, d)."""
    if attention == "sdpa":
        return F.scaled_dot_product_attention(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return torch.softmax(scores, -1) @ v


def declare_attention(net: nn.Module, attention: str) -> None:
    """Make every timm attention layer in `net` use this kernel.

    Other kinds of timm layers have the same switch: "eager" turns it off; "sdpa" leaves them as
    timm made them, since not every kind supports it.

    Raises ValueError for a name that is not in `ATTENTION`.
    """
    if attention not in ATTENTION:
        raise ValueError(unknown_name("attention", attention, ATTENTION))
    for layer in net.modules():
        if isinstance(layer, Attention):
            layer.fused_attn = attention == "sdpa"
        elif attention == "eager" and has_switch(layer):
            layer.fused_attn = False


def has_switch(layer: nn.Module) -> bool:
    """Whether this is a timm layer with a switch for fused attention."""
    return hasattr(layer, "fused_attn")
