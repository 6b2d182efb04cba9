"""Grids that train tiny contestants, sources with faults, and what a run of them recorded."""

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records import run_file
from pks4.data.errors import VideoError
from pks4.data.video_dataset import Bad
from pks4.train import batches

LEARN = """
[[grids]]
name = "learn"
scale = "tiny"
frames = [2]
task = "temporal"
contestants = ["ours"]
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 3
image_epochs = 1
images = 20
clip_frames = 8
clips = { train = 36, val = 18, test = 19 }
"""
FLOOR = """
[[grids]]
name = "learn"
scale = "tiny"
frames = [2]
{task}
contestants = ["floor"]
measures = ["accuracy"]
{search}

[grids.settings.accuracy]
epochs = {epochs}
split = "val"
image_epochs = 1
images = 20
curve = true
target_top1 = 0.01
clip_frames = 8
clips = {{ train = 36, val = 18, test = 18 }}
"""


def with_settings(inputs, **changes):
    settings = {**inputs.settings, **changes}
    return MeasureInput(
        inputs.cell.model_copy(update={"settings": {"accuracy": settings}}), settings
    )


class Gaps(batches.InMemory):
    """Clips of noise, of which every fifth cannot be read."""

    def at(self, epoch, index):
        error = VideoError(f"clips/{index}.mp4", "open", "not a video")
        return Bad(index, error) if index % 5 == 0 else super().at(epoch, index)


def learn(task='task = "temporal"', search="", epochs=1):
    """A grid that trains the floor."""
    return FLOOR.format(task=task, search=search, epochs=epochs)


def trainings(path):
    """The records of the trainings of a run, by metric."""
    return {r.metric: r for r in run_file.read(path).records if r.measure == "accuracy"}
