"""MobileNetV2 in PyTorch, saved by PyTorch in each of its formats, read and computed without it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fanlight.learning.features import open_session
from fanlight.learning.mobilenet_v2 import build, dialect_of, feature_statistics
from fanlight.learning.weight_files import read_weights
from tests.unit.learning import backbone_reference

TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class Bottleneck(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        first = [layer(inputs, wide, 1)] if expand != 1 else []
        project = (nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.conv = nn.Sequential(*first, layer(wide, wide, 3, stride, wide), *project)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNetV2(nn.Module):  # type: ignore[misc]
    """Its state dictionary has torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        parts, inputs = [layer(3, 32, 3, 2)], 32
        for expand, outputs, repeats, stride in TABLE:
            for repeat in range(repeats):
                parts.append(Bottleneck(inputs, outputs, 1 if repeat else stride, expand))
                inputs = outputs
        self.features = nn.Sequential(*parts, layer(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, 11))


@pytest.fixture(scope="module")
def network() -> MobileNetV2:
    torch.manual_seed(3)
    made = MobileNetV2()
    made.train()
    with torch.no_grad():  # running statistics of something, instead of 0 and 1
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
        for _ in range(5):
            made.features(torch.randn(4, 3, 64, 64))
    made.eval()
    return made


@pytest.mark.parametrize("kind", ["archive", "legacy", "safetensors"])
@pytest.mark.parametrize("size", [224, 96, 47])
def test_what_torch_saved_computes_what_torch_computes(
    network: MobileNetV2, kind: str, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    if kind == "safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=kind == "archive")
    weights = read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert set(weights) == set(network.state_dict())
    pictures = backbone_reference.draw(size)
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION
    with torch.no_grad():
        expected = network.features(x).mean((2, 3))
        expected_logits = network.classifier(expected)
    features, logits = open_session(build(weights, logits=True), 2).run(["features", "logits"], {"pictures": pictures})
    mean, deviation = feature_statistics(weights, dialect_of(weights))
    np.testing.assert_allclose(features * deviation + mean, expected.numpy(), atol=5e-4)
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=5e-4)
