"""A training in shards over several ranks is the training of one process, cut and taken up too."""

import contextlib

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from pks4.bench.measure import accuracy
from pks4.bench.measure.parts import ranks
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.errors import UserError
from pks4.train import batches, checkpoint, sharding
from pks4.train.engine import Options, fit
from pks4.train.optimizer import block_of, optimiser_of
from pks4.train.recipe import Recipe
from tests.factories.models import VARIANTS, clip, frames_that_fit, shake, tiny
from tests.factories.trainings import LEARN, Gaps, with_settings

pytestmark = pytest.mark.slow

TWENTY = Recipe(learning_rate=0.01, epochs=20, batch_size=18, warmup_epochs=5, clip_norm=0.5)


class Net(nn.Module):
    """Two blocks, the first of them frozen if that is asked for, a norm, dropout, and a scalar."""

    def __init__(self, frozen=False, dropout=0.0, norm=nn.LayerNorm):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(96, 7), nn.Linear(7, 7)])
        self.norm, self.drop = norm(7), nn.Dropout(dropout)
        self.scale, self.head = nn.Parameter(torch.tensor(1.5)), nn.Linear(7, 4)
        self.blocks[0].requires_grad_(not frozen)

    def forward(self, video):
        x = video.flatten(1)
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(self.norm(self.drop(x)) * self.scale)


def source(kind=batches.InMemory):
    """Eighteen clips (2, 3, 4, 4) of noise with labels from 0 to 3."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (18, 2, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return kind(video, torch.arange(18) % 4)


def trained(how, model=None, recipe=TWENTY, kind=batches.InMemory, **options):
    """Losses, and the weights as lists, after a training; the model is left whole."""
    model = model or Net()
    told = fit(model, source(kind), recipe, lambda *_: None, Options(sharding=how, **options))
    assert type(model) is Net
    weights = {name: x.tolist() for name, x in model.state_dict().items()}
    return {"losses": told.losses, "weights": weights, "told": told}


def changed(**changes):
    return Recipe(**{**vars(TWENTY), **changes})


KINDS = {
    "tuned": trained,
    "frozen": lambda how: trained(how, Net(frozen=True)),
    "in parts": lambda how: trained(how, recipe=changed(accumulate=3)),
    "sgd, not clipped": lambda how: trained(how, recipe=changed(optimiser="sgd", clip_norm=0.0)),
    "bf16": lambda how: trained(how, recipe=changed(precision="bf16", epochs=3)),
    "few clips to read": lambda how: trained(
        how, recipe=changed(batch_size=2, epochs=2), kind=Gaps, max_bad=0.3
    ),
}


class Cut(Exception):
    """Ends a training in the middle; test_ranks.py kills one."""


def kept(how, saved, epochs=4, cut_in=None):
    """A training with dropout that keeps a checkpoint; in epoch `cut_in` it is cut."""
    validated = []

    def validate(model):
        validated.append(1)
        assert type(model) is Net
        if len(validated) == cut_in:
            raise Cut
        return 0.5

    model, recipe = Net(dropout=0.5), changed(batch_size=6, epochs=epochs)
    return trained(how, model, recipe, saved=saved, after_epoch=validate)


def everything(inputs):
    """All kinds of training in shards, by name; one whole, one taken up; and a whole cell."""
    found = {name: train("full") for name, train in KINDS.items()}
    found["whole"] = kept("full", inputs.scratch / "whole.pt")
    with contextlib.suppress(Cut):
        kept("full", inputs.scratch / "cut.pt", cut_in=3)
    found["again"] = kept("full", inputs.scratch / "cut.pt")
    for how in ("none", "full"):
        found[f"batch norm, {how}"] = trained(how, Net(norm=nn.BatchNorm1d))
    found["cell"] = list(accuracy.in_this_process(inputs))
    return [found]


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A tiny training of a frozen PKS4 whose ranks have unequal shares, in unequal chunks."""
    path = tmp_path_factory.mktemp("suite") / "learn.toml"
    path.write_text(f"""
name = "learn"
title = "Learn"

[[contestants]]
label = "ours"
model = "pks4"
options = {{ width = 24, depth = 2, heads = 3, state = 2, radius = 1, frame_chunk = 8 }}
{LEARN}
batch_size = 9
curve = true
""")
    (cell,) = plan(read_suite(path)[0])
    return cell


