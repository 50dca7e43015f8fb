"""Parameters and multiply-adds: golden counts of a CIFAR-10 U-Net, parity with torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from slimgen.config.base import Network
from slimgen.evaluation.complexity import count_macs, count_params, count_unet_macs
from slimgen.networks.unet import make_unet


class Mixed(nn.Module):
    """Strided, grouped, dilated and transposed convolutions, and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(12, 6, 4, stride=2, padding=1, groups=2)
        self.head = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(F.relu(self.grouped(F.relu(self.first(x)))))
        return self.head(x.mean((2, 3)))


class WrittenOut(nn.Module):
    """Attention by baddbmm and bmm, as diffusers' explicit processor has it."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch.baddbmm(q.new_zeros(1), q, k.transpose(1, 2), beta=0, alpha=0.5)
        return torch.bmm(scores.softmax(-1), v)


def torch_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return counter.get_total_flops() // 2


def test_golden_cifar10_ddpm():
    with torch.device("meta"):
        network = make_unet(Network(), channels=3, size=32)
    assert count_params(network) == 35_746_307
    macs = count_unet_macs(network, (3, 32, 32))
    assert macs.total == 6_221_856_768
    assert macs.conv_linear == 6_053_953_536


def test_equal_to_torchs_counter_without_attention():
    module, x = Mixed(), torch.zeros(2, 3, 32, 32)
    macs = count_macs(module, x)
    assert macs.total == macs.conv_linear == torch_macs(module, x)


def test_equal_to_torchs_counter_on_a_unet_with_attention():
    settings = Network(
        block_out_channels=(16, 32),
        layers_per_block=1,
        attention=(False, True),
        attention_head_dim=8,
        norm_num_groups=8,
    )
    network = make_unet(settings, channels=3, size=16)
    x, t = torch.zeros(1, 3, 16, 16), torch.zeros(1)
    macs = count_unet_macs(network, (3, 16, 16))
    assert macs.attention > 0
    assert macs.total == torch_macs(network, x, t)


def test_attention_written_out_counts_as_the_fused_one():
    q, k, v = torch.zeros(4, 6, 8), torch.zeros(4, 5, 8), torch.zeros(4, 5, 7)
    out = count_macs(WrittenOut(), q, k, v)
    assert out.attention == 4 * 6 * 5 * (8 + 7)
    assert out.conv_linear == 0

    class Fused(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v)

    assert count_macs(Fused(), q, k, v) == out


def test_macs_are_proportional_to_the_batch_and_leave_the_mode_as_it_was():
    module = Mixed().train()
    one, three = (count_macs(module, torch.zeros(n, 3, 16, 16)).total for n in (1, 3))
    assert three == 3 * one
    assert module.training


def test_products_that_cannot_be_seen_are_refused():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.zeros(1, 4, 8)
    with pytest.raises(ValueError, match="cannot be counted"):
        count_macs(layer, x, x, x)


def test_the_torchprofile_rule_counts_transposed_convs_on_outputs_and_instance_norms():
    network = nn.Sequential(
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 5, 3),
    )
    macs = count_macs(network, torch.zeros(1, 6, 5, 5))
    conv = 5 * 8 * 8 * 4 * 9
    assert macs.total == 6 * 5 * 5 * 2 * 9 + conv
    assert macs.torchprofile == 4 * 10 * 10 * 3 * 9 + 4 * 10 * 10 + conv
    assert macs.total == torch_macs(network, torch.zeros(1, 6, 5, 5))
