"""A ResNet on every frame with logits averaged over time: the common part of TSN and TSM.

The trunk is timm's ResNet of bottleneck blocks. It equals torchvision's in output and names, except
for the classifier. Batch norms train, over all frames of a batch.
"""

from collections.abc import Sequence

from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.models.backbone import check_video, sides


def build_resnet(layers: Sequence[int], channels: Sequence[int]) -> ResNet:
    """A ResNet without classifier from the blocks and narrow channels of its four stages.

    (3, 4, 6, 3) and (64, 128, 256, 512) make ResNet-50. A stage outputs 4 times its narrow
    channels.
    """
    for name, numbers in (("layers", layers), ("channels", channels)):
        if len(numbers) != 4:
            raise ValueError(f"{name} must be four numbers, one for each stage, got {numbers}")
        at_least_one(**{f"{name}[{i}]": n for i, n in enumerate(numbers)})
    return ResNet(
        Bottleneck,
        tuple(layers),
        num_classes=0,
        channels=tuple(channels),
        zero_init_last=False,  # as torchvision initialises
    )


def stages(net: ResNet) -> tuple[nn.Sequential, ...]:
    """The four stages."""
    return net.layer1, net.layer2, net.layer3, net.layer4


def resnet_macs(net: ResNet, images: int, image_size: int | tuple[int, int]) -> int:
    """Closed form of the MACs of `images` images through a ResNet without classifier."""
    (h, w), d = _halved(*sides(image_size)), net.conv1.out_channels
    macs = linear_macs(h * w, 3 * 7 * 7, d)
    h, w = _halved(h, w)  # the pooling
    for block in (block for stage in stages(net) for block in stage):
        narrow, wide = block.conv2.out_channels, block.conv3.out_channels
        macs += linear_macs(h * w, d, narrow)
        if block.stride == 2:
            h, w = _halved(h, w)
        macs += linear_macs(h * w, 9 * narrow + wide, narrow)
        if block.downsample is not None:
            macs += linear_macs(h * w, d, wide)
        d = wide
    return images * macs


class PerFrameResNet(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(
        self, frames: int, num_classes: int, image_size: int, net: ResNet, dropout: float
    ) -> None:
        super().__init__()
        self.frames, self.image_size = frames, image_size
        self.base_model = net
        self.dropout = nn.Dropout(dropout)
        self.new_fc = nn.Linear(net.num_features, num_classes)
        nn.init.normal_(self.new_fc.weight, std=0.001)
        nn.init.zeros_(self.new_fc.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the mean of its frames' logits."""
        check_video(video, self.image_size, self.frames)
        x = self.base_model(video.flatten(0, 1))  # (b*t, d)
        return self.new_fc(self.dropout(x)).unflatten(0, (-1, self.frames)).mean(1)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images = batch * self.frames
        return {
            "backbone": resnet_macs(self.base_model, images, self.image_size),
            "temporal": 0,
            "head": linear_macs(images, self.new_fc.in_features, self.new_fc.out_features),
        }


def _halved(h: int, w: int) -> tuple[int, int]:
    return -(-h // 2), -(-w // 2)
