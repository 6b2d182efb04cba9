"""Weights from outside: what fits is loaded whole, what does not is listed, and no code is run."""

import argparse
import copy
import pickle
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from baselines import (
    aim,
    evl,
    frame_mean,
    hf_vivit,
    st_adapter,
    time_mamba,
    timesformer,
    video_mamba,
    videomae,
    vivit_fe,
    zeroi2v,
)
from pks4.weights.files import load_part, load_weights, read_weights, unprefixed
from pks4.weights.official import Official, along, load_official, official_state_dict, on_square

SIZES = {"frames": 2, "num_classes": 5, "width": 24, "depth": 2, "heads": 3}
SIZES |= {"patch_size": 16, "image_size": 32}
SMALL = {
    st_adapter: {**SIZES, "adapter_width": 4},
    evl: {**SIZES, "decoder_layers": 1},
}
one_line = r"^[^\n\x1b]*{}[^\n\x1b]*$"


def noisy(state, seed=0):
    """Other values of the same names and shapes."""
    g = torch.Generator().manual_seed(seed)
    return {k: torch.randn(v.shape, generator=g) for k, v in state.items()}


class Plain(nn.Module):
    """A linear layer under the authors' own names."""

    official = Official()

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)


def cut_pickle(path):
    torch.save({"w": torch.zeros(9)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:100])


def cut_archive(path):
    torch.save({"w": torch.zeros(9)}, path)
    path.write_bytes(path.read_bytes()[:-40])


BROKEN = {
    "empty.pth": lambda path: path.write_bytes(b""),
    "junk.pth": lambda path: path.write_bytes(b"\x80\x04junk"),
    "cut.pth": cut_pickle,
    "archive.pth": cut_archive,
    "empty.safetensors": lambda path: path.write_bytes(b""),
    "junk.npz": lambda path: path.write_bytes(b"\xff" * 64),
    "objects.npz": lambda path: np.savez(path, x=np.array([{}], dtype=object)),
    "junk.safetensors": lambda path: path.write_bytes(b"\xff" * 64),
    "folder.pth": lambda path: path.mkdir(),
    "folder.safetensors": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path, name):
    BROKEN[name](tmp_path / name)
    with pytest.raises(ValueError, match=one_line.format(name)) as error:
        read_weights(tmp_path / name)
    why = (
        "cannot be read: " if name == "folder.pth" else "holds no plain tensors: |cannot be read: "
    )
    assert re.search(rf"{name} ({why})\w+", str(error.value))


def test_a_missing_file_is_named_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=one_line.format(r"there is no file .*none\.pth")):
        read_weights(tmp_path / "none.pth")