@pytest.fixture(scope="module")
def alone(cell):
    """The cell in one process; what it needs is in the cache from then on."""
    return {r.metric: r for r in accuracy.measure(MeasureInput(cell, cell.settings["accuracy"]))}


@pytest.fixture(scope="module")
def sharded(cell, alone, tmp_path_factory):
    """What two ranks find."""
    folder = tmp_path_factory.mktemp("kept")
    settings = {**cell.settings["accuracy"], "processes": 2, "sharding": "full"}
    inputs = MeasureInput(cell, settings, scratch=folder)
    (found,) = ranks.run(everything, inputs, 2)
    return {**found, "folder": folder}


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_in_shards_are_one_process_with_the_whole_batch(sharded, kind):
    one, two = KINDS[kind]("none"), sharded[kind]
    close = 1e-2 if kind == "bf16" else 1e-4
    assert two["losses"] == pytest.approx(one["losses"], abs=close)
    assert two["told"].epoch_clips == one["told"].epoch_clips
    for name, weight in one["weights"].items():
        assert torch.allclose(
            torch.tensor(two["weights"][name]), torch.tensor(weight), atol=close
        ), name


def test_batch_norms_count_what_the_first_rank_saw_as_without_shards(sharded):
    ddp, shards = (sharded[f"batch norm, {how}"]["weights"] for how in ("none", "full"))
    for name in ("norm.running_mean", "norm.running_var"):
        assert shards[name] == pytest.approx(ddp[name], abs=1e-5)
    assert shards["norm.num_batches_tracked"] == ddp["norm.num_batches_tracked"] == 20


def test_some_of_these_trainings_learn(sharded):
    assert sharded["tuned"]["losses"][-1] < sharded["tuned"]["losses"][0] - 0.1
    first = Net().blocks[0].weight.tolist()
    assert sharded["frozen"]["weights"]["blocks.0.weight"] == first
    assert sharded["tuned"]["weights"]["blocks.0.weight"] != first


def test_cut_in_shards_it_goes_on_to_the_same_weights(sharded):
    whole, again = sharded["whole"], sharded["again"]
    assert again["told"].resumed_at == [2]
    assert again["losses"] == whole["losses"]
    assert again["weights"] == whole["weights"]


def test_a_checkpoint_knows_nothing_of_shards(sharded, tmp_path):
    ours = torch.load(sharded["folder"] / "whole.pt", weights_only=True)
    kept("none", tmp_path / "one.pt")
    plain = torch.load(tmp_path / "one.pt", weights_only=True)
    assert ours["key"] == plain["key"]
    assert ours["optimiser"]["param_groups"] == plain["optimiser"]["param_groups"]
    for one, other in (
        (ours["model"], plain["model"]),
        *zip(*(s["optimiser"]["state"].values() for s in (ours, plain)), strict=True),
    ):
        assert {k: (x.shape, x.dtype) for k, x in one.items()} == {
            k: (x.shape, x.dtype) for k, x in other.items()
        }
    model = Net(dropout=0.5)
    optimiser = optimiser_of(model, TWENTY)
    history = checkpoint.load(sharded["folder"] / "whole.pt", ours["key"], model, optimiser)
    assert history.resumed_at == [4]
    assert {k: x.tolist() for k, x in model.state_dict().items()} == sharded["whole"]["weights"]


