"""Taps by module path and 1x1 adapters on the student."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimgen.distillation.module_taps import Adapters, distillation_loss, tap_channels, tapped


class Student(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(width, 1, 1)
        self.vector = nn.Flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.vector(self.head(self.encoder(x)))


def test_taps_collect_and_leave() -> None:
    network, x = Student(4), torch.randn(2, 1, 8, 8)
    with tapped(network, ("encoder.1", "head")) as features:
        network(x)
    assert torch.equal(features["encoder.1"], network.encoder(x))
    assert list(features) == ["encoder.1", "head"]
    network(2 * x)
    assert torch.equal(features["encoder.1"], network.encoder(x))  # no hook is left
    assert tap_channels(network, ("encoder.0", "head"), x) == {"encoder.0": 4, "head": 1}
    assert network.training


def test_a_path_that_does_not_exist_lists_near_names() -> None:
    with pytest.raises(ValueError, match=r"Student has no module 'encoder.2'; near names: encoder"):
        tap_channels(Student(4), ("encoder.2",), torch.zeros(1, 1, 8, 8))


def test_a_tap_that_is_no_map_is_refused() -> None:
    with pytest.raises(ValueError, match="the tap vector returns no"):
        tap_channels(Student(4), ("vector",), torch.zeros(1, 1, 8, 8))


def test_loss_is_the_sum_of_mean_squared_errors_through_the_adapters() -> None:
    torch.manual_seed(0)
    adapters = Adapters({"a": 2, "b": 3}, {"u": 4, "v": 1})
    student = {"a": torch.randn(2, 2, 4, 4), "b": torch.randn(2, 3, 2, 2)}
    teacher = {"u": torch.randn(2, 4, 4, 4), "v": torch.randn(2, 1, 2, 2, requires_grad=True)}
    loss = distillation_loss(adapters, student, teacher)
    expected = torch.tensor(0.0)
    for conv, s, t in zip(adapters.convs, student.values(), teacher.values(), strict=True):
        mapped = torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], s)
        mapped = mapped + conv.bias[:, None, None]
        expected = expected + ((mapped - t) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert teacher["v"].grad is None
    assert adapters.convs[0].weight.grad.abs().min() > 0


def test_adapters_take_narrower_features() -> None:
    adapters = Adapters({"a": 6}, {"u": 4})
    x = torch.randn(1, 3, 2, 2)
    padded = torch.cat([x, torch.zeros(1, 3, 2, 2)], 1)
    assert torch.allclose(adapters({"a": x})[0], adapters({"a": padded})[0], atol=1e-6)


def test_adapters_need_as_many_taps_on_both_sides() -> None:
    with pytest.raises(ValueError, match="1 taps of the student, 2 of the teacher"):
        Adapters({"a": 1}, {"u": 1, "v": 1})
