"""What every contestant promises, at tiny scale; a new file in baselines/ comes in by itself."""

import copy

import pytest
import torch

from pks4.bench.measure import macs, params, saved_bytes
from pks4.macs import STAGES
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.count_macs import count_on_meta
from pks4.simulate.fake_device import on_fake_device
from pks4.simulate.saved_bytes import saved_bytes as kept_bytes
from pks4.weights.official import Official, load_official, official_state_dict
from tests.factories.models import (
    MODELS,
    REFUSED,
    RUNS,
    clip,
    core_variant,
    every_run,
    every_variant,
    first_of_each,
    inputs,
    shake,
    sizes,
    tiny,
    usual_frames,
)

FACTS = ("FAMILY", "PAPER", "IMAGE_TWIN", "PLACE", "TRAINED", "STAGES", "SCALES", "VARIANTS")
pytestmark = pytest.mark.contract


@pytest.mark.parametrize("name", MODELS)
def test_its_file_states_its_facts(name):
    missing = [fact for fact in FACTS if fact not in MODELS[name].facts]
    assert not missing
    assert {"width", "depth", "heads", "patch_size", "image_size", "frames", "num_classes"} <= {
        *MODELS[name].options,
        *MODELS[name].facts.get("WITHOUT", ()),  # sizes that its architecture does not have
    }


@every_run
def test_forward_and_backward_run_and_gradients_reach_what_is_trained(name, options, frames):
    model = tiny(name, options, frames).train()
    logits = model(clip(frames))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for key, p in model.named_parameters():
        if not p.requires_grad:
            assert p.grad is None, key


@every_variant
def test_gradients_reach_every_weight_that_is_trained_but_those_declared_silent(name, options):
    frames = usual_frames(name, options)
    depth = {k: v for k, v in MODELS[name].facts["SCALES"]["tiny"].items() if k == "depth"}
    model = shake(tiny(name, options, frames, **depth)).train()  # SILENT has numbers of blocks
    model(clip(frames)).square().sum().backward()
    silent = {
        key
        for key, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    }
    declared = tuple(MODELS[name].facts.get("SILENT", ()))
    assert all(key.endswith(declared) or key.startswith(declared) for key in silent), silent


@every_variant
def test_eval_is_deterministic_and_the_state_dict_round_trips(name, options):
    frames = usual_frames(name, options)
    model, twin = shake(tiny(name, options, frames)).eval(), tiny(name, options, frames).eval()
    video = clip(frames)
    with torch.no_grad():
        logits = model(video)
        assert torch.equal(model(video), logits)
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(video), logits)


@every_run
def test_meta_agrees_on_shapes_and_macs_equal_the_closed_form(name, options, frames):
    model, shapes = tiny(name, options, frames, device="meta"), []
    model.register_forward_hook(lambda _, given, logits: shapes.append(logits.shape))
    with declared_attention("flash_cpu"):
        counted = count_on_meta(model, clip(frames, device="meta"), backward=False)
    assert shapes == [(2, 5)]
    assert counted == sum(model.macs(2).values())


@every_variant
def test_simulated_bytes_are_those_of_a_real_run_as_asked_and_have_a_stage(name, options):
    """Fake tensors keep for the backward what a real run keeps."""
    frames = usual_frames(name, options)
    asked = inputs(name, options, frames, {**saved_bytes.SETTINGS, "check_up_to": 0})
    (found,) = saved_bytes.measure(asked)
    model = tiny(name, options, frames).train()
    real = kept_bytes(model, clip(frames), "flash_cpu", asked.stages())
    assert found.detail["by_class"] == real.by_class
    assert found.detail["by_stage"] == real.by_stage
    assert found.detail["weight_copies"] == real.weight_copies
    assert set(real.by_stage) <= set(STAGES)
    assert found.value == real.by_class.total() == sum(real.by_stage.values())
    eager = options.get("attention") == "eager" or name == "hf_timesformer"
    assert bool(found.detail["materialised_by"]) == eager


