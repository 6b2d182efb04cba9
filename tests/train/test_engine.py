"""The engine: exact resume, many processes as one, augmentation of whole clips, equal compute."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from pks4.errors import UserError
from pks4.train import batches, checkpoint
from pks4.train.augment import Augment, check_task
from pks4.train.engine import Diverged, Options, fit
from pks4.train.optimizer import optimiser_of
from pks4.train.recipe import Recipe

CLIPS = 80


def quiet(done, total, text):
    """A progress callback that says nothing."""


class Net(nn.Module):
    """Two layers and dropout, so that the stream of random numbers matters."""

    def __init__(self, width=6):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(96, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, 4)
        )

    def forward(self, video):
        return self.net(video)


def source(clips=CLIPS):
    """Clips (n, 2, 3, 4, 4) of noise, with labels from 0 to 3."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (clips, 2, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return batches.InMemory(video, torch.arange(clips) % 4)


def recipe(**changes):
    """A short recipe with something random in every part."""
    given = {"learning_rate": 0.01, "epochs": 4, "batch_size": 8, "jitter": 0.2, "mixup": 0.3}
    return Recipe(**given | changes)


def trained(progress=quiet, model=None, wanted=None, **options):
    """A trained model and its history."""
    model = model or Net()
    history = fit(model, source(), wanted or recipe(), progress, Options(classes=4, **options))
    return model, history


def equal(one, other):
    """Whether two models have the same weights to the bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class Cut(Exception):
    """A training is stopped."""


def cut_after(epoch):
    """A progress callback that stops the training after an epoch."""

    def progress(done, total, text):
        if done == epoch:
            raise Cut

    return progress


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_resumed_training_is_the_same_to_the_bit(tmp_path, optimiser):
    wanted, saved = recipe(optimiser=optimiser), tmp_path / "c.pt"
    whole, history = trained(wanted=wanted)
    with pytest.raises(Cut):
        trained(cut_after(2), wanted=wanted, saved=saved)
    again, resumed = trained(wanted=wanted, saved=saved)
    assert resumed.resumed_at == [2]
    assert resumed.losses == history.losses
    assert equal(whole, again)


KILLED = """
import os, signal, sys, torch
sys.path.insert(0, {root!r})
from tests.train.test_engine import *
from pks4.train import engine
step, count = engine._Training._step, []
def dying(self, size):
    count.append(1)
    if len(count) == 25:  # in the middle of the third epoch of ten steps
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, size)
engine._Training._step = dying
trained(saved=Path({saved!r}))
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_weights(tmp_path):
    saved = tmp_path / "c.pt"
    code = KILLED.format(root=str(Path(__file__).parents[2]), saved=str(saved))
    child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    again, resumed = trained(saved=saved)
    whole, history = trained()
    assert resumed.resumed_at == [2]
    assert resumed.losses == history.losses
    assert equal(whole, again)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"wanted": recipe(learning_rate=0.02)}, "another recipe"),
        ({"model": Net(7)}, "another model"),
        ({"about": {"data": "other"}}, "another data"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, changes, what):
    saved = tmp_path / "c.pt"
    with pytest.raises(Cut):
        trained(cut_after(1), saved=saved, about={"data": "this"})
    given = {"about": {"data": "this"}, **changes}
    with pytest.raises(UserError, match=f"{what}; delete it"):
        trained(saved=saved, **given)


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="not a checkpoint"):
        trained(saved=tmp_path / "c.pt")


def test_when_the_disk_is_full_the_old_checkpoint_stays(tmp_path):
    saved = tmp_path / "c.pt"
    with pytest.raises(Cut):
        trained(cut_after(1), saved=saved)
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as if no more went in
    try:
        with pytest.raises(UserError, match="free some space and resume"):
            trained(saved=saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.pt"]
    assert trained(saved=saved)[1].resumed_at == [1]


PROCESS = """
import sys, torch
sys.path.insert(0, {root!r})
from tests.train.test_engine import *
model, history = trained(model=plain(), wanted=same())
if os.environ["RANK"] == "0":
    torch.save(history.losses, {out!r})
"""


def plain():
    """A model without dropout, whose result does not depend on which process sees a clip."""
    model = Net()
    model.net[3] = nn.Identity()
    return model


def same():
    """Twenty steps of one clip... as one epoch each, so that every step's loss is told."""
    return recipe(epochs=20, batch_size=CLIPS, mixup=0.0)


@pytest.mark.slow
def test_two_machines_of_torchrun_are_one_with_the_double_batch(tmp_path):
    """Two agents of torchrun, each with a process of its own, as on two machines."""
    script, out = tmp_path / "training.py", tmp_path / "losses.pt"
    script.write_text(PROCESS.format(root=str(Path(__file__).parents[2]), out=str(out)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(i),
             "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port,
             str(script)],
            stderr=subprocess.PIPE, env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        )
        for i in range(2)
    ]  # fmt: skip
    for agent in agents:
        _, err = agent.communicate(timeout=240)
        assert agent.returncode == 0, err.decode()
    alone = trained(model=plain(), wanted=same())[1].losses
    both = torch.load(out, weights_only=True)
    assert len(both) == 20
    assert both == pytest.approx(alone, abs=1e-4)
    assert alone[-1] < alone[0] - 0.01


