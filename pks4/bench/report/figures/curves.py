"""The figures of convergence: validation top-1 against epochs, and against training compute."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pks4.bench import units
from pks4.bench.report.figures import common, shares
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view import curves
from pks4.bench.view.curves import Curve
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View, frame_counts

_KINDS = {"epochs": "epochs", "macs": "training compute"}
_TITLE = "Validation accuracy against"


def build(view: View) -> list[Plot | Omitted]:
    """Both figures for each setting with a validation curve, or the reason why there is none."""
    settings = view.settings(curves.METRIC)
    if not settings:
        return [Omitted(title=f"{_TITLE} epochs", why=f"no record of {curves.METRIC}")]
    return [_plot(view, setting, kind) for setting in settings for kind in _KINDS]


def _plot(view: View, setting: Setting, kind: str) -> Plot | Omitted:
    title = f"{_TITLE} {_KINDS[kind]}, {setting.task or setting.grid}"
    frames, found = curves.at_common_frames(view, setting)
    if len(found) < 2:
        return Omitted(title=title, why=f"fewer than two contestants ({setting.title})")
    who, macs = common.cast(view), kind == "macs"
    series = view.series(setting, curves.METRIC)
    how = common.measured_how([series[label][frames] for label in found])
    place = f"{setting.title}, T = {frames}"
    if len(frame_counts(series)) > 1:
        place += ", the largest that most share"
    return Plot(
        name=common.stem(f"curve_{kind}", setting),
        title=title,
        caption=f"{title}; {place}; {how}. {_words(found, macs)}",
        alt=_alt(view, found),
        figure=common.line_page(
            view,
            shares.curve_ends(found, who, macs=macs),
            found,
            lambda axes: shares.over_training(axes, found, who, macs=macs),
            title=title,
            subtitle=f"{place}; {how}",
            axis="top-1 on the validation split",
        ),
        data=_data(view, found, frames),
    )


def _words(found: Mapping[str, Sequence[Curve]], macs: bool) -> str:
    """What lines and axis are, for the caption."""
    counts = {len(seeds) for seeds in found.values()}
    lines = "One seed each: no line says how another training would go."
    if counts != {1}:
        lines = "Heavy lines: means over seeds; thin ones: each seed."
    axis = "MACs so far, backward included, without the training of the image model, logarithmic. "
    return f"{axis if macs else ''}{lines} The best here is the best on the validation clips only."


def _alt(view: View, found: Mapping[str, Sequence[Curve]]) -> str:
    ends = [(curves.mean(seeds)[0][-1], view.name(label)) for label, seeds in found.items()]
    return (
        f"Line chart of {len(found)} contestants, validation top-1 over training. At the end "
        f"{common.lowest_to_highest(ends, units.percent)}."
    )


def _data(view: View, found: Mapping[str, Sequence[Curve]], frames: int) -> pd.DataFrame:
    rows = [
        {
            "label": label, "contestant": view.name(label), "frames": frames, "seed": curve.seed,
            "epoch": epoch, "val_top1": top1, "macs": macs, "seconds": seconds,
        }
        for label, seeds in found.items()
        for curve in seeds
        for epoch, (top1, macs, seconds) in enumerate(
            zip(curve.top1, curve.macs, curve.seconds, strict=True), start=1
        )
    ]  # fmt: skip
    return pd.DataFrame(rows, dtype=object)
