"""ViViT equals a plain reading in torch's layers; how it starts, and resizes its positions."""

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from baselines import vivit_fe
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    TINY_VIT,
    shaken,
    small_clip,
)

pytestmark = pytest.mark.contract


@torch.no_grad()
def test_vivit_is_a_vit_on_each_step_and_another_on_their_cls_tokens():
    """The same in steps, with torch's own layers: one weight matrix at a time."""
    model = shaken(vivit_fe, temporal_depth=3)
    state = official_state_dict(model)

    def norm(x, name):
        return F.layer_norm(x, (24,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def encode(tokens, part, depth):
        cls = state[f"cls_{part}"].repeat(len(tokens), 1, 1)
        x = torch.cat([cls, tokens], 1) + state[f"pos_{part}"]
        for i in range(depth):
            block = f"{part}.blocks.{i}."
            q, k, v = linear(norm(x, block + "norm1"), block + "attn.qkv").chunk(3, -1)
            heads = [
                torch.softmax(q[..., at] @ k[..., at].mT / 8**0.5, -1) @ v[..., at]
                for at in (slice(0, 8), slice(8, 16), slice(16, 24))
            ]
            x = x + linear(torch.cat(heads, -1), block + "attn.proj")
            hidden = linear(norm(x, block + "norm2"), block + "mlp.fc1")
            x = x + linear(F.gelu(hidden, approximate="tanh"), block + "mlp.fc2")
        return norm(x[:, 0], f"{part}.norm")

    tubelets = small_clip(4).reshape(2, 2, 2, 3, 2, 16, 2, 16).permute(0, 1, 4, 6, 3, 2, 5, 7)
    kernel = state["patch_embed.weight"].flatten(1)
    tokens = tubelets.flatten(4).flatten(2, 3) @ kernel.T + state["patch_embed.bias"]
    steps = torch.stack([encode(tokens[:, i], "spatial", 2) for i in range(2)], 1)
    want = linear(encode(steps, "temporal", 3), "head")
    torch.testing.assert_close(model(small_clip(4)), want)

    floor = vivit_fe.build(**TINY_VIT, spatial_only_baseline=True)
    load_official(floor, {k: v for k, v in state.items() if "temporal" not in k})
    torch.testing.assert_close(floor(small_clip(4)), linear(steps.mean(1), "head"))


@torch.no_grad()
@pytest.mark.parametrize("tubelet", [1, 2, 4])
def test_a_fresh_vivit_looks_at_one_frame_of_each_tubelet_and_says_nothing(tubelet):
    model = vivit_fe.build(**{**TINY_VIT, "tubelet": tubelet, "frames": 4})
    seen = model.patch_embed.weight.abs().sum((0, 1, 3, 4)) > 0
    assert seen.nonzero().tolist() == [[tubelet // 2]]
    assert not model.cls_spatial.any()
    assert not model.cls_temporal.any()
    assert not model(small_clip(4)).any()


def test_vivit_initialises_each_of_q_k_and_v_as_a_matrix_of_its_own():
    torch.manual_seed(0)
    model = vivit_fe.build(**{**TINY_VIT, "width": 96})
    bound = (6 / (96 + 96)) ** 0.5
    for part in model.temporal.blocks[1].attn.qkv.weight.chunk(3):
        assert 0.98 * bound < part.abs().max() <= bound
    assert model.pos_temporal.std().item() == pytest.approx(0.02, rel=0.2)
    fan_in = 3 * 2 * 16 * 16
    kernel = model.patch_embed.weight[:, :, 1]
    assert kernel.std().item() == pytest.approx(fan_in**-0.5, rel=0.02)


@torch.no_grad()
def test_vivit_resizes_positions_as_scipy_zooms_them():
    small = shaken(vivit_fe, frames=6, image_size=48)
    large = vivit_fe.build(**{**TINY_VIT, "frames": 10, "image_size": 80})
    resized = load_official(large, official_state_dict(small)).resized
    assert set(resized) == {"pos_spatial", "pos_temporal"}
    for name, grid, zoom in (
        ("pos_spatial", (3, 3, 24), (5 / 3, 5 / 3, 1)),
        ("pos_temporal", (3, 24), (5 / 3, 1)),
    ):
        old, new = small.get_parameter(name)[0], large.get_parameter(name)[0]
        want = scipy.ndimage.zoom(old[1:].reshape(grid).numpy(), zoom, order=1)
        torch.testing.assert_close(new[1:], torch.from_numpy(want).reshape(-1, 24))
        assert torch.equal(new[0], old[0])


@torch.no_grad()
@pytest.mark.parametrize("tubelet", [1, 2, 4])
def test_vivit_from_image_weights_is_the_image_model_on_the_middle_frames(image_model, tubelet):
    net, state = image_model
    sizes = {**TINY_VIT, "tubelet": tubelet, "spatial_only_baseline": True}
    model = vivit_fe.build(**sizes).eval()
    model.load_image_weights(state)
    torch.nn.init.normal_(model.head.weight)
    images = small_clip(4)[:, tubelet // 2 :: tubelet]
    features = net.forward_features(images.flatten(0, 1))[:, 0].unflatten(0, (2, -1))
    want = model.head(features.mean(1))
    torch.testing.assert_close(model(small_clip(4)), want, atol=5e-3, rtol=0)  # tanh in GELU
    for block in model.spatial.blocks:
        block.mlp.act = torch.nn.GELU()
    torch.testing.assert_close(model(small_clip(4)), want)
