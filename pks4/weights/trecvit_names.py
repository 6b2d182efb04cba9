"""TRecViT's names and layouts in its authors' flax code, for `Official`.

Their kernels are (in, out), with heads apart in attention; images and patch kernels have channels
last; query, key and value are three layers; a name's parts are joined by `/`.
"""

import re

import torch
from torch import Tensor

from pks4.weights.official import Official

ATTENTION = "MultiHeadDotProductAttention_0"
JOINED = ("query", "key", "value")  # in the order of timm's qkv
GATE = "encoder/residualblock_00/recurrent_block/rg_lru/input_gate/w"  # (heads, width, width)
RENAMES = (
    ("trunk.patch_embed.proj", "tokenizer/embedding"),
    ("trunk.pos_embed", "tokenizer/pos_embedding"),
    ("trunk.cls_token", "tokenizer/cls"),
    ("trunk.norm.weight", "encoder/encoder_norm/scale"),
    ("trunk.norm", "encoder/encoder_norm"),
    ("trunk.blocks.", "encoder/encoderblock_"),
    (".norm1.weight", "/LayerNorm_0/scale"),
    (".norm1", "/LayerNorm_0"),
    (".norm2.weight", "/LayerNorm_1/scale"),
    (".norm2", "/LayerNorm_1"),
    (".attn.qkv", f"/{ATTENTION}/qkv"),
    (".attn.proj", f"/{ATTENTION}/out"),
    (".mlp.fc1", "/MlpBlock_0/Dense_0"),
    (".mlp.fc2", "/MlpBlock_0/Dense_1"),
    ("recurrent.", "encoder/residualblock_"),
    (".scale", "/temporal_pre_norm/scale"),
    (".linear_", "/recurrent_block/linear_"),
    (".conv_1d.weight", "/recurrent_block/conv_1d/w"),
    (".conv_1d.bias", "/recurrent_block/conv_1d/b"),
    (".rg_lru", "/recurrent_block/rg_lru"),
    ("pre_logits", "decoder/pre_logits"),
    ("cls_head", "decoder/cls_head"),
    (".weight", "/kernel"),
    (".", "/"),
)


def _export(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under `RENAMES` as theirs."""
    heads, theirs = state[GATE.replace("_00/", "_0/")].shape[0], {}
    for name, x in state.items():
        name = re.sub(r"residualblock_(\d)/", r"residualblock_0\1/", name)
        if f"{ATTENTION}/qkv" in name:
            for part, rows in zip(JOINED, x.chunk(3), strict=True):
                apart = rows.t().unflatten(-1, (heads, -1))
                theirs[name.replace("/qkv/", f"/{part}/")] = apart
        else:
            theirs[name] = _theirs(name, x, heads)
    return theirs


def _theirs(name: str, x: Tensor, heads: int) -> Tensor:
    if name == "tokenizer/embedding/kernel":
        return x.permute(2, 3, 1, 0)[None]
    if name == "tokenizer/cls":
        return x[None]
    if name.endswith("conv_1d/w"):
        return x[:, 0].T
    if name.endswith("out/kernel") and ATTENTION in name:
        return x.T.unflatten(0, (heads, -1))
    return x.T if name.endswith("kernel") else x


def _restore(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_export`."""
    state = {}
    for name, x in theirs.items():
        ours = re.sub(r"residualblock_0(\d)/", r"residualblock_\1/", name)
        if f"{ATTENTION}/query/" in name:
            parts = [theirs[name.replace("/query/", f"/{part}/")] for part in JOINED]
            rows = torch.cat([part.flatten(-2).t() for part in parts])
            state[ours.replace("/query/", "/qkv/")] = rows
        elif not any(f"{ATTENTION}/{part}/" in name for part in JOINED):
            state[ours] = _ours(name, x)
    return state


def _ours(name: str, x: Tensor) -> Tensor:
    if name == "tokenizer/embedding/kernel":
        return x[0].permute(3, 2, 0, 1)
    if name == "tokenizer/cls":
        return x[0]
    if name.endswith("conv_1d/w"):
        return x.T[:, None]
    if name.endswith("out/kernel") and ATTENTION in name:
        return x.flatten(0, 1).T
    return x.T if name.endswith("kernel") else x


TRECVIT = Official(renames=RENAMES, export=_export, restore=_restore)
