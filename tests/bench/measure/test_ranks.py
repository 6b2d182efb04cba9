"""A cell in several processes: the same training as in one, and no hang when a rank dies."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from pks4.bench.measure import accuracy
from pks4.bench.measure.parts import ranks
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.errors import UserError
from pks4.train import batches
from pks4.train.checkpoint import History
from pks4.train.engine import Diverged, Options, fit
from pks4.train.predict import predict
from pks4.train.recipe import Recipe
from tests.factories.suites import SUITE, only_last_grid
from tests.factories.trainings import LEARN, Gaps, with_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A tiny training."""
    path = tmp_path_factory.mktemp("suite") / "learn.toml"
    path.write_text(SUITE.format(name="learn", more=LEARN))
    cell = plan(read_suite(path)[0])[-1]
    return MeasureInput(cell, cell.settings["accuracy"])


def test_two_processes_train_and_score_as_one_does(inputs):
    alone = {r.metric: r for r in accuracy.measure(inputs)}
    both = {r.metric: r for r in accuracy.measure(with_settings(inputs, processes=2))}
    assert both.keys() == alone.keys()
    losses = [found["final_train_loss"].detail["losses"] for found in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert both["top1"].detail["label"] == alone["top1"].detail["label"]
    assert both["top1"].detail["predicted"] == alone["top1"].detail["predicted"]
    assert (alone["top1"].evidence["processes"], both["top1"].evidence["processes"]) == (1, 2)
    assert both["top1"].evidence["features"] == "computed each epoch: 2 processes"
    assert both["training_macs"].value == both["training_macs"].detail["macs_computed"]


def dying(inputs):
    """The second rank is killed while the first waits for it."""
    import torch.distributed as dist

    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return []


def diverging(inputs):
    raise Diverged("loss nan in epoch 2", History(losses=[1.0]))


def gappy(inputs):
    """Losses of a training in which a process often has no clip, and what is said of bad ones."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (20, 2, 3, 4, 4), dtype=torch.uint8, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 4))
    model.register_buffer("spare", torch.zeros(1))  # what processes would meet over, too
    source, options = Gaps(video, torch.arange(20) % 4), Options(max_bad=0.2)
    recipe = Recipe(learning_rate=0.01, epochs=3, batch_size=2, accumulate=1)
    told = fit(model, source, recipe, lambda *_: None, options)
    found = predict(model, source, max_bad=0.2)
    return [told.losses, told.epoch_clips, told.bad, told.bad_named, found.index.tolist(),
            [item.name for item in found.bad], found.scores.tolist()]  # fmt: skip


def kept(inputs):
    """The weights after a training that keeps a checkpoint; with `fatal`, rank 1 dies in it."""
    import torch.distributed as dist

    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (16, 2, 3, 4, 4), dtype=torch.uint8, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 4), nn.Dropout(0.5))
    validated = []

    def validate(_):
        validated.append(1)
        if inputs.settings["fatal"] and len(validated) == 2 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.5

    options = Options(saved=inputs.scratch / "training.pt", after_epoch=validate)
    recipe = Recipe(learning_rate=0.01, epochs=4, batch_size=2, accumulate=1)
    told = fit(
        model, batches.InMemory(video, torch.arange(16) % 4), recipe, lambda *_: None, options
    )
    weights = {name: x.tolist() for name, x in model.state_dict().items()}
    return [told.losses, told.resumed_at, weights]  # a tensor would need its process


def healthy(inputs):
    """All that two ranks do without harm, in one start of them; each would give another rank.

    The training `again` goes on where another two were when one of them was killed.
    """
    import torch.distributed as dist

    inputs.progress(1, 2, "half")
    settings = inputs.settings | {"fatal": False}
    whole = MeasureInput(inputs.cell, settings, scratch=inputs.scratch / "whole")
    again = MeasureInput(inputs.cell, settings, scratch=inputs.scratch)
    return [{"gappy": gappy(inputs), "whole": kept(whole), "again": kept(again),
             "rank": dist.get_rank()}]  # fmt: skip


@pytest.fixture(scope="module")
def together(inputs, tmp_path_factory):
    """What two ranks give, and the progress that was heard of them."""
    heard = []
    folder = tmp_path_factory.mktemp("two")
    fatal = MeasureInput(inputs.cell, {**inputs.settings, "fatal": True}, scratch=folder)
    with pytest.raises(ranks.RankFailed, match="killed by signal 9"):
        ranks.run(kept, fatal, 2)
    told = MeasureInput(inputs.cell, inputs.settings, lambda *step: heard.append(step), folder)
    (found,) = ranks.run(healthy, told, 2)
    return found | {"progress": heard}


def test_a_process_without_a_readable_clip_waits_for_nobody(inputs, together):
    alone, both = gappy(inputs), together["gappy"]
    assert both[0] == pytest.approx(alone[0], abs=1e-4)
    assert both[1:6] == alone[1:6]
    assert both[1:4] == [[16] * 3, [4] * 3, [f"clips/{k}.mp4 [open]" for k in (0, 10, 15, 5)]]
    assert torch.allclose(torch.tensor(both[6]), torch.tensor(alone[6]), atol=1e-4)


def test_a_rank_killed_in_training_leaves_a_checkpoint_that_leads_to_the_same_weights(together):
    losses, _, weights = together["whole"]
    again, resumed_at, after = together["again"]
    assert again == losses
    assert resumed_at in ([1], [2])  # the other rank may have saved the epoch before it was ended
    assert weights == after


def test_a_rank_that_dies_ends_the_others_and_is_told(inputs):
    started = time.perf_counter()
    with pytest.raises(ranks.RankFailed, match="rank 1 of the training was killed by signal 9"):
        ranks.run(dying, inputs, 2)
    assert time.perf_counter() - started < 45


@pytest.mark.usefixtures("one_fork_server")
def test_a_rank_that_is_killed_at_work_ends_its_cell_with_a_record(suite_file, tmp_path):
    text = suite_file(more=LEARN.replace("epochs = 3", "epochs = 300\nprocesses = 2")).read_text()
    suite = suite_file(text=only_last_grid(text))
    session = run.start(*read_suite(suite), tmp_path / "runs")
    killed = []

    def kill_the_last(cell, event):
        ranks_now = _ranks_below(os.getpid()) if event["event"] == "progress" else []
        if ranks_now and not killed:  # the image model came first, in the worker itself
            killed.append(max(ranks_now))
            os.kill(killed[0], signal.SIGKILL)

    run.execute(session, 1, kill_the_last)
    assert killed
    found = run_file.read(session.path)
    (record,) = found.records
    assert (record.metric, record.status) == ("*", "failed")
    assert re.fullmatch(r"rank [01] of the training was killed by signal 9; .*", record.reason)
    assert found.missing() == {}
    assert _ranks_below(os.getpid()) == []


def _ranks_below(ancestor):
    """Process ids of the ranks that descend from a process."""
    parents, ranks = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            line = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(stat[1])
        if "spawn_main" in line and stat[0] != "Z":
            ranks.append(int(folder.name))
    found = []
    for rank in ranks:
        above = rank
        while above in parents and above != ancestor:
            above = parents[above]
        found += [rank] if above == ancestor else []
    return found


def test_a_failure_keeps_its_reason_and_what_it_knew(inputs):
    with pytest.raises(ranks.RankFailed, match=r"^Diverged: loss nan in epoch 2$") as caught:
        ranks.run(diverging, inputs, 1)
    assert caught.value.detail["losses"] == [1.0]


def test_the_first_ranks_readings_and_progress_count(together):
    assert together["rank"] == 0
    assert together["progress"] == [(1, 2, "half")]


def test_more_processes_than_gpus_are_refused(inputs):
    with pytest.raises(UserError, match="each process takes one"):
        ranks.run(dying, with_settings(inputs, device="cuda"), 99)