def test_a_cell_in_shards_has_the_numbers_of_one_process_and_says_what_ran(alone, sharded):
    both = {r.metric: r for r in sharded["cell"]}
    assert both.keys() == alone.keys()
    losses = [found["final_train_loss"].detail["losses"] for found in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert both["top1"].detail["predicted"] == alone["top1"].detail["predicted"]
    assert both["val_top1_best"].value == alone["val_top1_best"].value
    assert alone["top1"].evidence["parallel"] == "one process"
    assert both["top1"].evidence["parallel"] == "fsdp2"
    assert both["top1"].evidence["recipe"] == alone["top1"].evidence["recipe"]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ('sharding = "full"', "grid 'learn': sharding = \"full\" .* raise processes"),
        ('sharding = "ful"\nprocesses = 2', "grid 'learn': unknown sharding 'ful'; did you mean"),
    ],
)
def test_a_sharding_that_cannot_be_is_one_line_before_the_run(suite_file, setting, line):
    suite, _ = read_suite(suite_file(more=f"{LEARN}\n{setting}"))
    with pytest.raises(UserError, match=line):
        plan(suite)


def test_one_process_does_not_shard():
    with pytest.raises(UserError, match=r'sharding = "full" .* processes is 1'):
        trained("full")


def test_a_run_from_before_the_setting_goes_on_without_it(cell):
    old = {k: v for k, v in cell.settings["accuracy"].items() if k != "sharding"}
    found = next(iter(accuracy.measure(with_settings(MeasureInput(cell, old), epochs=1))))
    assert found.evidence["parallel"] == "one process"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world of one rank, this process."""
    store = tmp_path_factory.mktemp("world") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield torch.device("cpu")
    dist.destroy_process_group()


def in_shards(model, video, device):
    """The sharded copy of a model, and the names of its units."""
    names, recipe = sharding.units(model, video[:1]), Recipe(learning_rate=0.1, epochs=1)
    copied = sharding.Sharded(model, optimiser_of(model, recipe), recipe, names, device)
    return copied.net, names


FIRST = {variant.values[0]: variant for variant in reversed(VARIANTS)}
OURS = [variant for variant in VARIANTS if variant.values[0] == "pks4"]


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")  # adapters; in-place ops
@pytest.mark.parametrize(("name", "options"), [*{**FIRST, "pks4": OURS[0]}.values(), *OURS[1:]])
def test_every_contestant_computes_the_same_in_shards(name, options, world):
    frames = next(t for t in (3, 4, 8) if frames_that_fit(name, options, t))
    model, video = shake(tiny(name, options, frames)), clip(frames)
    net, names = in_shards(model, video, world)
    assert names
    for one in (model, net):
        torch.manual_seed(3)
        cross_entropy(one.train()(video), torch.tensor([0, 1])).backward()
    for (key, plain), shards in zip(model.named_parameters(), net.parameters(), strict=True):
        assert (plain.grad is None) == (shards.grad is None), key
        if plain.grad is not None:
            found, bound = shards.grad.full_tensor().view(plain.shape), plain.grad.abs().max()
            assert (found - plain.grad).abs().max() <= 1e-3 * bound, key


def test_what_others_reach_into_is_no_unit_but_its_layers_are():
    class Reaching(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)) for _ in range(3)]
            self.blocks, self.tiny = nn.ModuleList(layers), nn.ModuleList([nn.LayerNorm(1)])

        def forward(self, x):
            called, reached, both = self.blocks
            return self.tiny[0](both(both[0](reached[1](called(x))))[..., :1])

    names = sharding.units(Reaching(), torch.zeros(1, 8))
    assert names == ["blocks.0", "blocks.1.1", "blocks.2.0", "blocks.2.1"]


def test_the_block_of_a_weight_by_its_name():
    names = ["net.blocks.11.mlp.0.weight", "0.bias", "head.weight", "list.3"]
    assert [block_of(name) for name in names] == ["net.blocks.11", "0", None, None]


def test_who_has_fewer_clips_passes_as_many_and_gets_its_own_outputs():
    seen = []
    net = nn.Linear(2, 3)
    net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    level, video = sharding.EqualPasses(net, 4, None), torch.randn(3, 2)
    assert torch.equal(level(video), net(video))
    level.zero_loss(video[:1]).backward()
    assert seen == [4, 3, 4]
    assert not net.weight.grad.any()
