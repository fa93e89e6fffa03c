"""A narrow ResNet for small images and small computers, under a name that ACT's ``vision_backbone`` finds.

LeRobot looks the backbone up by name in ``torchvision.models``, whose smallest ResNet has 11 million
parameters. Those registered here have the same layers and tensor names at a fraction of the width, so
whatever reads an ACT checkpoint with a torchvision backbone reads one of theirs.
"""

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

#: Forward passes in training after which the normalisation is fixed.
CALIBRATION_PASSES = 100


class CalibratedNorm(nn.Module):
    """Per-channel normalisation by statistics of the first training batches, and a learned affine map.

    ACT runs one backbone over every camera in turn. Batch normalisation would then learn from
    statistics of one camera at a time and run on their average, which is neither camera's. Here
    training and inference use the same numbers. The tensors have the names and the meaning of batch
    normalisation's.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.passes = 0

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        # A checkpoint brings its statistics along.
        self.passes = CALIBRATION_PASSES

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Takes the batch into the statistics of all batches so far."""
        mean = x.mean(dim=(0, 2, 3))
        square = x.square().mean(dim=(0, 2, 3))
        if self.passes > 0:
            share = 1.0 / (self.passes + 1)
            square = (self.running_var + self.running_mean.square()).lerp(square, share)
            mean = self.running_mean.lerp(mean, share)
        # New tensors: the gradient of the camera before still needs the old ones.
        self.running_mean = mean
        self.running_var = (square - mean.square()).clamp_min(0.0)
        self.passes += 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.passes < CALIBRATION_PASSES:
            self.calibrate(x)
        # Fused and fast; with training off it takes the statistics as they are.
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class NarrowResNet(nn.Module):
    """ResNet-10 or deeper of ``width``, 2, 4 and 8 times ``width`` channels. Output: 1/32 of the image's size."""

    def __init__(self, width: int, blocks: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = CalibratedNorm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(width, width, 1, blocks)
        self.layer2 = self._stage(width, 2 * width, 2, blocks)
        self.layer3 = self._stage(2 * width, 4 * width, 2, blocks)
        self.layer4 = self._stage(4 * width, 8 * width, 2, blocks)
        # Never run: ACT asks it how many channels the last stage has.
        self.fc = nn.Linear(8 * width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                # Every block begins as the identity, which trains without normalised gradients.
                nn.init.zeros_(module.bn2.weight)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
        downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            downsample = nn.Sequential(projection, CalibratedNorm(outputs))
        first = BasicBlock(inputs, outputs, stride, downsample, norm_layer=CalibratedNorm)
        rest = [BasicBlock(outputs, outputs, norm_layer=CalibratedNorm) for _ in range(blocks - 1)]
        return nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[batch, 3, height, width]`` to features ``[batch, 8 * width, height / 32, width / 32]``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _builder(width: int, blocks: int):
    def build(
        replace_stride_with_dilation: list[bool] | None = None, weights: str | None = None, norm_layer=None
    ) -> NarrowResNet:
        if weights is not None:
            raise ValueError(
                f"there are no pretrained weights of a narrow ResNet, so not {weights!r}; "
                "use --policy.pretrained_backbone_weights=null"
            )
        if any(replace_stride_with_dilation or ()):
            raise ValueError("a narrow ResNet has no dilation; leave replace_final_stride_with_dilation off")
        return NarrowResNet(width, blocks)

    return build


#: Names for ``--policy.vision_backbone``, with the width of the first stage and the blocks a stage.
BACKBONES = {"resnet10_narrow16": (16, 1), "resnet10_narrow32": (32, 1), "resnet18_narrow16": (16, 2)}


def register() -> None:
    """Makes the narrow ResNets known to ``torchvision.models``."""
    for name, (width, blocks) in BACKBONES.items():
        setattr(torchvision.models, name, _builder(width, blocks))
