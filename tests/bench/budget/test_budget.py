"""A cost on paper is arithmetic: every number here is worked out by hand."""

import json

import pytest
from typer.testing import CliRunner

from pks4.bench.budget import data_size
from pks4.bench.budget.budget import Speed
from pks4.bench.contestants import catalogue
from pks4.cli import app
from pks4.errors import UserError
from tests.factories.made_index import made_index

# A linear layer on the mean colour: 3 x classes MACs forward, and as many for its weight backward.
MODEL = '''"""Mean pixel (2D floor): a linear layer on the mean colour of a clip."""

from torch import nn


class MeanPixel(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))


def build(*, frames, num_classes, image_size=224):
    return MeanPixel(num_classes)
'''
SUITE = """
name = "paper"
title = "On paper"

[[contestants]]
label = "pixel"
model = "mean_pixel"

[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
num_classes = 400
measures = ["accuracy"]
{grid}

[grids.settings.accuracy]
epochs = 3
batch_size = 4
{accuracy}
"""
TASK = 'task = "temporal"'  # 18 classes
CLIPS = "clips = { train = 10, val = 5, test = 6 }"
STEP, VIEW = 2 * 3 * 18, 3 * 18  # MACs of a clip in training and of a view in scoring
SPEED = ("--tflops", "1e-9", "--utilisation", "0.5")  # 1000 FLOP/s, half of it used
MACS_PER_SECOND = 1000 * 0.5 / 2


@pytest.fixture
def paper(tmp_path, suite_file, monkeypatch):
    """A function that runs `plan --cost` on a suite with one linear model."""
    model = tmp_path / "mean_pixel.py"
    model.write_text(MODEL)
    monkeypatch.setenv(catalogue.ADDED, str(model))

    def run(*more, grid=TASK, accuracy=CLIPS):
        suite = suite_file("paper", text=SUITE.format(grid=grid, accuracy=accuracy))
        return CliRunner().invoke(app, ["plan", str(suite), "--cost", *map(str, more)])

    return run


def only(done):
    """The document that was printed, and its one training."""
    found = json.loads(done.stdout)
    (training,) = found["trainings"]
    return found, training


def test_macs_hours_and_clips_a_second_by_hand(paper):
    found, training = only(paper("--json", *SPEED))
    assert training["clips_trained"] == 3 * 10
    assert training["training_macs"] == 30 * STEP
    assert training["scoring_macs"] == 6 * VIEW
    hours = (30 * STEP + 6 * VIEW) / MACS_PER_SECOND / 3600
    assert training["gpu_hours"] == pytest.approx(hours)
    assert found["total_gpu_hours"] == pytest.approx(hours)
    assert training["clips_per_second_per_gpu"] == pytest.approx(MACS_PER_SECOND / STEP)
    assert training["frames_per_second_per_gpu"] == pytest.approx(4 * MACS_PER_SECOND / STEP)
    assert training["decoders_per_gpu"] is None


def test_a_curve_scores_the_validation_split_after_each_epoch(paper):
    _, training = only(paper("--json", accuracy=CLIPS + "\ncurve = true"))
    assert training["scoring_macs"] == (6 + 3 * 5) * VIEW


def test_a_budget_of_macs_trains_on_what_fits_in_it(paper):
    fits = 2 * 4 * STEP + 1  # two batches of four
    _, training = only(paper("--json", accuracy=f"{CLIPS}\ntraining_macs = {fits}.0"))
    assert training["clips_trained"] == 8


def test_each_seed_is_a_training(paper):
    found = json.loads(paper("--json", grid=f"{TASK}\nseeds = [0, 1]").stdout)
    assert [t["clips_trained"] for t in found["trainings"]] == [30, 30]


def test_a_published_data_set_has_its_sizes_views_and_bytes(paper):
    views = 'split = "val"\neval_clips = 2\neval_crops = 3'
    grid = 'data_set = "kinetics400"'
    found, training = only(paper("--json", grid=grid, accuracy=views))
    figures = data_size.read()
    train, val = (int(figures["kinetics400", f"clips_{s}"].value) for s in ("train", "val"))
    assert training["training_macs"] == 3 * train * 2 * 3 * 400
    assert training["scoring_macs"] == 2 * 3 * val * 3 * 400
    (data,) = found["data"]
    assert data["bytes"] == figures["kinetics400", "bytes"].value
    assert any("https://" in source for source in data["sources"])
    assert found["speed"]["tflops"] == figures["gpu", "flops_per_second"].value / 1e12
    assert any(figures["gpu", "utilisation"].source_url in s for s in found["speed"]["sources"])


