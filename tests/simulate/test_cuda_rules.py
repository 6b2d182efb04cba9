"""CUDA's rules on fake CPU tensors keep what fake CUDA tensors keep, byte by byte."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pks4.scan.backends import assuming_device
from pks4.simulate.saved_bytes import saved_bytes
from pks4.simulate.targets import TARGETS, on_target
from tests.factories.models import (
    VARIANTS,
    clip,
    core_variant,
    first_of_each,
    tiny,
    usual_frames,
)

pytestmark = pytest.mark.contract


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
    with autocast_without_a_gpu(target.dtype), mode, assuming_device("cuda"):
        return saved_bytes(model, video, target.kernel).by_class


def assert_kept_as_on_fake_cuda(name, options, name_of_target):
    """The rules keep for the backward what fake CUDA tensors keep."""
    target, frames = TARGETS[name_of_target], usual_frames(name, options)
    video = clip(frames, device="meta")
    want = kept_on_fake_cuda(tiny(name, options, frames, device="meta").train(), video, target)
    model = tiny(name, options, frames, device="meta").train()
    with on_target(target, model, video) as there:
        assert saved_bytes(model, there, target.kernel).by_class == want


@core_variant
def test_kept_bytes_under_autocast_equal_those_of_fake_cuda(name, options):
    assert_kept_as_on_fake_cuda(name, options, "cuda-bf16")


@pytest.mark.parametrize(("name", "options"), first_of_each(VARIANTS))
def test_kept_bytes_in_float32_equal_those_of_fake_cuda(name, options):
    assert_kept_as_on_fake_cuda(name, options, "cuda-fp32")


def test_the_rules_end_with_their_context():
    x = torch.randn(2, 3, 8, requires_grad=True)
    model = nn.Sequential(nn.RMSNorm(8), nn.LayerNorm(8))
    before = model(x)
    with on_target(TARGETS["cuda-bf16"], nn.Linear(2, 2, device="meta"), x.detach().to("meta")):
        pass
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.softmax(x.bfloat16(), -1).dtype is torch.bfloat16  # CUDA would give float32
