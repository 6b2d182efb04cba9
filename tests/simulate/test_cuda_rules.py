"""CUDA's rules on fake CPU tensors keep what fake CUDA tensors keep, byte by byte."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pks4.scan.backends import assumed
from pks4.simulate.saved_bytes import saved_bytes
from pks4.simulate.targets import TARGETS, standing_on
from tests.factories.models import clip, every_variant, frames_that_fit, tiny


@contextmanager
def autocast_without_a_gpu(dtype):
    """Autocast for CUDA, which `torch.autocast` switches off where there is no GPU."""
    torch.set_autocast_enabled("cuda", dtype != "float32")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def kept_on_fake_cuda(model, video, target):
    """Bytes that a forward keeps when every tensor says that it is on a GPU."""
    mode = FakeTensorMode()
    with mode:
        for m in model.modules():
            for key, p in m._parameters.items():
                if p is not None:
                    there = torch.empty(p.shape, dtype=p.dtype, device="cuda")
                    m._parameters[key] = nn.Parameter(there, p.requires_grad)
            for key, x in m._buffers.items():
                if x is not None:
                    m._buffers[key] = torch.empty(x.shape, dtype=x.dtype, device="cuda")
        video = torch.empty(video.shape, device="cuda")
    with autocast_without_a_gpu(target.dtype), mode, assumed("cuda"):
        return saved_bytes(model, video, target.kernel).by_class


@pytest.mark.parametrize("name_of_target", ["cuda-fp32", "cuda-bf16"])
@every_variant
def test_kept_bytes_equal_those_of_fake_cuda(name, options, name_of_target):
    target = TARGETS[name_of_target]
    frames = 3 if frames_that_fit(name, options, 3) else 4
    video = clip(frames, device="meta")
    want = kept_on_fake_cuda(tiny(name, options, frames, device="meta").train(), video, target)
    model = tiny(name, options, frames, device="meta").train()
    with standing_on(target, model, video) as there:
        assert saved_bytes(model, there, target.kernel).by_class == want


def test_the_rules_end_with_their_context():
    x = torch.randn(2, 3, 8, requires_grad=True)
    model = nn.Sequential(nn.RMSNorm(8), nn.LayerNorm(8))
    before = model(x)
    with standing_on(TARGETS["cuda-bf16"], nn.Linear(2, 2, device="meta"), x.detach().to("meta")):
        pass
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.softmax(x.bfloat16(), -1).dtype is torch.bfloat16  # CUDA would give float32
