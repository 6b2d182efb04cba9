"""Video classifiers of transformers as contestants: sizes, the wrapper, loading of image weights.

They are second opinions: independent code for architectures that this project also has. Building
one imports transformers and uses only a config; nothing is fetched. To use its checkpoints, load
them by `from_pretrained` and pass that model's state dict to `load_official`: the official names
here are those of the installed transformers.

b clips, t frames, n patches of a frame, d channels; a step is a frame, or a tubelet of frames.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from pks4.checks import check_sizes
from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import ATTENTION
from pks4.models.backbone import build_vit, check_video
from pks4.weights.files import IMAGE_PREFIX, load_part, require_fit, under
from pks4.weights.official import Official

Names = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes that all of them have. Raises ValueError for sizes that transformers would round."""

    frames: int
    num_classes: int
    width: int
    depth: int
    heads: int
    patch_size: int
    image_size: int
    tubelet: int = 1  # frames that one token spans

    def __post_init__(self) -> None:
        check_sizes(**asdict(self))

    @property
    def steps(self) -> int:
        """Tokens along time."""
        return self.frames // self.tubelet

    @property
    def patches(self) -> int:
        """Tokens of one step, n."""
        return (self.image_size // self.patch_size) ** 2

    def config(self) -> dict[str, int]:
        """Arguments that every config of transformers has."""
        return {
            "num_labels": self.num_classes,
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
        }

    def embed_macs(self, batch: int) -> int:
        """MACs of the patch embedding, a convolution without overlap."""
        taps = 3 * self.tubelet * self.patch_size**2
        return linear_macs(batch * self.steps * self.patches, taps, self.width)

    def joint_macs(self, batch: int, prefix: int) -> tuple[int, int]:
        """MACs of ViT blocks over all tokens of a clip and `prefix` more, in two parts.

        The second part is the extra cost over attention within each step alone.
        """
        n, d, tokens = self.patches, self.width, prefix + self.steps * self.patches
        linears = linear_macs(batch * tokens, d, 12 * d)
        apart = attention_macs(batch * self.steps, prefix + n, prefix + n, d)
        together = attention_macs(batch, tokens, tokens, d)
        return self.depth * (linears + apart), self.depth * (together - apart)

    def head_macs(self, batch: int) -> int:
        """MACs of the linear classifier."""
        return linear_macs(batch, self.width, self.num_classes)

    def image_vit(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ViT of these sizes from the state dict of an image twin, by timm's names.

        Raises ValueError with what is missing, unknown or of another shape.
        """
        with torch.device("meta"):
            vit = build_vit(
                width=self.width,
                depth=self.depth,
                heads=self.heads,
                patch_size=self.patch_size,
                image_size=self.image_size,
            )
        given = under(state, IMAGE_PREFIX)
        require_fit(vit.state_dict(), given, "image weights do not fit")
        return given


class Wrapped(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes) by a classifier of transformers, `net`.

    t must be as built: transformers accepts some other lengths but mixes up their tokens.
    """

    official = Official(renames=(("net.", ""),))

    def __init__(self, net: nn.Module, sizes: Sizes) -> None:
        super().__init__()
        self.net, self.sizes = net, sizes

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        check_video(video, self.sizes.image_size, self.sizes.frames)
        return self.logits(video)

    def logits(self, video: Tensor) -> Tensor:
        """The logits of transformers' model for clips of the right shape."""
        return self.net(video).logits

    def load_part(self, weights: Mapping[str, Tensor], keep: tuple[str, ...]) -> None:
        """Load weights by transformers' names; weights with a name part in `keep` stay.

        Raises ValueError that lists what is missing, unknown or of another shape in this
        transformers; then nothing is loaded.
        """
        load_part(self.net, weights, prefix="", keep=keep)


def known_attention(attention: str) -> str:
    """The kernel's name, the same in transformers. Raises ValueError for an unknown one."""
    if attention not in ATTENTION:
        raise ValueError(unknown_name("attention", attention, ATTENTION))
    return attention


def renamed(weights: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The weights with every (old, new) replaced, in this order, in every name."""
    out = {}
    for name, x in weights.items():
        for old, new in names:
            name = name.replace(old, new)
        out[name] = x
    return out


def split_qkv(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with every `.qkv.` split into `.q.`, `.k.` and `.v.`; the rest unchanged."""
    out = {}
    for name, x in weights.items():
        if ".qkv." in name:
            out |= {
                name.replace(".qkv.", f".{p}."): x for p, x in zip("qkv", x.chunk(3), strict=True)
            }
        else:
            out[name] = x
    return out
