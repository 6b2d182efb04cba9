"""Image pre-training on still digits: contestants adapt an image model to video, as in the papers.

Each contestant starts from its image twin: the contestant that `IMAGE_TWIN` names, built at one
frame and trained on stills. The twin predicts the digit of the image, and for every site of its
grid whether the digit covers it and which digit (a tiny transformer learns little from one label an
image). Twins of the same options are one model. It is trained once and cached under a hash of
everything that determines its weights. The cached file is written atomically; a damaged file gives
a warning and is trained again.
"""

import hashlib
import io
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from pks4.data.dataset import write_whole
from pks4.data.kinetic_digits.render import GENERATOR_VERSION
from pks4.data.kinetic_digits.stills import Stills, stills
from pks4.train.batches import InMemory
from pks4.train.engine import Options, Progress, Recipe, fit, pixels

VERSION = 1  # raise it when the procedure changes
COVERED = 0.15  # a site shows the digit when the digit covers this share of it
PLACE_WEIGHT = 5.0  # of sites that show a digit, against the many that do not
VAL_IMAGES = 400


@dataclass(frozen=True)
class ImageModel:
    """Weights of an image twin, and facts for a record."""

    state: dict[str, Tensor]
    facts: dict = field(repr=False)


def image_model(
    key: dict,
    build: Callable[[], nn.Module],
    images: int,
    recipe: Recipe,
    cache: Path,
    progress: Progress,
) -> ImageModel:
    """The image twin that `key` (model, options) describes, from the cache or trained now.

    `build()` makes the model for one frame. A lock makes other processes wait for the first.
    """
    whole = {
        "version": VERSION,
        "generator": GENERATOR_VERSION,
        "torch": str(torch.__version__),
        "recipe": asdict(recipe),
        "images": images,
        **key,
    }
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "image-models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key['model']}-{digest}.pt"
    with FileLock(f"{path}.lock"):
        model = _cached(path)
        if model is None:
            _train(path, whole, build, recipe, progress)
            model = _read(path.read_bytes())
    return ImageModel(model.state, {**model.facts, "digest": digest})


def _cached(path: Path) -> ImageModel | None:
    """The cached twin; None if there is no file, and None with a warning if it is damaged."""
    if not path.exists():
        return None
    content = path.read_bytes()  # an OSError here is raised: the file may be whole
    try:
        return _read(content)
    except Exception as error:  # a damaged file fails in many ways
        warnings.warn(
            f"{path} is damaged ({type(error).__name__}); the image model is trained again",
            stacklevel=3,
        )
        return None


def _read(content: bytes) -> ImageModel:
    saved = torch.load(io.BytesIO(content), weights_only=True)
    return ImageModel(saved["state"], saved["facts"])


def _train(
    path: Path, whole: dict, build: Callable[[], nn.Module], recipe: Recipe, progress: Progress
) -> None:
    torch.manual_seed(recipe.seed)
    size, started = whole["options"]["image_size"], time.perf_counter()
    model = _Pretraining(build(), size)
    shown = stills("train", whole["images"], size=size)
    history = fit(
        model,
        InMemory(shown.image, _targets(shown, model.side)),
        recipe,
        lambda n, of, text: progress(n, of, f"image model: {text}"),
        Options(loss=_loss),
    )
    facts = {
        "val_top1": _val_top1(model, size),
        "images": history.clips,
        "macs_forward": sum(model.twin.macs().values()),
        "seconds": time.perf_counter() - started,
        "key": whole,
    }
    content = io.BytesIO()
    torch.save({"state": model.twin.state_dict(), "facts": facts}, content)
    write_whole(path, content.getvalue())


class _Pretraining(nn.Module):
    """A twin with two heads: images (n, 3, h, w) -> digit (n, 10) and sites (n, s, 11)."""

    def __init__(self, twin: nn.Module, size: int) -> None:
        super().__init__()
        self.twin = twin
        with torch.no_grad():
            _, grid = twin.image_features(torch.zeros(1, 3, size, size))
        self.side, d = grid.shape[1], grid.shape[-1]
        self.digit, self.place = nn.Linear(d, 10), nn.Linear(d, 11)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the digit, and of "none" or a digit at every site."""
        pooled, grid = self.twin.image_features(images)
        return self.digit(pooled), self.place(grid.flatten(1, 2))


def _targets(shown: Stills, side: int) -> Tensor:
    """(n, 1 + s): the digit, then 0 or 1 + digit for every site of a side x side grid."""
    covered = F.adaptive_avg_pool2d(shown.opacity[:, None], side).flatten(1) > COVERED
    places = torch.where(covered, shown.digit[:, None] + 1, 0)
    return torch.cat([shown.digit[:, None], places], 1)


def _loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    digit, place = output
    weight = torch.full((11,), PLACE_WEIGHT, device=place.device)
    weight[0] = 1.0
    place_loss = F.cross_entropy(place.flatten(0, 1), target[:, 1:].flatten(), weight=weight)
    return F.cross_entropy(digit, target[:, 0]) + place_loss


@torch.no_grad()
def _val_top1(model: _Pretraining, size: int) -> float:
    model.eval()
    held_out = stills("val", VAL_IMAGES, size=size)
    logits = torch.cat([model(pixels(part))[0] for part in held_out.image.split(100)])
    return (logits.argmax(1) == held_out.digit).float().mean().item()
