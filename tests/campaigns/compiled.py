"""Which models run under PyTorch's own compiler as they run without it? A campaign, not a test.

    python -m tests.campaigns.compiled [--only NAME …] [--json]

PKS4 with every mixer, and every contestant in its first variant, at tiny scale: `torch.compile`
with the default backend, which writes and compiles C++, against eager, forward and backward. Each
is in a process of its own, since code that the compiler wrote may crash it. Printed: one line a
model with the largest difference of outputs and of gradients, as shares of the largest value.
"""

import argparse
import json
import subprocess
import sys

import torch
from torch import Tensor, nn

from tests.factories.models import CORE, clip, first_of_each, shake, tiny, usual_frames

TOLERANCE = 1e-3  # float32 sums in another order, weights that are larger than usual
LIMIT_SECONDS = 600
ONE = "--one"


def cases() -> list[str]:
    """Names of all models: `pks4/MIXER`, and contestants."""
    from pks4.mixers import MIXERS

    return [*(f"pks4/{name}" for name in MIXERS), *(p.values[0] for p in first_of_each(CORE))]


def model_of(name: str) -> tuple[nn.Module, Tensor]:
    """A model of this name with random weights, and its input."""
    contestant, _, mixer = name.partition("/")
    if mixer:
        from pks4 import PKS4

        torch.manual_seed(0)
        return shake(PKS4(48, mixer=mixer, radius=2)), torch.randn(2, 5, 4, 5, 48)
    options = next(p.values[1] for p in CORE if p.values[0] == contestant)
    frames = usual_frames(contestant, options)
    return shake(tiny(contestant, options, frames)).eval(), clip(frames)


def outputs(run: nn.Module, model: nn.Module, x: Tensor) -> list[Tensor]:
    """What it gives for x, and the gradients of x and of the weights."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    found = run(x)
    found.square().mean().backward()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [found.detach(), *([] if x.grad is None else [x.grad]), *grads]


def differences(name: str) -> tuple[float, float]:
    """The largest difference of outputs and of gradients between compiled and eager."""
    model, x = model_of(name)
    eager = outputs(model, model, x)
    torch._dynamo.reset()
    compiled = outputs(torch.compile(model), model, x)
    shares = [
        float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
        for one, other in zip(compiled, eager, strict=True)
    ]
    return shares[0], max(shares[1:])


def tried(name: str) -> dict[str, object]:
    """What became of a model, from a process of its own."""
    command = [sys.executable, "-m", "tests.campaigns.compiled", ONE, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return {"name": name, "wrong": f"took more than {LIMIT_SECONDS} s"}
    if done.returncode:
        last = (done.stderr.strip() or "nothing said").splitlines()[-1]
        return {"name": name, "wrong": f"exit code {done.returncode}: {last}"}
    forward, backward = json.loads(done.stdout.splitlines()[-1])
    found = {"name": name, "forward": forward, "backward": backward}
    if not max(forward, backward) <= TOLERANCE:
        found["wrong"] = f"differs by more than {TOLERANCE:g}"
    return found


def main() -> None:
    """Try all models; the exit code is 1 if one does not run as in eager."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=cases(), metavar="NAME")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(ONE, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(differences(asked.one)))
        return
    wrong = False
    for name in asked.only or cases():
        found = tried(name)
        wrong |= "wrong" in found
        line = ", ".join(f"{key} {value}" for key, value in found.items() if key != "name")
        print(json.dumps(found) if asked.json else f"{name}: {line}", flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
