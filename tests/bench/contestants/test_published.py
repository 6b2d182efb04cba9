"""Published numbers: a file that is checked, each figure beside ours, a reason for every gap."""

import csv
import json

import pytest

from pks4.bench.contestants import build as building
from pks4.bench.contestants import catalogue, published
from pks4.bench.contestants.published import COLUMNS, NEAR, Pair
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.report.tables import published as published_tables
from pks4.bench.view.view import View
from pks4.errors import UserError
from tests.factories.records import frame, header, record

FIGURES = published.read()
MODELS = catalogue.models()
each_configuration = pytest.mark.parametrize(
    "figure",
    [pytest.param(f, id=f"{f.model}-{f.frames}-row{f.row}")
     for f in {f.configuration: f for f in reversed(FIGURES)}.values()][::-1],
)  # fmt: skip
GOOD = {
    "model": "timesformer", "options": "{}", "frames": "8", "num_classes": "400",
    "quantity": "gmacs", "published": "590", "views": "3", "half_unit": "5", "stages": "",
    "source_url": "https://arxiv.org/abs/2102.05095", "where": "Table 2", "counted": "",
    "reason": "",
}  # fmt: skip


def pairs(configuration):
    """Every figure of a configuration beside ours."""
    model, options, frames, num_classes = configuration
    entry = MODELS[model]
    options = building.configured(entry, json.loads(options))
    counted = building.count(entry, options, frames, num_classes)
    return [published.pair(f, counted) for f in FIGURES if f.configuration == configuration]


@pytest.mark.contract
@each_configuration
def test_every_published_figure_is_met_or_has_a_reason(figure):
    for pair in pairs(figure.configuration):
        said = f"row {pair.figure.row}: {pair.ours:,} beside {pair.figure.published:,}"
        assert bool(pair.figure.reason) == pair.needs_reason, said
        if pair.figure.stages:  # where their count leaves something out, the rest is alike
            theirs = pair.figure.published
            assert abs(pair.alike - theirs) <= NEAR * theirs + pair.figure.half_unit, said
            assert pair.figure.counted, said


def test_no_figure_is_there_twice():
    keys = [(*f.configuration, f.quantity, f.source_url, f.where) for f in FIGURES]
    assert len(keys) == len(set(keys))


def test_the_suite_has_exactly_the_configurations_of_the_file():
    cells = plan(read_suite(catalogue.suites()["published"])[0])
    planned = {(c.model, json.dumps(c.options, sort_keys=True), c.frames, c.num_classes): c.scale
               for c in cells}  # fmt: skip
    wanted = {
        (f.model, json.dumps({**MODELS[f.model].facts["SCALES"]["paper"], **f.options},
                             sort_keys=True), f.frames, f.num_classes)
        for f in FIGURES
    }  # fmt: skip
    assert planned.keys() == wanted
    assert len(cells) == len(wanted)
    assert set(planned.values()) == {"paper"}
    assert all(c.measures == ["params", "macs"] for c in cells)


