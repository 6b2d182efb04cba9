"""OpenAI's names of CLIP's image tower, for rivals built on it.

A rival with a timm ViT in `trunk` (made by `build_vit(clip=True)`) renames it by `CLIP_NAMES`;
timm's model then equals the original bit for bit.
"""

from functools import reduce

from torch import Tensor

CLIP_NAMES = (
    ("trunk.cls_token", "class_embedding"),
    ("trunk.pos_embed", "positional_embedding"),
    ("trunk.patch_embed.proj.", "conv1."),
    ("trunk.norm_pre.", "ln_pre."),
    ("trunk.norm.", "ln_post."),
    ("trunk.blocks.", "transformer.resblocks."),
    (".norm1.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
CLIP_SQUEEZED = ("class_embedding", "positional_embedding")

# Prefixes of further weights of a whole CLIP: neither its image tower, `visual.`, nor the blocks
# and positions of its text tower, which have the same names as those of an image tower.
CLIP_TEXT = (
    "text_projection",
    "logit_scale",
    "token_embedding.",
    "ln_final.",
    "input_resolution",
    "context_length",
    "vocab_size",
)


def image_tower(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights `visual.*` in OpenAI's names, renamed to a timm ViT in `trunk`.

    Leaves out the projection to the text space.
    """
    names = [(theirs, ours) for ours, theirs in reversed(CLIP_NAMES)]
    tower = {k.removeprefix("visual."): x for k, x in state.items() if k.startswith("visual.")}
    tower.pop("proj", None)
    return {reduce(lambda name, pair: name.replace(*pair), names, k): x for k, x in tower.items()}
