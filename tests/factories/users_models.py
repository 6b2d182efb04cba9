"""Models as users bring them: tied, with hooks, with inputs and outputs of any structure."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Tied(nn.Module):
    """Two layers of one weight, a buffer under two names, a plain tensor, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        self.last.weight = self.first.weight
        self.register_buffer("table", torch.ones(8))
        self.register_buffer("again", self.table)
        self.shift = torch.ones(8)
        self.dropout = nn.Dropout(0.1)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        self.kept = self.dropout(self.first(x))
        return self.last(self.kept) * self.again + self.shift


@dataclass
class Output:
    """What a model gives: a loss, and numbers that a step takes no gradient of."""

    loss: Tensor | None
    logits: list[Tensor]


class Pair(nn.Module):
    """Two inputs by name; 3 -> 5 without a bias on each, so 15 MACs a row and input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5, bias=False)

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> Output:
        logits = [self.layer(left) * scale, self.layer(right)]
        return Output(None, logits)


class Chooses(nn.Module):
    """Control flow on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


class Remembers(nn.Module):
    """4 -> 8 at its first call alone; later ones give what it kept."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 8, bias=False)
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.layer(x)
        return self.kept


def mlp(width: int = 8, classes: int = 2) -> nn.Sequential:
    """4 -> width -> classes without biases."""
    return nn.Sequential(
        nn.Linear(4, width, bias=False), nn.ReLU(), nn.Linear(width, classes, bias=False)
    )
