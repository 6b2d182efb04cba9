"""A ResNet on every frame with logits averaged over time: the common part of TSN and its kin.

The trunk is timm's ResNet, of bottleneck or basic blocks. It equals torchvision's in output and
names, except for the classifier. Batch norms train, over all frames of a batch.
"""

from collections.abc import Sequence

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from pks4.checks import at_least_one, one_of
from pks4.macs import linear_macs
from pks4.models.backbone import check_video, sides
from pks4.models.temporal_shift import Shifted, check_n_div
from pks4.weights.files import load_part

BLOCKS = {"bottleneck": Bottleneck, "basic": BasicBlock}
LONG = 23  # blocks of the third stage (ResNet-101) from which only every second block shifts


def build_resnet(
    layers: Sequence[int], channels: Sequence[int], block: str = "bottleneck"
) -> ResNet:
    """A ResNet without classifier from the blocks and narrow channels of its four stages.

    (3, 4, 6, 3) and (64, 128, 256, 512) make ResNet-50. A stage outputs 4 times its narrow
    channels; with "basic" blocks, as of ResNet-18, just those.
    """
    one_of("block", block, tuple(BLOCKS))
    for name, numbers in (("layers", layers), ("channels", channels)):
        if len(numbers) != 4:
            raise ValueError(f"{name} must be four numbers, one for each stage, got {numbers}")
        at_least_one(**{f"{name}[{i}]": n for i, n in enumerate(numbers)})
    return ResNet(
        BLOCKS[block],
        tuple(layers),
        num_classes=0,
        channels=tuple(channels),
        zero_init_last=False,  # as torchvision initialises
    )


def stages(net: ResNet) -> tuple[nn.Sequential, ...]:
    """The four stages."""
    return net.layer1, net.layer2, net.layer3, net.layer4


def stem(net: ResNet, x: Tensor) -> Tensor:
    """What the first stage gets of images (n, 3, h, w)."""
    return net.maxpool(net.act1(net.bn1(net.conv1(x))))


def resnet_macs(net: ResNet, images: int, image_size: int | tuple[int, int]) -> int:
    """Closed form of the MACs of `images` images through a ResNet without classifier."""
    (h, w), d = _halved(*sides(image_size)), net.conv1.out_channels
    macs = linear_macs(h * w, 3 * 7 * 7, d)
    h, w = _halved(h, w)  # the pooling
    for block in (block for stage in stages(net) for block in stage):
        narrow, basic = block.conv2.out_channels, isinstance(block, BasicBlock)
        wide = narrow if basic else block.conv3.out_channels
        macs += 0 if basic else linear_macs(h * w, d, narrow)
        if block.stride == 2:
            h, w = _halved(h, w)
        macs += linear_macs(h * w, 9 * (d + wide) if basic else 9 * narrow + wide, narrow)
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
        x = self.dropout(self.features(video))
        return self.new_fc(x).unflatten(0, (video.shape[0], -1)).mean(1)

    def features(self, video: Tensor) -> Tensor:
        """Features (b*t, d) of all frames."""
        return self.base_model(video.flatten(0, 1))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images = batch * self.frames
        return {
            "backbone": resnet_macs(self.base_model, images, self.image_size),
            "temporal": 0,
            "head": linear_macs(images, self.new_fc.in_features, self.new_fc.out_features),
        }


class ShiftedResNet(PerFrameResNet):
    """The same on a ResNet from `shifted_resnet`."""

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ResNet of the image twin; all else keeps its values."""
        names = {k.replace(".conv1.net.", ".conv1."): k for k in self.state_dict()}
        load_part(self.base_model, {names.get(k, k): v for k, v in state.items()}, "base_model.")


def shifted_resnet(net: ResNet, frames: int, n_div: int) -> ResNet:
    """The net, with the first convolution of its blocks after a temporal shift, as TSM has it."""
    step = 2 if len(net.layer3) >= LONG else 1
    for block in (block for stage in stages(net) for block in stage[::step]):
        check_n_div(n_div, block.conv1.in_channels)
        block.conv1 = Shifted(block.conv1, frames, n_div)
    return net


def _halved(h: int, w: int) -> tuple[int, int]:
    return -(-h // 2), -(-w // 2)
