"""Checks of this installation: what works, and why the rest does not."""

from dataclasses import dataclass
from typing import Literal

from pks4.bench.records import environment
from pks4.errors import UserError

State = Literal["ok", "absent", "wrong"]  # only "wrong" is a fault


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    state: State
    text: str


def _right(condition: bool) -> State:
    return "ok" if condition else "wrong"


def examine() -> list[Finding]:
    """Run all checks; takes some seconds, since a ViT-B computes one frame."""
    source = environment.provenance()
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
    machine = ", ".join(f"{k} {v}" for k, v in source.environment.items())
    findings = [Finding("versions", "ok", versions), Finding("machine", "ok", machine)]
    findings += [_device(), *_scans(), *_kernels(), *_readers(), _counters()]
    return findings


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device cuda", "ok", torch.cuda.get_device_name())
    return Finding("device cuda", "absent", "no GPU is visible; everything runs on the CPU")


def _scans() -> list[Finding]:
    import torch

    from pks4.scan import BACKENDS, resolve, scan_sites
    from pks4.scan.reference import scan_sites_reference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    u = torch.linspace(-1, 1, 24, device=device).view(1, 4, 2, 3)
    x = (u, u, -u.new_ones(3, 2), u[..., :2], u[..., 1:], u.new_ones(3), u.new_zeros(3))
    want, findings = scan_sites_reference(*x)[0], []
    for name in BACKENDS:
        try:
            y = scan_sites(*x, backend=name)
        except ValueError as reason:
            findings.append(Finding(f"scan {name}", "absent", str(reason)))
            continue
        assert isinstance(y, torch.Tensor)  # no last state was asked for
        error = (y - want).abs().max().item()
        text = f"differs from the reference by {error:.1e}"
        findings.append(Finding(f"scan {name}", _right(error < 1e-5), text))
    findings.append(Finding("scan auto", "ok", f"takes {resolve('auto', device)} on {device}"))
    return findings


def _kernels() -> list[Finding]:
    import torch
    import torch.nn.functional as F

    from pks4.simulate.attention_kernels import KERNELS, declared_attention

    q = torch.randn(1, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    want, findings = F.scaled_dot_product_attention(q, q, q), []
    for name in KERNELS:
        try:
            with declared_attention(name):
                error = (F.scaled_dot_product_attention(q, q, q) - want).abs().max().item()
        except (RuntimeError, NotImplementedError):
            text = "does not run on this device; simulated on meta tensors only"
            findings.append(Finding(f"attention {name}", "absent", text))
            continue
        findings.append(
            Finding(f"attention {name}", _right(error < 1e-5), f"differs from torch by {error:.1e}")
        )
    return findings


def _readers() -> list[Finding]:
    from pks4.data.readers import READERS, reader_info

    findings = []
    for name in READERS:
        try:
            info = reader_info(name)
        except UserError as error:
            findings.append(Finding(f"reader {name}", "absent", str(error)))
        else:
            findings.append(Finding(f"reader {name}", "ok", str(info)))
    return findings


def _counters() -> Finding:
    """fvcore, torch and the closed form on one frame of ViT-B/16: 17.563 GMAC."""
    import torch

    from pks4.models.backbone import build_vit, vit_macs
    from pks4.simulate.count_macs import count_on_meta, count_with_fvcore

    clip = torch.zeros(1, 3, 224, 224)
    fvcore = count_with_fvcore(build_vit(), clip)
    with torch.device("meta"):
        vit = build_vit()
    counts = {
        "fvcore": fvcore.macs,
        "torch on meta": count_on_meta(vit, clip.to("meta"), backward=False),
        "closed form": vit_macs(vit, 1),
    }
    agree = len(set(counts.values())) == 1
    text = ", ".join(f"{who} {macs:,}" for who, macs in counts.items())
    plain = f"; fvcore without handles {fvcore.plain_macs:,}"
    return Finding("counters on ViT-B/16", _right(agree), text + plain + " MACs")
