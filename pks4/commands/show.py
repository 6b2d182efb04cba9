"""`pks4-bench show`: a contestant's card, whether a checkpoint fits it, a measure, the schema."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench import units
from pks4.bench.contestants import card, catalogue
from pks4.bench.contestants.build import Counts
from pks4.bench.contestants.catalogue import Entry
from pks4.bench.contestants.published import Pair
from pks4.commands.parts.terminal import AsJson, note, print_table, say

show_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Print one thing in full.")


@show_app.command("model")
def model(
    name: Annotated[str, typer.Argument(help="A contestant; `list models` names them.")],
    scale: Annotated[str, typer.Option(help="The scale to count at.")] = "paper",
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip.")] = 8,
    classes: Annotated[int, typer.Option(min=1, help="Classes of the head.")] = 400,
    option: Annotated[
        list[str] | None, typer.Option(help="name=value, over the scale; may be repeated.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Only check whether this checkpoint of the authors fits.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a contestant's card: place, trained weights, costs, published numbers against ours."""
    entry = catalogue.find("model", name, catalogue.models())
    options = card.parsed_options(option or [])
    configuration = card.Configuration(
        scale=scale, frames=frames, num_classes=classes, options=options
    )
    if weights:
        with note.status("loading"):
            loaded = card.fit(entry, configuration, weights)
        _print_loaded(entry, weights, loaded, as_json)
        return
    with note.status("counting on meta"):
        counted, pairs = card.counted(entry, configuration), card.published_pairs(entry)
    if as_json:
        configured = {**vars(configuration), "counts": vars(counted)}
        print(json.dumps(
            {**card.stated(entry), "configuration": configured,
             "published": [_plain(pair) for pair in pairs]}, indent=1,
        ))  # fmt: skip
        return
    _print_card(entry, configuration, counted, pairs)


def _print_card(
    entry: Entry, configuration: card.Configuration, counted: Counts, pairs: list[Pair]
) -> None:
    stated = card.stated(entry)
    for key in ("summary", "family", "paper", "place", "trained", "frames"):
        print(f"{key:<14}{stated[key]}")
    theirs = "names and weights of the authors' code (--weights FILE)"
    print(f"{'official':<14}{theirs if stated['official_code'] else 'no code of the authors'}")
    for kind in ("scales", "variants"):
        print()
        rows = [
            (name, _options_line(options) or "the defaults")
            for name, options in stated[kind].items()
        ]
        print_table((kind, "options"), rows)
    print()
    rows = [(k, "none" if v is None else _value(v)) for k, v in stated["options"].items()]
    print_table(("option of build", "default"), rows)
    print()
    over = f", {_options_line(configuration.options)}" if configuration.options else ""
    print(
        f"{configuration.scale} scale, {configuration.frames} frames, "
        f"{configuration.num_classes} classes{over}:"
    )
    print(f"parameters    {counted.params_total:,}, trained {counted.params_trainable:,}")
    stages = [f"{stage} {units.quantity(macs, 'MAC')}" for stage, macs in counted.macs.items()]
    print(f"forward       {units.quantity(sum(counted.macs.values()), 'MAC')}: {', '.join(stages)}")
    print()
    if pairs:
        _print_pairs(pairs)
    else:
        print("No published figure is compared with this model.")


def _print_pairs(pairs: list[Pair]) -> None:
    from pks4.bench.report.tables.published import QUANTITIES, ours, percent, source, theirs

    reasons = list(dict.fromkeys(pair.verdict for pair in pairs if pair.needs_reason))
    rows = [
        (
            _options_line(f.options) or "default",
            f.frames,
            f.num_classes,
            QUANTITIES[f.quantity],
            theirs(f),
            ours(f, pair.ours),
            percent(pair.difference),
            percent(pair.alike_difference),
            f"why: {reasons.index(pair.verdict) + 1}" if pair.needs_reason else pair.verdict,
            source(f),
        )
        for pair in pairs
        for f in [pair.figure]
    ]
    columns = ("published, paper scale", "T", "classes", "", "theirs", "ours", "difference, %",
               "like for like, %", "verdict", "source")  # fmt: skip
    print_table(columns, rows)
    for number, reason in enumerate(reasons, start=1):
        print(f"why {number}: {reason}")
    if any(pair.alike is not None for pair in pairs):
        print("like for like: ours in the stages that their count includes, against theirs")


def _print_loaded(entry: Entry, weights: Path, loaded: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": entry.name, "weights": str(weights), **vars(loaded)}, indent=1))
        return
    counts = [len(names) for names in (loaded.loaded, loaded.resized, loaded.left)]
    say("{} fits {}: {} loaded, {} of them resized, {} left".format(weights, entry.name, *counts))
    for what in ("resized", "left"):
        for name in getattr(loaded, what):
            say(f"{what:<9}{name}")


def _plain(pair: Pair) -> dict[str, Any]:
    """A pair as JSON, with its differences and its verdict."""
    return {
        **pair.figure.model_dump(),
        "ours": pair.ours,
        "difference": pair.difference,
        "alike": pair.alike,
        "alike_difference": pair.alike_difference,
        "verdict": pair.verdict,
    }


def _options_line(options: dict[str, Any]) -> str:
    """Options on one line: `width=768, clip=true`."""
    return ", ".join(f"{name}={_value(value)}" for name, value in options.items())


def _value(value: Any) -> str:
    """A value as `--option` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


@show_app.command("measure")
def measure(
    name: Annotated[str, typer.Argument(help="A measure; `list measures` names them.")],
    as_json: AsJson = False,
) -> None:
    """Print what a measure measures: its metrics, its settings, and the suites that use it."""
    from pks4.bench.plan.suite import read_suite

    entry = catalogue.find("measure", name, catalogue.measures())
    about = entry.facts.get("ABOUT", {})
    metrics = [
        {"metric": metric, "unit": unit, "direction": direction}
        for metric, (unit, direction) in entry.facts["METRICS"].items()
    ]
    settings = [
        {"setting": key, "default": value, "meaning": about[key]}
        for key, value in entry.facts.get("SETTINGS", {}).items()
    ]
    suites = {suite: read_suite(path)[0] for suite, path in catalogue.suites().items()}
    used = [s for s, suite in suites.items() if any(name in g.measures for g in suite.grids)]
    if as_json:
        document = {"measure": name, "summary": entry.summary, "text": entry.text,
                    "metrics": metrics, "settings": settings, "suites": used}  # fmt: skip
        print(json.dumps(document, indent=1))
        return
    print(f"{entry.summary}\n\n{entry.text}\n")
    print_table(("metric", "unit", "direction"), [tuple(row.values()) for row in metrics])
    if settings:
        print()
        rows = [(s["setting"], json.dumps(s["default"]), s["meaning"]) for s in settings]
        print_table(("setting", "default", "meaning"), rows)
    if other := entry.facts.get("SETTINGS_OF"):
        print(f"\nIts cells have the settings of {other} too: pks4-bench show measure {other}")
    print(f"\nSuites that use it: {', '.join(used) or 'none'}")


@show_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the lines of a run's file."""
    from pks4.bench.records.lines import json_schema

    print(json.dumps(json_schema(), indent=1))
