"""A training whose parameters, gradients and optimiser state lie in shards over all ranks: FSDP2.

PyTorch's `fully_shard`, not accelerate's plugin, which on gloo trains with DDP and says nothing.
The model itself stays whole, at rest on the CPU of every rank; what is trained is a copy in shards,
whose weights go back to the model after each epoch. So the model is validated, scored and saved as
that of any training, and a checkpoint knows nothing of shards.

Ranks meet in every pass of every unit, and what a model does in a pass may depend on how many clips
it sees. So all ranks pass equally many: who has fewer repeats its last one, who has none takes one
of another rank, and what the model says of these counts for nothing.
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

SMALLEST = 0.005  # share of a model's parameters below which a module is no unit of its own


class Sharded:
    """The copy of a model that is trained, and its optimiser, both in shards.

    It starts at what `model` and `optimiser` hold, whole and on the CPU; `collect` brings them up
    to where the training stands. `units` are names of modules, as the function of that name gives
    them. Every rank makes one, and calls its methods, at the same time.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        recipe: Recipe,
        units: list[str],
        device: torch.device,
    ) -> None:
        self.model, self.kept, self.device = model, optimiser, device
        self.net = _without_scalars(copy.deepcopy(model))
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        for name in units:
            fully_shard(self.net.get_submodule(name), mesh=mesh)
        fully_shard(self.net, mesh=mesh)
        self.optimiser = optimiser_of(self.net, recipe)
        self._spread()

    def collect(self) -> None:
        """Give what was trained to the whole model, and to the first rank's whole optimiser."""
        as_on_first(self.net.buffers())
        shapes = {name: x.shape for name, x in self.model.state_dict().items()}
        parts = self.net.state_dict().items()
        self.model.load_state_dict({name: _full(x).view(shapes[name]) for name, x in parts})
        weights = _weights(self.kept)
        state = _each(self.optimiser, lambda number, x: _full(x).view(weights[number].shape))
        if dist.get_rank() == 0:
            self.kept.load_state_dict(state)

    def _spread(self) -> None:
        """Take the state of the whole optimiser, a shard each."""
        weights = _weights(self.optimiser)

        def shard(number: int, x: Tensor) -> Tensor:
            weight = weights[number]
            whole = x.view(weight.shape).to(self.device)
            where = weight.device_mesh, weight.placements
            return distribute_tensor(whole, *where, src_data_rank=None)

        self.optimiser.load_state_dict(_each(self.kept, shard))
        self.kept.state.clear()

    def level(self, clips: list[Tensor | None]) -> "list[Level]":
        """How to pass each part of a step, of which `clips` are this rank's."""
        own = torch.tensor([0 if video is None else len(video) for video in clips])
        every = [torch.empty_like(own, device=self.device) for _ in range(dist.get_world_size())]
        dist.all_gather(every, own.to(self.device))
        counts, levels = torch.stack(every).cpu(), []  # (ranks, parts)
        for turn, video in enumerate(clips):
            most, holder = (int(x) for x in counts[:, turn].max(0))
            spare = [None if video is None else video[:1]]
            if most and not counts[:, turn].all():
                dist.broadcast_object_list(spare, src=holder)
            levels.append(Level(self.net, most, spare[0]))
        return levels


class Level:
    """The model on as many clips as the rank that has most; outputs are those of its own.

    `spare` is a clip (1, t, 3, h, w) of whichever rank has one, None where none has.
    """

    def __init__(self, net: nn.Module, most: int, spare: Tensor | None) -> None:
        self.net, self.most, self.spare = net, most, spare

    def __call__(self, video: Tensor, own: int | None = None) -> Any:
        """Outputs of the first `own`, by default all, of clips (b, t, 3, h, w), b up to `most`."""
        own = len(video) if own is None else own
        missing = self.most - len(video)
        if missing:
            video = torch.cat([video, video[-1:].expand(missing, *video.shape[1:])])
        return tree_map(lambda y: y[:own], self.net(video)) if own < self.most else self.net(video)

    def nothing(self, video: Tensor) -> Tensor:
        """A loss of 0 over a pass of clips that are not this rank's."""
        return torch.stack([y.float().sum() for y in tree_leaves(self(video, own=0))]).sum()


def units(model: nn.Module, clip: Tensor) -> list[str]:
    """Names of the modules that are gathered one by one for what they do; the rest is one unit.

    They are the model's blocks, `pks4.train.optimizer.block_of`. Where a model reaches into a block
    and calls its layers, as with adapters, they are those. Found by a pass of clip (1, t, 3, h, w).
    """
    alone = _running_alone(model, clip)
    least = SMALLEST * _size(model)
    blocks = dict.fromkeys(block_of(name) for name, _ in model.named_parameters())
    found: list[str] = []
    for block in filter(None, blocks):
        found += _units_in(block, model.get_submodule(block), alone, least)
    return found


def as_on_first(tensors: Iterable[Tensor]) -> None:
    """Give tensors of a model the values that they have on the first rank."""
    with torch.no_grad():
        for x in tensors:
            sent = x.detach().contiguous()
            dist.broadcast(sent, 0)
            x.copy_(sent)


def _units_in(name: str, module: nn.Module, alone: set[str], least: float) -> list[str]:
    if _size(module) < least:
        return []
    if name in alone:
        return [name]
    inner = [(f"{name}.{key}", child) for key, child in module.named_children()]
    return [unit for one in inner for unit in _units_in(*one, alone, least)]


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@torch.no_grad()
def _running_alone(model: nn.Module, clip: Tensor) -> set[str]:
    """Names of modules that the model calls, and whose inner modules run only while they do."""
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
    model.eval()  # or batch norms would learn from it, and dropout draw from the seed
    try:
        model(clip)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return called - entered


def _without_scalars(model: nn.Module) -> nn.Module:
    """The model with vectors of one in place of scalars, which FSDP2 does not take."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if not weight.ndim:
                vector = nn.Parameter(weight.detach()[None], requires_grad=weight.requires_grad)
                setattr(module, name, vector)
    return model


def _full(x: Tensor) -> Tensor:
    """A tensor of the shards, whole and on the CPU; every rank must ask for it."""
    return (x.full_tensor() if isinstance(x, DTensor) else x).cpu()


def _weights(optimiser: torch.optim.Optimizer) -> list[Any]:
    """The weights of an optimiser, in the order of its state dict."""
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _each(
    optimiser: torch.optim.Optimizer, change: Callable[[int, Tensor], Tensor]
) -> dict[str, Any]:
    """The state dict with what it holds for each weight changed; counts of steps stay."""
    state = optimiser.state_dict()
    changed = {
        number: {
            key: change(number, x) if isinstance(x, Tensor) and key != "step" else x
            for key, x in own.items()
        }
        for number, own in state["state"].items()
    }
    return {**state, "state": changed}
