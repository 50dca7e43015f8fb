"""L1 transfer: sorting channels changes nothing, and the student holds the largest ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimgen.networks.channel_groups import trace_channels
from slimgen.networks.resnet_generator import (
    ResnetGenerator,
    ResnetShape,
    elastic_entries,
    full_widths,
)
from slimgen.networks.weight_transfer import channel_orders, l1_norms, sort_channels, transfer

SHAPE = ResnetShape(1, 1, (12,) * 8, blocks=3, separable=("blocks",))


@pytest.fixture(scope="module")
def teacher() -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(SHAPE).eval()


@torch.no_grad()
def test_sorting_does_not_change_the_function(teacher: ResnetGenerator) -> None:
    x = torch.randn(2, 1, 16, 16)
    plan = trace_channels(teacher, (x,), elastic_entries(SHAPE), full=full_widths(SHAPE))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    ordered = sort_channels(teacher, plan)
    assert torch.allclose(ordered(x), teacher(x), atol=1e-5)
    assert not torch.equal(ordered.model[1].weight, teacher.model[1].weight)
    assert all(torch.equal(before[name], t) for name, t in teacher.state_dict().items())
    for group in plan.groups:
        norms = torch.stack([l1_norms(ordered.get_submodule(p)) for p in group.producers]).sum(0)
        assert torch.allclose(norms, norms.sort(descending=True).values, rtol=1e-4)


@torch.no_grad()
def test_the_student_computes_with_the_largest_channels(teacher: ResnetGenerator) -> None:
    """Independent of extract: absent channels are the teacher's, silenced where they are read."""
    x = torch.randn(2, 1, 16, 16)
    plan = trace_channels(teacher, (x,), elastic_entries(SHAPE), full=full_widths(SHAPE))
    widths = (5, 7, 12, 12, 12, 12, 12, 3)
    student = transfer(teacher, plan, widths)
    silent = ResnetGenerator(SHAPE).eval()
    silent.load_state_dict(teacher.state_dict())
    for entry, consumer, count in ((0, "model.4", 5), (1, "model.7", 14), (7, "model.20", 3)):
        group = next(i for i, g in enumerate(plan.groups) if g.entry == entry)
        absent = channel_orders(teacher, plan)[group][count:]
        silent.get_submodule(consumer).weight[:, absent] = 0
    assert torch.allclose(student(x), silent(x), atol=1e-5)
    rebuilt = ResnetGenerator(SHAPE.with_widths(widths)).eval()
    rebuilt.load_state_dict(student.state_dict())
    assert torch.equal(rebuilt(x), student(x))


def test_channels_of_a_norm_group_stay_together() -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 1), nn.GroupNorm(3, 6), nn.Conv2d(6, 1, 1))
    with torch.no_grad():
        network[0].weight[:, 0, 0, 0] = torch.tensor([9.0, 0.0, 1.0, 2.0, -5.0, 5.0])
    plan = trace_channels(network, (torch.randn(1, 1, 4, 4),), {"a": ["0"]})
    (order,) = channel_orders(network, plan)
    assert order.tolist() == [4, 5, 0, 1, 2, 3]


def test_l1_norms_are_those_of_outputs() -> None:
    up = nn.ConvTranspose2d(3, 2, 2)
    with torch.no_grad():
        up.weight[:, 0] = 1.0
        up.weight[:, 1] = -2.0
    assert l1_norms(up).tolist() == [3 * 4.0, 3 * 8.0]