@pytest.mark.parametrize(("name", "options", "frames"), first_of_each(RUNS))
def test_simulated_bytes_under_autocast_equal_those_of_a_real_run(name, options, frames):
    model = tiny(name, options, frames).train()
    with torch.autocast("cpu", torch.bfloat16):
        real = kept_bytes(model, clip(frames), "flash_cpu")
    fake = tiny(name, options, frames, device="meta").train()
    with on_fake_device(fake, clip(frames, device="meta"), "cpu", "bfloat16") as video:
        assert kept_bytes(fake, video, "flash_cpu") == real


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("name", "options", "frames"), REFUSED)
def test_a_number_of_frames_that_it_cannot_take_is_refused_in_one_line(
    name, options, frames, device
):
    with pytest.raises(ValueError, match=r"^[^\n]*frames[^\n]*$"):
        tiny(name, options, frames, device=device)


@core_variant
def test_a_real_run_under_fvcore_counts_the_same_macs(name, options):
    frames = usual_frames(name, options)
    settings = {**macs.SETTINGS, "check_frames": frames}
    forward, train, _ = macs.measure(inputs(name, options, frames, settings))
    agreed = ["torch on meta", "closed form", f"fvcore at {frames} frames"]
    assert forward.evidence["agreed"] == agreed
    assert train.value > forward.value


@every_variant
def test_parameters_on_meta_are_those_of_the_real_model(name, options):
    frames = usual_frames(name, options)
    total, trained = (r.value for r in params.measure(inputs(name, options, frames, {})))
    real = list(tiny(name, options, frames).parameters())
    assert total == sum(p.numel() for p in real)
    assert trained == sum(p.numel() for p in real if p.requires_grad)


@every_variant
def test_official_names_round_trip_exactly(name, options):
    frames = usual_frames(name, options)
    model = shake(tiny(name, options, frames)).eval()
    if not hasattr(model, "official"):
        assert MODELS[name].facts.get("OFFICIAL_CODE", "") is None  # says that there is none
        return
    assert isinstance(model.official, Official)
    theirs, twin = official_state_dict(model), tiny(name, options, frames).eval()
    loaded = load_official(twin, {"state_dict": {f"module.{k}": v for k, v in theirs.items()}})
    assert set(loaded.loaded) == set(theirs)
    assert not loaded.resized
    again = official_state_dict(twin)
    assert theirs.keys() == again.keys()
    assert all(torch.equal(again[k], theirs[k]) for k in theirs)


@core_variant
def test_image_weights_of_another_shape_are_listed_and_change_nothing(name, options):
    frames = usual_frames(name, options)
    model = tiny(name, options, frames)
    twin = MODELS[name].facts["IMAGE_TWIN"]
    if twin is None:
        return
    shared = {k: v for k, v in sizes(name, options).items() if k in ("layers", "backbone")}  # CNNs
    if options.get("clip"):
        shared["backbone"] = "vit_clip"
    state = shake(tiny(twin, shared, 1)).state_dict()
    before = copy.deepcopy(model.state_dict())
    inside = [k for k in state if "patch_embed" in k or ".blocks.1." in k or "layer" in k]
    assert inside
    for key in inside:
        wrong = {**state, key: state[key].flatten()[:1].expand(2, 1, 2)}
        with pytest.raises(
            ValueError, match=r"^[^\n]*nothing was loaded; [^\n]*of another shape: "
        ):
            model.load_image_weights(wrong)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


@every_variant
def test_a_checkpoint_that_does_not_fit_is_listed_and_changes_nothing(name, options):
    frames = usual_frames(name, options)
    model = tiny(name, options, frames)
    if not hasattr(model, "official"):
        return
    before = copy.deepcopy(model.state_dict())
    theirs = official_state_dict(shake(tiny(name, options, frames)))
    trained = {model.official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    key = next(k for k in reversed(theirs) if k in trained)
    faults = {
        "missing": {k: v for k, v in theirs.items() if k != key},
        "unknown": {**theirs, "surprise": theirs[key]},
        "of another shape": {**theirs, key: theirs[key].flatten()[:1].expand(1, 2, 3, 1)},
    }
    for fault, state in faults.items():
        with pytest.raises(ValueError, match=f"nothing was loaded; {fault}: "):
            load_official(model, state)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