class Shout:
    """Pickled, it leaves a mark when somebody unpickles it with code."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_with_code_is_refused_by_name_and_nothing_is_run(tmp_path, legacy):
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    content = {"w": torch.zeros(1), "code": Shout(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=one_line.format(r"it needs io\.open")) as error:
        read_weights(path)
    assert "weights_only" not in str(error.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Shout(mark))).close()
    assert mark.exists()  # it would have been seen


def test_options_of_a_training_script_beside_the_weights_do_no_harm(tmp_path):
    args = argparse.Namespace(lr=0.1, blr=None, betas=(0.9, 0.95), name="finetune")
    torch.save({"model": {"w": torch.ones(2)}, "args": args, "epoch": 3}, tmp_path / "c.pth")
    assert read_weights(tmp_path / "c.pth")["w"].tolist() == [1, 1]


@pytest.mark.parametrize("prefix", ["", "module.", "model.module.", "module.model.", "model."])
@pytest.mark.parametrize(
    "wrappers", [(), ("state_dict",), ("model", "module"), ("module", "state_dict", "model")]
)
def test_wrappers_and_prefixes_come_off_in_any_order(prefix, wrappers):
    model, content = Plain(), noisy(Plain().state_dict())
    want, content = content, {prefix + k: v for k, v in content.items()}
    for wrapper in wrappers:
        content = {wrapper: content, "epoch": 7}
    load_official(model, content)
    assert all(torch.equal(v, want[k]) for k, v in model.state_dict().items())


def test_a_name_that_fits_keeps_what_looks_like_a_prefix():
    given = unprefixed({"module.model.w": 1}, ("module.", "model."), {"model.w"})
    assert given == {"model.w": 1}


@pytest.mark.parametrize("load", ["official", "image"])
def test_two_names_that_fall_on_one_are_named(tmp_path, load):
    model = Plain()
    before, state = copy.deepcopy(model.state_dict()), noisy(model.state_dict())
    torch.save({**state, "module.head.bias": torch.zeros(2)}, tmp_path / "two.pth")
    with pytest.raises(ValueError, match=one_line.format(r"head\.bias and module\.head\.bias")):
        (load_official if load == "official" else load_weights)(model, tmp_path / "two.pth")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_head_of_other_classes_is_listed_under_another_shape():
    small, large = (aim.build(**{**SIZES, "num_classes": n}, adapter_width=4) for n in (5, 7))
    said = r"nothing was loaded; of another shape: cls_head\.fc_cls\.weight \(7, 24\) instead of"
    with pytest.raises(ValueError, match=one_line.format(said)):
        load_official(small, official_state_dict(large))


def test_taking_image_weights_is_all_or_nothing():
    net, state = nn.Linear(3, 2), {"in.weight": torch.ones(2, 3), "in.bias": torch.ones(2)}
    before = copy.deepcopy(net.state_dict())
    faults = {
        "missing: bias": {"in.weight": state["in.weight"]},
        "unknown: more": {**state, "in.more": torch.ones(1)},
        r"of another shape: bias \(3,\) instead of \(2,\)": {**state, "in.bias": torch.ones(3)},
    }
    for said, broken in faults.items():
        with pytest.raises(ValueError, match=one_line.format(f"nothing was loaded; {said}")):
            load_part(net, broken, "in.")
    with pytest.raises(ValueError, match="missing: norm"):
        load_part(net, state, "in.", unused=("norm",))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    load_part(net, {**state, "in.norm": torch.ones(1), "out.bias": torch.ones(1)}, "in.", ("norm",))
    assert net.weight.eq(1).all()
    load_part(net, {"in.weight": torch.zeros(2, 3)}, "in.", keep=("bias",))
    assert net.weight.eq(0).all()
    assert net.bias.eq(1).all()


def test_a_backbone_of_another_width_is_listed_and_changes_nothing():
    model, other = (frame_mean.build(**{**SIZES, "width": w}) for w in (24, 36))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=one_line.format("nothing was loaded; of another shape: ")):
        model.load_image_weights(other.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("module", SMALL)
def test_of_a_frozen_trunk_a_checkpoint_holds_all_or_nothing(module):
    model = module.build(**SMALL[module])
    theirs = noisy(official_state_dict(model))
    trained = {model.official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    frozen = set(theirs) - trained
    assert set(load_official(model, {k: theirs[k] for k in trained}).left) == frozen
    assert not load_official(model, theirs).left
    some = sorted(frozen)[: len(frozen) // 2]
    with pytest.raises(ValueError, match=one_line.format("nothing was loaded; missing: ")):
        load_official(model, {k: theirs[k] for k in (*trained, *some)})


def openai_clip(width=24, patches=4):
    """A whole CLIP under OpenAI's names; many of the text tower's are the image tower's, bare."""

    def blocks(d):
        for i in range(2):
            sizes = {"attn.in_proj_weight": (3 * d, d), "attn.in_proj_bias": (3 * d,)}
            sizes |= {"attn.out_proj.weight": (d, d), "attn.out_proj.bias": (d,)}
            sizes |= {"mlp.c_fc.weight": (4 * d, d), "mlp.c_fc.bias": (4 * d,)}
            sizes |= {"mlp.c_proj.weight": (d, 4 * d), "mlp.c_proj.bias": (d,)}
            sizes |= {f"ln_{j}.{part}": (d,) for j in (1, 2) for part in ("weight", "bias")}
            yield from ((f"transformer.resblocks.{i}.{k}", v) for k, v in sizes.items())

    image = dict(blocks(width)) | {
        "class_embedding": (width,),
        "positional_embedding": (1 + patches, width),
        "conv1.weight": (width, 3, 16, 16),
        "proj": (width, 16),
        **{f"{ln}.{p}": (width,) for ln in ("ln_pre", "ln_post") for p in ("weight", "bias")},
    }
    text = dict(blocks(16)) | {
        "positional_embedding": (77, 16),
        "text_projection": (16, 16),
        "logit_scale": (),
        "token_embedding.weight": (99, 16),
        "ln_final.weight": (16,),
        "ln_final.bias": (16,),
    }
    shapes = {f"visual.{k}": v for k, v in image.items()} | text
    return noisy({k: torch.empty(v) for k, v in shapes.items()}, seed=3)


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("module", SMALL)
def test_trained_weights_merged_with_a_whole_clip_load_completely(module, text_first):
    model = module.build(**SMALL[module])
    trained = {model.official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    theirs = {k: v for k, v in noisy(official_state_dict(model)).items() if k in trained}
    clip = openai_clip()
    names = sorted(clip, key=lambda k: k.startswith("visual."), reverse=not text_first)
    loaded = load_official(model, {**theirs, **{k: clip[k] for k in names}})
    assert not loaded.left
    assert not loaded.resized
    image = clip["visual.transformer.resblocks.1.attn.in_proj_weight"]
    trunk = model.trunk.state_dict()
    assert torch.equal(trunk["blocks.1.attn.qkv.weight"], image)
    assert torch.equal(trunk["pos_embed"][0], clip["visual.positional_embedding"])
    assert torch.equal(trunk["patch_embed.proj.weight"], clip["visual.conv1.weight"])
    assert torch.equal(trunk["norm_pre.bias"], clip["visual.ln_pre.bias"])
    assert not trunk.get("patch_embed.proj.bias", torch.zeros(1)).any()
    again = official_state_dict(model)
    assert all(torch.equal(again[k], v) for k, v in theirs.items())


@pytest.mark.parametrize("module", SMALL)
@pytest.mark.parametrize("lost", ["conv1.weight", "class_embedding", "ln_pre.bias"])
def test_a_clip_that_lacks_a_part_is_refused(module, lost):
    model, clip = module.build(**SMALL[module]), openai_clip()
    del clip[f"visual.{lost}"]
    trained = {model.official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    theirs = {k: v for k, v in official_state_dict(model).items() if k in trained}
    with pytest.raises(ValueError, match=one_line.format("nothing was loaded; missing: ")):
        load_official(model, {**theirs, **clip})


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [True, False])
def test_a_square_grid_is_resized_behind_its_prefix(mode, corners):
    x = torch.randn(1, 1 + 9, 4, generator=torch.Generator().manual_seed(0))
    got = on_square(mode, prefix=1, align_corners=corners)(x, torch.Size((1, 1 + 25, 4)))
    how = {} if mode == "nearest" else {"align_corners": corners}
    grid = F.interpolate(x[:, 1:].mT.reshape(1, 4, 3, 3), (5, 5), mode=mode, **how)
    torch.testing.assert_close(got, torch.cat([x[:, :1], grid.flatten(2).mT], 1))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_time_is_resized_along_one_axis(mode):
    x = torch.arange(3.0).view(1, 3, 1)
    got = along(mode, align_corners=True)(x, torch.Size((1, 5, 1))).flatten().tolist()
    assert got == ([0, 0, 1, 1, 2] if mode == "nearest" else [0, 0.5, 1, 1.5, 2])


def test_what_stands_before_the_axis_keeps_its_place_and_takes_none_of_its():
    x = torch.tensor([9.0, 0, 1, 2]).view(1, 4, 1)
    got = along("linear", prefix=1, align_corners=True)(x, torch.Size((1, 6, 1)))
    assert got.flatten().tolist() == [9, 0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize(
    ("resize", "old", "new"),
    [
        (on_square("bicubic", prefix=1), 1 + 8, 1 + 4),
        (on_square("bicubic", prefix=1), 1 + 9, 1 + 5),
        (on_square("bicubic", prefix=1), 1, 1 + 4),
        (on_square("bicubic", prefix=2), 1, 2 + 4),
        (along("linear", prefix=1), 1, 1 + 4),
        (along("linear"), 0, 4),
    ],
)
def test_what_cannot_be_resized_stays_as_it_is(resize, old, new):
    x = torch.ones(1, old, 4)
    assert resize(x, torch.Size((1, new, 4))) is x


def test_positions_that_are_no_square_are_listed():
    model = time_mamba.build(**SIZES)
    theirs = official_state_dict(model)
    theirs["pos_embed"] = torch.zeros(1, 1 + 7, 24)
    said = one_line.format(r"nothing was loaded; of another shape: pos_embed \(1, 8, 24\)")
    with pytest.raises(ValueError, match=said):
        load_official(model, theirs)


def test_time_mamba_takes_positions_of_another_grid_to_the_nearest():
    small, large = (time_mamba.build(**{**SIZES, "image_size": s}) for s in (32, 64))
    loaded = load_official(large, noisy(official_state_dict(small)))
    assert loaded.resized == ("pos_embed",)
    grid = large.trunk.pos_embed[0, 1:].unflatten(0, (4, 4))
    assert torch.equal(grid[::2, ::2], grid[1::2, 1::2])
    assert not torch.equal(grid[0, 0], grid[0, 2])
    assert not torch.equal(grid[0, 0], grid[2, 0])


SIZED = [timesformer, videomae, vivit_fe, aim, time_mamba, video_mamba, frame_mean, hf_vivit]


@pytest.mark.parametrize("module", SIZED)
@pytest.mark.parametrize("name", ["heads", "patch_size", "depth", "width", "image_size"])
def test_a_size_of_zero_is_refused_by_name(module, name):
    sizes = {k: v for k, v in SIZES.items() if not (module is video_mamba and k == "heads")}
    if name not in sizes:
        return
    said = one_line.format(f"{name} must be a whole number, 1 or more, got 0")
    with pytest.raises(ValueError, match=said):
        module.build(**{**sizes, name: 0})


def test_zeroi2v_shifts_at_least_one_channel():
    assert zeroi2v.build(**SIZES, shift_div=24).shift == (1, 1)
    for shift_div in (0, 1, 25, 2.5):
        said = one_line.format("shift_div must be a whole number from 2 to the 24 channels")
        with pytest.raises(ValueError, match=said):
            zeroi2v.build(**SIZES, shift_div=shift_div)
