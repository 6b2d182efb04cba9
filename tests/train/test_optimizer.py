"""Layer decay: a parameter learns at the rate of its depth, a plugged-in module at its place's."""

import pytest
from torch import nn

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import build
from pks4.train.optimizer import depths, optimiser_of
from pks4.train.recipe import Recipe


def depths_of(model):
    """Depths of all parameters of a model."""
    return depths([name for name, _ in model.named_parameters()], getattr(model, "follows", {}))


def built(name, scale, **options):
    """A contestant on meta."""
    entry = catalogue.models()[name]
    options = {**entry.facts["SCALES"][scale], **options}
    return build(entry, options, frames=8, num_classes=3)


def test_layers_below_learn_slower():
    names = ["embed.weight", "blocks.0.w", "blocks.1.w", "head.weight"]
    assert list(depths(names, {}).values()) == [0, 1, 2, 3]
    net = nn.ModuleDict({"embed": nn.Linear(2, 2), "blocks": nn.ModuleList([nn.Linear(2, 2)])})
    groups = optimiser_of(net, Recipe(learning_rate=1.0, epochs=1, layer_decay=0.5)).param_groups
    assert sorted((g["lr_scale"], g["weight_decay"]) for g in groups) == [
        (0.5, 0.0), (0.5, 0.05), (1.0, 0.0), (1.0, 0.05),
    ]  # fmt: skip


@pytest.mark.parametrize(("place", "depth"), [("middle", 6), (0.25, 3), ("top", 13)])
def test_the_module_learns_at_the_rate_of_the_block_that_it_stands_after(place, depth):
    found = depths_of(built("pks4", "paper", insert_after=place, frozen=False))
    module = {d for name, d in found.items() if name.startswith("temporal.")}
    assert module == {depth}  # of blocks 1 to 12; 13: the last norm and the head
    assert found["backbone.net.blocks.5.mlp.fc1.weight"] == 6
    assert found["head.weight"] == 13


def test_the_rate_of_a_module_in_the_middle_decays_from_the_head_down():
    model = built("pks4", "paper", insert_after="middle", frozen=False)
    groups = optimiser_of(model, Recipe(learning_rate=1.0, epochs=1, layer_decay=0.75)).param_groups
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert scales[id(model.temporal.in_proj.weight)] == pytest.approx(0.75**7)
    assert scales[id(model.temporal.mixers[0].A_log)] == pytest.approx(0.75**7)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_a_module_between_the_stages_of_a_cnn_has_the_depth_of_the_stage_below(name):
    model = built("pks4", "tiny", backbone=name, insert_after=0, frozen=False)
    (stage,) = set(model.follows.values())
    found = depths_of(model)
    below = max(d for name, d in found.items() if name.startswith(f"{stage}."))
    assert {d for name, d in found.items() if name.startswith("temporal.")} == {below}


@pytest.mark.parametrize("name", ["attention_on_top", "vivit_fe"])
def test_attention_over_time_stands_above_all_blocks_over_space(name):
    found = depths_of(built(name, "tiny"))
    temporal = {depth for name, depth in found.items() if name.startswith("temporal.")}
    assert temporal == {found["head.weight"]}
