"""Image pre-training on still digits: contestants adapt an image model to video, as in the papers.

Each contestant starts from its image twin: the contestant that `IMAGE_TWIN` names, built at one
frame and trained on stills. The twin predicts the digit of the image, and for every site of its
grid whether the digit covers it and which digit (a tiny transformer learns little from one label an
image). Twins of the same options are one model. It is a file, found by a hash of all that was asked
for: among those that the package ships, else in the cache, else trained now and put there.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from pks4.data.dataset import write_whole
from pks4.data.kinetic_digits.render import GENERATOR_VERSION
from pks4.data.kinetic_digits.stills import Stills, stills
from pks4.train.batches import InMemory
from pks4.train.engine import Options, Progress, Recipe, fit, pixels
from pks4.weights.image_files import SHIPPED, ImageModel, packed, read_image_model

VERSION = 2  # raise it when the procedure changes
COVERED = 0.15  # a site shows the digit when the digit covers this share of it
PLACE_WEIGHT = 5.0  # of sites that show a digit, against the many that do not
VAL_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that determines an image model: twin and options, stills, and the recipe's free part."""

    model: str
    options: dict[str, Any]
    images: int
    epochs: int
    learning_rate: float
    batch_size: int

    @property
    def key(self) -> dict[str, Any]:
        """These, and the versions of the procedure and of the stills."""
        return {"version": VERSION, "generator": GENERATOR_VERSION, **asdict(self)}

    @property
    def file(self) -> str:
        """The name of the file."""
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()
        return f"{self.model}-{digest[:16]}.safetensors"

    def recipe(self, device: str) -> Recipe:
        """The whole recipe."""
        return Recipe(
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            device=device,
        )


def image_model(
    asked: Asked,
    build: Callable[[], nn.Module],
    cache: Path,
    progress: Progress,
    device: str = "cpu",
) -> ImageModel:
    """The image twin that was asked for: shipped, from the cache, or trained now.

    `build()` makes the model for one frame. A lock makes other processes wait for the first. Facts
    `weights` says where it is from, `val_top1` and `place_top1` are its shares of right digits and
    of right places on held-out stills. A training that was interrupted resumes after its last
    epoch. Raises ValueError for a shipped file that is damaged; a damaged file of the cache gives a
    warning and is trained again.
    """
    shipped = SHIPPED / asked.file
    if shipped.exists():
        return _from("stills, shipped", read_image_model(shipped))
    path = cache / "image-models" / asked.file
    return _from("stills", pretrained(path, asked, build, progress, device))


def pretrained(
    path: Path,
    asked: Asked,
    build: Callable[[], nn.Module],
    progress: Progress,
    device: str = "cpu",
) -> ImageModel:
    """The image twin in this file, which is trained now if it is missing or damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        model = _cached(path)
        if model is None:
            _train(path, asked, build, asked.recipe(device), progress)
            model = read_image_model(path)
    return model


def _from(origin: str, model: ImageModel) -> ImageModel:
    return ImageModel(model.state, {**model.facts, "weights": origin})


def _cached(path: Path) -> ImageModel | None:
    """The cached twin; None if there is no file, and None with a warning if it is damaged."""
    if not path.exists():
        return None
    path.read_bytes()  # an OSError here is raised: the file may be whole
    try:
        return read_image_model(path)
    except Exception as error:  # a damaged file fails in many ways
        warnings.warn(
            f"{path} is damaged ({type(error).__name__}); the image model is trained again",
            stacklevel=3,
        )
        return None


def _train(
    path: Path, asked: Asked, build: Callable[[], nn.Module], recipe: Recipe, progress: Progress
) -> None:
    torch.manual_seed(recipe.seed)
    size = asked.options["image_size"]
    model = _Pretraining(build(), size)
    progress(0, recipe.epochs, f"image model: rendering {asked.images} stills")
    shown = stills("train", asked.images, size=size)
    held_out = stills("val", min(VAL_IMAGES, asked.images), size=size)
    saved = path.with_suffix(".training")
    history = fit(
        model,
        InMemory(shown.image, _targets(shown, model.side)),
        recipe,
        lambda n, of, text: progress(n, of, f"image model: {text}"),
        Options(
            loss=_loss,
            after_epoch=lambda model: _rightness(model, held_out)[0],
            saved=saved,
            about={"image model": path.stem},
        ),
    )
    val_top1, place_top1 = _rightness(model, held_out)
    facts = {
        "val_top1": val_top1,
        "place_top1": place_top1,
        "val_top1_by_epoch": history.val_top1,
        "val_images": len(held_out.digit),
        "images": history.clips,
        "macs_forward": sum(model.twin.macs().values()),
        "seconds": sum(history.seconds),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "key": asked.key,
    }
    write_whole(path, packed(model.twin.state_dict(), facts))
    saved.unlink(missing_ok=True)


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
def _rightness(model: nn.Module, held_out: Stills) -> tuple[float, float]:
    """Shares of stills whose digit is right, and of covered sites that show the right digit."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    outputs = [model(pixels(part.to(device))) for part in held_out.image.split(100)]
    model.train(training)
    digit, place = (torch.cat(part).cpu() for part in zip(*outputs, strict=True))
    target = _targets(held_out, model.side)[:, 1:]
    right = (place.argmax(2) == target)[target > 0]
    return _mean(digit.argmax(1) == held_out.digit), _mean(right)


def _mean(hits: Tensor) -> float:
    return hits.float().mean().item()
