"""The per-frame backbone: frozen or tuned, cut in two at any place, in chunks, checkpointed."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pks4.models.backbone import PerFrameBackbone, check_video
from pks4.models.timm_blocks import run, stages_of
from pks4.simulate.attention_kernels import declared_attention

VIT = {"width": 24, "depth": 2, "heads": 3, "patch_size": 16, "image_size": 32}
FAMILIES = {
    "test_vit": 6,
    "test_resnet": 4,
    "test_convnext": 4,
    "test_efficientnet": 5,
    "mobilenetv3_small_050": 6,
    "regnetx_002": 4,
}


def backbone(name="vit", **options):
    """A small backbone from a fixed seed."""
    torch.manual_seed(0)
    return PerFrameBackbone(name, **({**VIT, **options}))


def clip(t=2, size=32):
    """A random video (1, t, 3, size, size)."""
    return torch.randn(1, t, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize(("name", "blocks"), FAMILIES.items())
def test_the_stages_one_after_another_are_the_model_to_the_bit(name, blocks):
    net = backbone(name, image_size=64).net.eval()
    images = clip(size=64)[0]
    assert len(stages_of(net)) == 1 + blocks + 1
    assert torch.equal(run(stages_of(net), images), net.forward_features(images))


@torch.no_grad()
def test_a_model_whose_parts_are_not_known_is_one_stage():
    net = backbone("test_byobnet", image_size=64).net.eval()
    assert stages_of(net) == [net.forward_features]
    with pytest.raises(ValueError, match=r"of ByobNet are not known, .* give insert_after='top'"):
        backbone("test_byobnet", insert_after=0)


def test_a_subclass_that_runs_in_its_own_way_is_one_stage():
    net = backbone("test_vit").net

    class Own(type(net)):
        def forward_features(self, x):
            return super().forward_features(x) + 1

    net.__class__ = Own
    assert len(stages_of(net)) == 1


@pytest.mark.parametrize("insert_after", [-1, 2, 0.0, 1.0, float("nan"), True, "middel", "0.5"])
def test_a_place_that_is_not_there_is_named(insert_after):
    with pytest.raises(ValueError, match="0 to 1, since VisionTransformer has 2 blocks here") as e:
        backbone(insert_after=insert_after)
    assert str(e.value).endswith(f"got {insert_after!r}")
    assert "'top', 'middle', a share of the depth" in str(e.value)


PLACES = {
    (12, "middle"): "after block 6 of 12",
    (12, 0.5): "after block 6 of 12",
    (12, 5): "after block 6 of 12",
    (12, 0.75): "after block 9 of 12",
    (12, 0.01): "after block 1 of 12",
    (12, 0.99): "after block 12 of 12",
    (4, "middle"): "after block 2 of 4",
    (4, 0.25): "after block 1 of 4",
    (4, 3): "after block 4 of 4",  # below the last norm
    (4, "top"): "on top",
    (4, None): "on top",
    (1, "middle"): "after block 1 of 1",
}


@pytest.mark.parametrize(("depth", "insert_after"), PLACES)
def test_a_place_is_a_word_a_share_or_a_block(depth, insert_after):
    net = backbone(depth=depth, insert_after=insert_after)
    assert net.place == PLACES[depth, insert_after]
    assert len(stages_of(net.net)) == depth + 2


@pytest.mark.parametrize(("insert_after", "place"), [(0, (16, 16, 32)), (2, (4, 4, 192))])
def test_the_place_has_the_grid_and_the_channels_of_its_stage(insert_after, place):
    net = backbone("test_resnet", image_size=64, insert_after=insert_after)
    assert net.insertion_shape == place
    assert net.below(clip(size=64))[0].shape == (1, 2, *place)
    assert (*net.grid(), net.dim) == net.top_shape == (2, 2, 96)


@torch.no_grad()
@pytest.mark.parametrize("insert_after", [None, 0])
@pytest.mark.parametrize("frame_chunk", [1, 2, 5])
def test_the_chunk_changes_nothing(frame_chunk, insert_after):
    whole = backbone(frozen=True, insert_after=insert_after)
    chunked = backbone(frozen=True, insert_after=insert_after, frame_chunk=frame_chunk)
    sizes = []
    chunked.net.patch_embed.register_forward_hook(lambda m, x, y: sizes.append(len(y)))
    torch.testing.assert_close(chunked(clip(5)), whole(clip(5)), atol=1e-5, rtol=1e-5)
    assert sum(sizes) == 5
    assert max(sizes) == frame_chunk


def test_a_frozen_backbone_gives_gradients_above_the_place_and_keeps_nothing_below():
    net = backbone(frozen=True, insert_after=0).train()
    assert not net.net.training
    features, prefix = net.below(clip().requires_grad_())
    assert not features.requires_grad
    top, _ = net.above(features.requires_grad_(), prefix)
    top.sum().backward()
    assert features.grad.any()
    assert all(p.grad is None for p in net.parameters())


def tuned_gradients(name, checkpoint, **options):
    """A tuned backbone in train mode after one backward: its gradients and its buffers."""
    net = backbone(name, checkpoint=checkpoint, image_size=64, **options).train()
    net(clip(3, 64)).square().sum().backward()
    return [p.grad for p in net.parameters()], dict(net.named_buffers())


@pytest.mark.parametrize("name", ["vit", "test_resnet", "test_byobnet"])
def test_checkpointing_changes_no_gradient_and_no_running_statistic(name):
    plain, buffers = tuned_gradients(name, False)
    again, buffers_again = tuned_gradients(name, True)
    for one, other in zip(plain, again, strict=True):
        assert (one is other is None) or torch.equal(one, other)
    for key, value in buffers.items():
        assert torch.equal(value, buffers_again[key])


def test_a_checkpointed_frame_counts_once_in_the_running_statistics():
    net = backbone("test_resnet", checkpoint=True, image_size=64).train()
    for steps in (1, 2):
        net(clip(3, 64)).sum().backward()
        norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
        assert {m.num_batches_tracked.item() for m in norms} == {steps}


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "vit"])
def test_macs_do_not_depend_on_the_place(name):
    options = {"image_size": 64}
    inside = backbone(name, insert_after=1, **options)
    assert inside.macs(3) == 3 * backbone(name, **options).macs(1) > 0


def test_an_image_size_may_be_left_to_the_model_or_have_two_sides():
    assert backbone("test_resnet", image_size=None).image_size == (160, 160)
    for name in ("vit", "test_vit", "test_resnet"):
        wide = backbone(name, image_size=(32, 64))
        assert wide(torch.zeros(1, 1, 3, 32, 64)).shape == (1, 1, *wide.top_shape)
        assert wide.top_shape[1] == 2 * wide.top_shape[0]
    with pytest.raises(ValueError, match=r"\(b, t, 3, 32, 64\)"):
        check_video(torch.zeros(1, 1, 3, 64, 32), (32, 64))


@pytest.mark.parametrize("name", ["levit_128", "crossvit_9_240"])
def test_a_model_without_a_grid_is_named(name):
    with torch.device("meta"), pytest.raises(ValueError, match=f"'{name}' gives .* not a grid"):
        PerFrameBackbone(name, image_size=None)


def test_an_unknown_backbone_names_the_near_one():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        PerFrameBackbone("resnet_18")
    with pytest.raises(ValueError, match="frame_chunk must be a whole number"):
        backbone(frame_chunk=0)


def fused_calls(name, **options):
    """How often a backbone calls the fused kernel on one frame."""
    with torch.device("meta"):
        net = PerFrameBackbone(name, **{"image_size": None, **options})
        video = torch.empty(1, 1, 3, *net.image_size)
    with declared_attention("math") as calls:
        net(video)
    return calls.count


@pytest.mark.parametrize("name", ["vit", "vit_clip", "test_vit", "pvt_v2_b0", "fastvit_sa12"])
def test_eager_calls_no_fused_kernel_whatever_the_kind_of_attention(name):
    assert fused_calls(name) > 0
    assert fused_calls(name, attention="eager") == 0


def test_kinds_that_timm_does_not_fuse_by_itself_are_not_fused():
    assert fused_calls("swin_tiny_patch4_window7_224") == 0


def test_eager_is_refused_where_there_is_no_attention_to_make_so():
    with pytest.raises(ValueError, match=r"'test_resnet' has no attention .* leave attention out"):
        backbone("test_resnet", attention="eager")
    with pytest.raises(ValueError, match="did you mean 'eager'"):
        backbone(attention="eagre")


@torch.no_grad()
def test_both_kernels_give_the_same_features():
    fused, eager = (backbone(attention=kernel) for kernel in ("sdpa", "eager"))
    torch.testing.assert_close(fused(clip()), eager(clip()))


def test_a_frame_of_vit_b_16_is_17_563_gmac():
    with torch.device("meta"):
        net = PerFrameBackbone("vit")
    assert round(net.macs(1) / 1e9, 3) == 17.563
    assert sum(p.numel() for p in net.parameters()) == 85_798_656