def test_parts_of_a_batch_are_the_batch():
    whole = trained(model=plain(), wanted=recipe(mixup=0.0))[1].losses
    parts = trained(model=plain(), wanted=recipe(mixup=0.0, accumulate=4))[1].losses
    assert parts == pytest.approx(whole, abs=1e-5)


def test_each_process_takes_its_own_share_of_each_batch():
    shares = [
        [i for part in batches.EpochBatches(10, 4, 0, process=p, processes=2) for _, i in part]
        for p in range(2)
    ]
    assert sorted(shares[0] + shares[1]) == list(range(10))
    assert batches.EpochBatches(9, 4, 0, processes=2).sizes() == [4, 4]  # one clip is not for two


def test_all_frames_of_a_clip_change_alike_and_the_same_clip_the_same_way():
    video = source(1).video[:1, :1].expand(-1, 2, -1, -1, -1)[0]
    change = Augment(recipe(crop_padding=1, randaugment=2, crop_scale=0.5), (4, 4))
    seen = change(video, 3, 7)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen, change(video, 3, 7))
    assert not torch.equal(seen, change(video, 4, 7))


@pytest.mark.slow
def test_workers_change_nothing():
    assert trained(wanted=recipe(workers=2))[1].losses == trained()[1].losses


@pytest.mark.parametrize("task", ["temporal", "long"])
def test_what_tells_left_from_right_is_not_flipped(task):
    with pytest.raises(UserError, match="set it false"):
        check_task(recipe(flip=True), task)
    check_task(recipe(flip=True), "spatial")


def test_at_equal_compute_the_steps_are_what_fits_and_the_rate_falls_to_its_end():
    wanted = recipe(training_macs=250 * 8.0)
    history = fit(Net(), source(), wanted, quiet, Options(classes=4, clip_macs=10))
    assert history.steps == 25
    assert history.epoch_clips == [80, 80, 40]
    factor = recipe(warmup_epochs=0).factor(10, 25)
    assert (factor(0), factor(25)) == (1, pytest.approx(0, abs=1e-12))
    with pytest.raises(UserError, match="less than one step"):
        recipe(training_macs=1.0).steps(10, 10)


def test_steps_and_warm_up_by_hand():
    factor = recipe(schedule="step", milestones=(2, 3), warmup_epochs=0.5).factor(10, 40)
    assert [factor(s) for s in (0, 4, 5, 19, 20, 30)] == pytest.approx([0.2, 1, 1, 1, 0.1, 0.01])


def test_a_diverged_training_tells_its_curve():
    def broken(output, label):
        count.append(1)
        return output.sum() * (float("nan") if len(count) > 25 else 0.0)

    count = []
    with pytest.raises(Diverged, match="epoch 3") as caught:
        trained(loss=broken)
    assert caught.value.detail["losses"] == [0, 0]


def test_an_unknown_key_and_a_value_out_of_range_are_told():
    with pytest.raises(UserError, match="did you mean 'learning_rate'"):
        Recipe.of({"learning_rat": 1})
    for changes in ({"optimiser": "adam"}, {"batch_size": 0}, {"weight_decay": -1.0}):
        with pytest.raises(UserError, match="recipe: "):
            recipe(**changes)


def test_time_spent_waiting_for_data_is_told():
    class Slow(batches.InMemory):
        def at(self, epoch, index):
            time.sleep(0.002)
            return super().at(epoch, index)

    clips = source()
    history = fit(Net(), Slow(clips.video, clips.label), recipe(epochs=1, mixup=0.0), quiet)
    assert 0.16 <= history.wait_seconds[0] <= history.seconds[0]


def test_a_checkpoint_is_there_whole_or_not_at_all(tmp_path):
    model = Net()
    optimiser = optimiser_of(model, recipe())
    checkpoint.save(tmp_path / "c.pt", {"model": "m"}, model, optimiser, checkpoint.History())
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    assert checkpoint.load(tmp_path / "none.pt", {}, model, optimiser) is None
