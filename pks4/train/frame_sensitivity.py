"""How strongly each frame of a clip moves a model's logits: their gradient, by frame.

A contestant that cannot see a frame cannot use it. For each clip one random direction r (classes,)
is drawn; g is the gradient of r · logits with respect to the pixels (t, 3, h, w). The sensitivity
of frame t is the root mean square of g over clips, channels and places. The model is in eval mode
and float32, so that nothing but the clip and the weights counts.

A frozen backbone runs without gradients in a training, but it does let the clip through. So
gradients stay on inside `torch.no_grad` here. A head that starts at 0, as ViViT's does, would hide
every frame until the first step; a random one stands in for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pks4.train.engine import pixels


@dataclass(frozen=True)
class FrameSensitivity:
    """Sensitivity of the logits to each frame; `step` frames go through one kernel that trains.

    A kernel over a tubelet may start from one of its frames, as ViViT's does, and learn the others;
    so frames of one tubelet are seen together, as the one that is seen best.
    """

    by_frame: Sequence[float]  # root mean square of the gradient, in logits per pixel value
    step: int = 1

    @cached_property
    def shares(self) -> list[float]:
        """Each frame's sensitivity over the largest; all 0 where the logits ignore the clip."""
        largest = max(self.by_frame)
        return [s / largest if largest else 0.0 for s in self.by_frame]

    @property
    def by_tubelet(self) -> list[float]:
        """The largest share in each tubelet, in order."""
        starts = range(0, len(self.shares), self.step)
        return [max(self.shares[start : start + self.step]) for start in starts]

    @property
    def least(self) -> float:
        """The share of the tubelet that is seen least."""
        return min(self.by_tubelet)

    @property
    def last(self) -> float:
        """The share of the last tubelet."""
        return self.by_tubelet[-1]

    @property
    def least_named(self) -> str:
        """The frames that are seen least, as `frame 8 of 8`; of equal ones the first."""
        first = self.by_tubelet.index(self.least) * self.step + 1
        last = min(first + self.step - 1, len(self.shares))
        which = f"frame {first}" if first == last else f"frames {first} to {last}"
        return f"{which} of {len(self.shares)}"


def frame_sensitivity(
    model: nn.Module, clips: Tensor, classes: int, seed: int, step: int = 1
) -> FrameSensitivity:
    """The sensitivity of logits (b, classes) to each frame of uint8 clips (n, t, 3, h, w).

    The model stays as it was: weights, gradients, statistics, mode; so does the random state.
    """
    device = next(model.parameters()).device
    drawn = torch.Generator().manual_seed(seed)
    training, total = model.training, torch.zeros(clips.shape[1], dtype=torch.float64)
    model.eval()
    try:
        with head_that_passes(model, classes, drawn):
            for clip in clips.split(1):
                video = pixels(clip.to(device)).requires_grad_()
                direction = torch.randn(classes, generator=drawn).to(device)
                with torch.enable_grad(), _GradientsStayOn():
                    gradient = _gradient((model(video) * direction).sum(), video)
                total += gradient.double().square().sum((0, 2, 3, 4)).cpu()
    finally:
        model.train(training)
    values = clips[:, 0].numel()  # of one frame, over clips, channels and places
    return FrameSensitivity((total / values).sqrt().tolist(), step)


@contextmanager
def head_that_passes(model: nn.Module, classes: int, drawn: torch.Generator) -> Iterator[None]:
    """While open, a linear layer to the classes whose weights are all 0 has random ones."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    zero = [layer.weight for layer in layers if not layer.weight.any()]
    with torch.no_grad():
        for weight in zero:
            weight.copy_(torch.randn(weight.shape, generator=drawn))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight in zero:
                weight.zero_()


def _gradient(score: Tensor, video: Tensor) -> Tensor:
    """The gradient by pixel; 0 where the score does not depend on the clip."""
    if not score.requires_grad:
        return torch.zeros_like(video)
    return torch.autograd.grad(score, video, allow_unused=True, materialize_grads=True)[0]


class _GradientsStayOn(TorchFunctionMode):
    """While open, `torch.no_grad` in a model's own code has no effect."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        return func(*args, **(kwargs or {}))
