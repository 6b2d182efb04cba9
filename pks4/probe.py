"""What an image model does to one image, seen on meta tensors: shapes and MACs, layer by layer."""

import copy

import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from pks4.cost import attention_macs
from pks4.stages import run, stages_of

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, Attention)


def probe(net: nn.Module, cut: int, image_size: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
    """Of one image: what comes after `cut` stages, what comes at the top, and the MACs of it all.

    The tensors are on meta. MACs are the sum over convolutions, linear layers and timm's attention
    at the shapes they see, which is the model's closed form layer by layer (rule macs/v1). Another
    kind of attention is not seen: such a model is counted short, and the measure `macs`, which
    compares, says so.
    """
    net, macs = _on_meta(net), []

    def note(layer: nn.Module, _: tuple, out: Tensor) -> None:
        macs.append(_layer_macs(layer, out))

    for layer in net.modules():
        if isinstance(layer, COUNTED):
            layer.register_forward_hook(note)
    stages = stages_of(net)
    with torch.no_grad():
        at_place = run(stages[:cut], torch.empty((1, 3, *image_size), device="meta"))
        at_top = run(stages[cut:], at_place)
    return at_place, at_top, sum(macs)


def _on_meta(net: nn.Module) -> nn.Module:
    """A copy of a model in eval mode whose tensors have shapes and no storage."""
    tensors = [*net.parameters(), *net.buffers()]
    return copy.deepcopy(net, {id(x): x.detach().to("meta") for x in tensors}).eval()


def _layer_macs(layer: nn.Module, out: Tensor) -> int:
    """MACs of a layer that gave `out`; of attention those that its linear layers leave."""
    if isinstance(layer, Attention):
        n, tokens, _ = out.shape
        return attention_macs(n, tokens, tokens, layer.num_heads * layer.head_dim)
    return out.numel() * layer.weight[0].numel()
