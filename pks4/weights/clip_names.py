"""OpenAI's names of CLIP's image tower, for rivals that stand on it.

A rival that keeps a timm ViT in `trunk` (made by `build_vit(clip=True)`) renames it by
`CLIP_NAMES`; timm's model is then equal to the original to the bit.
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
CLIP_WITHOUT_ONES = ("class_embedding", "positional_embedding")

# Beginnings of what a whole CLIP holds beside its image tower, `visual.`, and beside the blocks and
# positions of its text tower, which are named as those of an image tower.
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
    """What stands under `visual.` in OpenAI's names, under those of a timm ViT in `trunk`.

    The projection to text's space is left out.
    """
    names = [(theirs, ours) for ours, theirs in reversed(CLIP_NAMES)]
    tower = {k.removeprefix("visual."): x for k, x in state.items() if k.startswith("visual.")}
    tower.pop("proj", None)
    return {reduce(lambda name, pair: name.replace(*pair), names, k): x for k, x in tower.items()}
