"""OpenAI's names of CLIP's image tower, for rivals that stand on it.

A rival that keeps a timm ViT in `trunk` (made by `build_vit(clip=True)`) renames it by
`CLIP_NAMES`; timm's model is then equal to the original to the bit.
"""

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
