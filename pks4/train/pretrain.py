"""Image pre-training on still digits, so that "adapt an image model to video" is what is compared.

Each contestant starts from its image twin: the contestant it names, built at one frame and trained
to tell the digit in still frames of the `spatial` task. Twins that are built alike are one model,
trained once and cached under a hash of everything that decides its weights.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn

from pks4.train.fit import Progress, Recipe, fit, predict
from pks4.train.score import top1

VERSION = 1  # raise it when the procedure changes


@dataclass(frozen=True)
class ImageModel:
    """Weights of an image twin and what is known of them."""

    state: dict[str, Tensor]
    facts: dict


def image_model(
    key: dict,
    build: Callable[[], nn.Module],
    stills: Callable[[str], tuple[Tensor, Tensor]],
    recipe: Recipe,
    cache: Path,
    progress: Progress,
) -> ImageModel:
    """The image twin described by `key`: from the cache, or trained now and put there.

    `build()` gives the model for one frame; `stills(split)` gives frames (n, 1, 3, h, w) uint8 and
    labels (n,) of "train" and "val". Processes that want the same twin wait for the first.
    """
    whole = {"version": VERSION, "torch": str(torch.__version__), "recipe": asdict(recipe), **key}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "image-models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key['model']}-{digest}.pt"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _train(path, whole, build, stills, recipe, progress)
        saved = torch.load(path, weights_only=True)
    return ImageModel(saved["state"], {**saved["facts"], "digest": digest})


def _train(path, whole, build, stills, recipe, progress) -> None:
    torch.manual_seed(recipe.seed)
    model, started = build(), time.perf_counter()
    video, label = stills("train")
    history = fit(
        model, video, label, recipe, lambda n, of, text: progress(n, of, f"image model: {text}")
    )
    seconds = time.perf_counter() - started
    video, label = stills("val")
    facts = {
        "val_top1": top1(predict(model, video), label).value,
        "images": history.clips,
        "macs_forward": sum(model.macs().values()),
        "seconds": seconds,
        "key": whole,
    }
    part = path.with_suffix(".part")
    torch.save({"state": model.state_dict(), "facts": facts}, part)
    part.replace(path)
