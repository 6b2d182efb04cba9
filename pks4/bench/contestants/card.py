"""The card of a model: the facts of its file, its counts, and published counts beside ours."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pks4.bench.contestants import build as building
from pks4.bench.contestants import published
from pks4.bench.contestants.build import Counts, build
from pks4.bench.contestants.catalogue import Entry
from pks4.bench.contestants.published import Pair
from pks4.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A model at a scale, with options over it, for clips of so many frames and classes."""

    scale: str = building.PAPER_SCALE
    frames: int = 8
    num_classes: int = building.PAPER_CLASSES
    options: dict[str, Any]


def parsed_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options written `name=value`, the value in TOML; other words are taken as text."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UserError(f"option {text!r} must be written name=value")
        try:
            options[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            if value.lower() in ("true", "false", "none"):
                raise UserError(f"option {name!r}: write true or false, as TOML does") from None
            options[name] = value
    return options


def stated(entry: Entry) -> dict[str, Any]:
    """The facts of the file, for people."""
    facts, defaults = entry.facts, defaults_of(entry)
    steps = entry.frames_step({})
    return {
        "model": entry.name,
        "summary": entry.summary,
        "family": facts.get("FAMILY", ""),
        "paper": facts.get("PAPER", ""),
        "place": facts.get("PLACE", ""),
        "trained": facts.get("TRAINED", ""),
        "frames": "any number" if steps == 1 else f"multiples of {steps}",
        "official_code": "OFFICIAL_CODE" not in facts or facts["OFFICIAL_CODE"] is not None,
        "image_twin": facts.get("IMAGE_TWIN", ""),
        "scales": facts.get("SCALES", {}),
        "variants": facts.get("VARIANTS", {}),
        "options": {
            name: defaults.get(name)
            for name in entry.options or ()
            if name not in ("frames", "num_classes")
        },
    }


def defaults_of(entry: Entry) -> dict[str, Any]:
    """The defaults of `build`, and of the dataclass `Options` that its file has if it takes more.

    Imports the file, and torch with it, where options are in such a dataclass.
    """
    if "MORE_OPTIONS" not in entry.facts:
        return entry.defaults
    held = {f.name: f.default for f in fields(entry.load().Options)}
    return held | entry.defaults


def counted(entry: Entry, wanted: Configuration) -> Counts:
    """Parameters and MACs by stage of a configuration."""
    options = building.configured(entry, wanted.options, wanted.scale)
    return building.count(entry, options, wanted.frames, wanted.num_classes)


def published_pairs(entry: Entry) -> list[Pair]:
    """Every published figure of this model with our count; each configuration is counted once."""
    counts: dict[tuple, Counts] = {}
    pairs = []
    for figure in published.read():
        if figure.model != entry.name:
            continue
        if figure.configuration not in counts:
            options = building.configured(entry, figure.options)
            counts[figure.configuration] = building.count(
                entry, options, figure.frames, figure.num_classes
            )
        pairs.append(published.pair(figure, counts[figure.configuration]))
    return pairs


def fit(entry: Entry, wanted: Configuration, weights: Path) -> Any:
    """Load a checkpoint with the authors' names into a fresh model; returns an official.Loaded.

    Raises UserError, one line, if it does not fit or the model has no authors' names.
    """
    from pks4.weights.official import load_official

    options = building.configured(entry, wanted.options, wanted.scale)
    model = build(
        entry, options, frames=wanted.frames, num_classes=wanted.num_classes, device="cpu"
    )
    try:
        return load_official(model, weights)
    except ValueError as error:
        raise UserError(str(error)) from error
