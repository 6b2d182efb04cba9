"""FSDP2: all ranks share parameters, gradients and optimiser state in shards.

This uses PyTorch's `fully_shard`: accelerate's plugin silently trains with DDP on gloo. The model
stays whole on the CPU of every rank. Its sharded copy trains, and after each epoch its weights go
back to the model. So a model is validated, scored and saved as in any training, and a checkpoint
holds no shards.

Ranks synchronise in every pass of every unit, and a model may run other operators for another
number of clips. So all ranks pass equally many clips: a rank with fewer repeats its last clip, a
rank without any takes a clip of another rank, and their outputs are dropped.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_leaves, tree_map

from pks4.train.optimizer import block_of, optimiser_of
from pks4.train.recipe import Recipe

SMALLEST = 0.005  # least share of a model's parameters for a module to be a unit


class Sharded:
    """The sharded copy of a model, which trains, and its sharded optimiser.

    It starts from the state of `model` and `optimiser`, which are whole and on the CPU; `collect`
    copies the trained state back to them. `units` are names of modules, from the function `units`.
    Every rank makes one and calls its methods at the same time.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        recipe: Recipe,
        units: list[str],
        device: torch.device,
    ) -> None:
        self.model, self.whole_optimiser, self.device = model, optimiser, device
        self.net = _without_scalars(copy.deepcopy(model))
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        for name in units:
            fully_shard(self.net.get_submodule(name), mesh=mesh)
        fully_shard(self.net, mesh=mesh)
        self.optimiser = optimiser_of(self.net, recipe)
        self._spread()

    def collect(self) -> None:
        """Copy the trained state to the whole model, and to the first rank's whole optimiser."""
        as_on_first(self.net.buffers())
        shapes = {name: x.shape for name, x in self.model.state_dict().items()}
        parts = self.net.state_dict().items()
        self.model.load_state_dict({name: _full(x).view(shapes[name]) for name, x in parts})
        weights = _weights(self.whole_optimiser)
        state = _each(self.optimiser, lambda number, x: _full(x).view(weights[number].shape))
        if dist.get_rank() == 0:
            self.whole_optimiser.load_state_dict(state)

    def _spread(self) -> None:
        """Shard the state of the whole optimiser over the ranks."""
        weights = _weights(self.optimiser)

        def shard(number: int, x: Tensor) -> Tensor:
            weight = weights[number]
            whole = x.view(weight.shape).to(self.device)
            placement = weight.device_mesh, weight.placements
            return distribute_tensor(whole, *placement, src_data_rank=None)

        self.optimiser.load_state_dict(_each(self.whole_optimiser, shard))
        self.whole_optimiser.state.clear()

    def equal_passes(self, clips: list[Tensor | None]) -> "list[EqualPasses]":
        """The model for each part of a step, of which this rank has `clips`."""
        local_counts = torch.tensor([0 if video is None else len(video) for video in clips])
        all_counts = [
            torch.empty_like(local_counts, device=self.device) for _ in range(dist.get_world_size())
        ]
        dist.all_gather(all_counts, local_counts.to(self.device))
        by_rank, passes = torch.stack(all_counts).cpu(), []  # (ranks, parts)
        for part, video in enumerate(clips):
            most, holder = (int(x) for x in by_rank[:, part].max(0))
            padding_clip = [None if video is None else video[:1]]
            if most and not by_rank[:, part].all():
                dist.broadcast_object_list(padding_clip, src=holder)
            passes.append(EqualPasses(self.net, most, padding_clip[0]))
        return passes


class EqualPasses:
    """The model, which pads a rank's clips to the most that any rank has, and drops their outputs.

    `padding_clip` is a clip (1, t, 3, h, w) of any rank that has one, None if none has.
    """

    def __init__(self, net: nn.Module, most: int, padding_clip: Tensor | None) -> None:
        self.net, self.most, self.padding_clip = net, most, padding_clip

    def __call__(self, video: Tensor, counted: int | None = None) -> Any:
        """Outputs of the first `counted`, by default all, clips (b, t, 3, h, w), b up to `most`."""
        counted = len(video) if counted is None else counted
        missing = self.most - len(video)
        if missing:
            video = torch.cat([video, video[-1:].expand(missing, *video.shape[1:])])
        outputs = self.net(video)
        return tree_map(lambda y: y[:counted], outputs) if counted < self.most else outputs

    def zero_loss(self, video: Tensor) -> Tensor:
        """A loss of 0 from a pass over clips of another rank."""
        return torch.stack([y.float().sum() for y in tree_leaves(self(video, counted=0))]).sum()


def units(model: nn.Module, clip: Tensor) -> list[str]:
    """Names of the modules whose parameters are gathered separately; the rest is one unit.

    They are the model's blocks, `pks4.train.optimizer.block_of`. If the model calls the layers of a
    block itself, as adapters do, those layers are the units. A pass of clip (1, t, 3, h, w) shows
    which.
    """
    called_whole = _called_whole(model, clip)
    least = SMALLEST * _size(model)
    blocks = dict.fromkeys(block_of(name) for name, _ in model.named_parameters())
    names: list[str] = []
    for block in filter(None, blocks):
        names += _units_in(block, model.get_submodule(block), called_whole, least)
    return names


def as_on_first(tensors: Iterable[Tensor]) -> None:
    """Copy the first rank's values into these tensors on all ranks."""
    with torch.no_grad():
        for x in tensors:
            sent = x.detach().contiguous()
            dist.broadcast(sent, 0)
            x.copy_(sent)


def _units_in(name: str, module: nn.Module, called_whole: set[str], least: float) -> list[str]:
    if _size(module) < least:
        return []
    if name in called_whole:
        return [name]
    children = [(f"{name}.{key}", child) for key, child in module.named_children()]
    return [unit for child in children for unit in _units_in(*child, called_whole, least)]


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@torch.no_grad()
def _called_whole(model: nn.Module, clip: Tensor) -> set[str]:
    """Names of called modules whose submodules run only inside those calls."""
    called, entered, running = set(), set(), []

    def begin(name: str) -> None:
        called.add(name)
        entered.update({name[:i] for i, c in enumerate(name) if c == "."} - {*running})
        running.append(name)

    def end(*_: Any) -> None:
        running.pop()

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: begin(name)))
        hooks.append(module.register_forward_hook(end))
    training = model.training
    model.eval()  # no update of batch norm statistics, no random numbers for dropout
    try:
        model(clip)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return called - entered


def _without_scalars(model: nn.Module) -> nn.Module:
    """The model with vectors of length 1 for scalars, which FSDP2 does not accept."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if not weight.ndim:
                vector = nn.Parameter(weight.detach()[None], requires_grad=weight.requires_grad)
                setattr(module, name, vector)
    return model


def _full(x: Tensor) -> Tensor:
    """The whole tensor on the CPU; every rank must call this."""
    return (x.full_tensor() if isinstance(x, DTensor) else x).cpu()


def _weights(optimiser: torch.optim.Optimizer) -> list[Any]:
    """The weights of an optimiser, in the order of its state dict."""
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _each(
    optimiser: torch.optim.Optimizer, change: Callable[[int, Tensor], Tensor]
) -> dict[str, Any]:
    """The state dict with `change` applied to each weight's tensors, but not to step counts."""
    state = optimiser.state_dict()
    changed = {
        number: {
            key: change(number, x) if isinstance(x, Tensor) and key != "step" else x
            for key, x in tensors.items()
        }
        for number, tensors in state["state"].items()
    }
    return {**state, "state": changed}