def written(path, *rows, columns=COLUMNS):
    """A file of figures."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *([row[c] for c in COLUMNS] for row in rows)])
    return path


def test_a_total_over_views_is_held_against_one_view(tmp_path):
    (figure,) = published.read(written(tmp_path / "f.csv", GOOD))
    assert (figure.row, figure.published, figure.views) == (2, 196_666_666_667, 3)
    assert figure.half_unit == pytest.approx(5e9 / 3)
    assert published_tables.theirs(figure) == "197 GMAC"
    assert published_tables.source(figure) == "arXiv 2102.05095, Table 2 (590 for 3 views)"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("model", "", "is empty"),
        ("options", "{", "not valid JSON"),
        ("options", "[1]", "must be a JSON object"),
        ("frames", "8.5", "must be a whole number above 0, got '8.5'"),
        ("num_classes", "0", "must be a whole number above 0"),
        ("quantity", "gmac", "did you mean 'gmacs'"),
        ("published", "many", "must be a number above 0, got 'many'"),
        ("published", "nan", "must be a number above 0"),
        ("half_unit", "-1", "must be a number above 0"),
        ("frames", "1_6", "must be a whole number above 0, got '1_6'"),
        ("half_unit", " 5", "must be a number above 0, got ' 5'"),
        ("views", "", "must be a whole number above 0"),
        ("source_url", "javascript:x", "must begin with https://"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_row_and_column(tmp_path, column, value, said):
    path = written(tmp_path / "figures.csv", GOOD, GOOD | {column: value})
    with pytest.raises(UserError) as error:
        published.read(path)
    assert str(error.value).startswith(f"{path}, row 3, column {column}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_stages_of_parameters_and_missing_columns_or_files_are_refused(tmp_path):
    path = tmp_path / "figures.csv"
    with pytest.raises(UserError, match="column stages: only gmacs have stages"):
        published.read(written(path, GOOD | {"quantity": "params_total", "stages": "head"}))
    with pytest.raises(UserError, match=r"row 1: .*missing: .*'model'"):
        published.read(written(path, GOOD, columns=["name", *COLUMNS[1:]]))
    path.write_text(",".join(COLUMNS) + "\nonly,three,fields\n")
    with pytest.raises(UserError, match="row 2: 3 fields instead of 13"):
        published.read(path)
    with pytest.raises(UserError, match=r"nothing\.csv: cannot be read"):
        published.read(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("ours", "reason", "verdict"),
    [
        (198_000_000_000, "", "equal as printed"),  # within 5/3 of 590/3
        (198_600_000_000, "", "within 1 %"),
        (250_000_000_000, "they leave something out", "they leave something out"),
        (250_000_000_000, "", "not explained"),
    ],
)
def test_a_difference_is_judged_with_the_rounding_of_the_publication(
    tmp_path, ours, reason, verdict
):
    (figure,) = published.read(written(tmp_path / "f.csv", GOOD | {"reason": reason}))
    pair = Pair(figure=figure, ours=ours)
    assert pair.verdict == verdict
    assert pair.difference == pytest.approx(ours / (590e9 / 3) - 1)


def measured(model, options, frames=8, num_classes=400, label="one"):
    """View of a run that measured one configuration: parameters, and MACs by stage."""
    scale = MODELS[model].facts["SCALES"]["paper"]
    place = {"model": model, "options": {**scale, **options}}
    detail = {"by_stage": {"backbone": 100_000_000_000, "temporal": 20_000_000_000, "head": 0}}
    records = [
        record(label, frames, "params", "params_total", 121_566_352, **place),
        record(label, frames, "macs", "macs_forward", 120_000_000_000, unit="MAC", detail=detail,
               **place),
    ]  # fmt: skip
    head = header(records)
    head["cells"][0]["num_classes"] = num_classes
    return View(frame(records), head)


def test_the_report_holds_records_against_the_figures_of_their_configuration():
    view = measured("video_mamba", {})
    table = published_tables.published(view)
    params, macs = table.rows
    assert (params["published"].text, params["ours"].text) == ("74 M", "121.6 M")
    assert params["verdict"].text == "not explained"
    assert params["verdict"].tone == "bad"
    assert macs["ours"].source.number == 2
    assert macs["difference"].value == pytest.approx(120 / 101 - 1)
    assert macs["alike"].value == 100_000_000_000
    assert "x_proj" in macs["verdict"].text
    assert macs["source"].url == "https://arxiv.org/abs/2403.06977"
    assert "[arXiv 2403.06977, Table 3](https://arxiv.org/abs/2403.06977)" in table.markdown()
    assert table.note.startswith("Of 2 figures, 0 equal as printed, 0 within 1 %, 2 further apart.")
    assert table.raw()["published"].tolist() == [74_000_000, 101_000_000_000]
    assert table.name in [one.name for one in cost_tables.build(view)]


@pytest.mark.parametrize(
    ("model", "options", "frames", "num_classes", "lines"),
    [
        ("timesformer", {}, 8, 400, 4),
        ("timesformer", {"attention_type": "divided"}, 8, 400, 4),  # the default, named
        ("timesformer", {"image_size": 112}, 8, 400, 0),
        ("timesformer", {"drop_path": 0.1}, 8, 400, 0),
        ("timesformer", {}, 8, 18, 0),
        ("timesformer", {}, 4, 400, 0),
        ("pks4", {}, 8, 400, 0),
    ],
)
def test_only_the_same_configuration_is_held_against_a_figure(
    model, options, frames, num_classes, lines
):
    view = measured(model, options, frames, num_classes)
    assert len(published_tables.published(view).rows) == lines
    assert ("published" in [one.name for one in cost_tables.build(view)]) == bool(lines)