def test_a_mean_size_of_a_clip_gives_the_bytes(paper):
    found, _ = only(paper("--json", "--clip-mb", "0.5"))
    assert found["data"][0]["bytes"] == (10 + 5 + 6) * 0.5e6


def test_an_index_counts_what_is_there(paper, tmp_path):
    index = made_index(tmp_path, train=9, val=5)
    found, training = only(
        paper("--json", "--data", index.root, grid='data_set = "ssv2"', accuracy='split = "val"')
    )
    assert training["clips_trained"] == 3 * 9
    assert training["scoring_macs"] == 5 * 3 * len(index.classes)
    assert found["data"][0]["name"] == "ssv2"


def test_measured_readers_tell_how_many_must_decode(paper, tmp_path):
    told = {"rows": [{"reader": "pyav", "frames": 4, "median_seconds": 0.5},
                     {"reader": "decord", "frames": 4, "median_seconds": 9.0}]}  # fmt: skip
    readers = tmp_path / "readers.json"
    readers.write_text(json.dumps(told))
    _, training = only(paper("--json", "--readers", readers, *SPEED))
    assert training["decoders_per_gpu"] == pytest.approx(0.5 * MACS_PER_SECOND / STEP)
    assert "decoders a GPU" in paper("--readers", readers).stdout


def test_the_table_says_what_it_rests_on_and_what_it_leaves_out(paper):
    said = paper().stdout
    for part in ("GPU hours", "learn/pixel/t4", "10 train, 5 val, 6 test", "utilisation: https://",
                 "Not counted:", "macs/v1"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("more", "change", "said"),
    [
        (("--tflops", "0"), {}, "--tflops is 0; give more than 0"),
        (("--utilisation", "1.5"), {}, "--utilisation is 1.5; give a share"),
        (("--readers", "no.json"), {}, "--readers no.json: cannot be read as JSON"),
        ((), {"grid": 'data_set = "hmdb51"', "accuracy": ""}, "no published size of 'hmdb51'"),
        ((), {"accuracy": "clips = { train = 10, val = 5 }"}, "unknown split 'test'"),
        ((), {"accuracy": f"{CLIPS}\nprocesses = 8"}, "batch_size 4 is less than"),
    ],
)
def test_what_cannot_be_worked_out_is_one_clear_line(paper, more, change, said):
    error = paper(*more, **change).exception
    assert isinstance(error, UserError)
    assert said in str(error)
    assert "\n" not in str(error)


def test_a_file_without_times_is_named(paper, tmp_path):
    readers = tmp_path / "readers.json"
    readers.write_text("[]")
    assert "readers.json: holds no times" in str(paper("--readers", readers).exception)


def test_a_suite_that_trains_nothing_and_an_option_without_cost_are_refused(suite_file):
    invoke = CliRunner().invoke
    assert "no cell of this suite trains" in str(
        invoke(app, ["plan", str(suite_file()), "--cost"]).exception
    )
    assert "--clip-mb goes with --cost" in str(
        invoke(app, ["plan", str(suite_file()), "--clip-mb", "1"]).exception
    )


def test_a_speed_is_its_peak_times_what_is_used_of_it():
    assert Speed(tflops=312, utilisation=0.5).macs_per_second == 312e12 / 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpu,peak,x,https://a,b,", "row 2, column value: must be a number above 0, got 'x'"),
        ("gpu,peak,1,http://a,b,", "row 2, column source_url: must begin with https://"),
        ("gpu,peak,1", "row 2: 3 fields instead of 6"),
        ("gpu,p,1,https://a,b,\ngpu,p,2,https://a,b,", "row 3: gpu p stands twice"),
    ],
)
def test_a_wrong_line_of_the_figures_is_named(tmp_path, line, said):
    path = tmp_path / "cost.csv"
    path.write_text(f"{','.join(data_size.COLUMNS)}\n{line}\n")
    with pytest.raises(UserError, match=said):
        data_size.read(path)
