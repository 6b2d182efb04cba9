"""The attention kernel of a rival, declared by name: fused, or with the scores materialised.

"sdpa" goes through `F.scaled_dot_product_attention`, looked up at the call, so that an instrument
can replace it; "eager" is matmul, softmax, matmul, and keeps the scores for backward.
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
    """Let every timm attention layer in `net` run with this kernel.

    Layers of other kinds in timm carry the same switch: "eager" turns it off; "sdpa" leaves them as
    timm made them, since not every kind is ready for it.

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
    """Whether this is a layer of timm's whose attention may be fused or not."""
    return hasattr(layer, "fused_attn")
