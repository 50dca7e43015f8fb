"""Taps and block losses: every tensor counts, teachers of themselves lose nothing."""

import copy
from dataclasses import replace

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.distillation.block_loss import block_loss, distillation_losses
from slimgen.distillation.taps import teacher_features
from slimgen.networks.unet_blocks import block_outputs, named_blocks


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        norm_num_groups=4,
        attention_head_dim=4,
    ).eval()


@pytest.fixture(scope="module")
def batch():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(4, 1, 8, 8, generator=rng), torch.tensor([0, 10, 600, 999])


def test_features_hold_what_the_modules_saw(unet, batch):
    """An independent tap: forward hooks on the blocks during diffusers' own forward pass."""
    seen = {}
    handles = [
        block.register_forward_hook(lambda m, a, output, name=name: seen.update({name: output}))
        for name, block in named_blocks(unet).items()
    ]
    with torch.no_grad():
        prediction = unet(*batch).sample
    for handle in handles:
        handle.remove()
    features = teacher_features(unet, *batch)
    assert torch.equal(features.prediction, prediction)
    assert list(features.outputs) == list(seen)
    for name, found in seen.items():
        if name.startswith("down"):
            hidden, skips = found
            assert hidden is skips[-1]  # so that the skips are all distinct tensors
            found = skips
        else:
            found = (found,)
        assert len(found) == len(features.outputs[name])
        assert all(map(torch.equal, found, features.outputs[name]))
    assert len(features.outputs["down_blocks.0"]) == 3  # two skips and the downsampled one
    assert len(features.inputs["up_blocks.0"].skips) == 3
    assert not features.prediction.requires_grad


def test_block_loss_is_the_sum_of_means():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    loss = block_loss((a, b), (torch.zeros_like(a), torch.ones_like(b)))
    expected = a.double().square().mean() + (b.double() - 1).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ValueError):
        block_loss((a,), (a, b))


def test_a_wrong_skip_costs(unet, batch):
    """A block whose last output is right and whose skip is wrong has a loss."""
    features = teacher_features(unet, *batch)
    blocks = named_blocks(unet)
    outputs = block_outputs(
        "down_blocks.0", blocks["down_blocks.0"], features.inputs["down_blocks.0"]
    )
    target = features.outputs["down_blocks.0"]
    assert float(block_loss(outputs, target).detach()) == 0.0
    wrong = (outputs[0] + 1.0, *outputs[1:])
    assert float(block_loss(wrong, target).detach()) == pytest.approx(1.0)


def test_the_teacher_has_no_loss_and_every_part_of_a_student_has_a_gradient(unet, batch):
    features = teacher_features(unet, *batch)
    own = distillation_losses(unet, features, *batch)
    assert list(own) == [*named_blocks(unet), "head"]
    assert all(float(loss.detach()) == 0.0 for loss in own.values())
    student = copy.deepcopy(unet)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    losses = distillation_losses(student, features, *batch)
    torch.stack(list(losses.values())).sum().backward()
    without = [n for n, p in student.named_parameters() if p.grad is None]
    assert without == []


def test_the_stem_has_the_teachers_as_its_target(unet, batch):
    """The first block's loss is that of conv_in's output, a skip, and of the block behind it."""
    features = teacher_features(unet, *batch)
    student = copy.deepcopy(unet)
    with torch.no_grad():
        student.conv_in.bias.add_(1.0)
        shifted = replace(features.inputs["down_blocks.0"], hidden=features.stem + 1.0)
        outputs = block_outputs("down_blocks.0", student.down_blocks[0], shifted)
        behind = float(block_loss(outputs, features.outputs["down_blocks.0"]))
        loss = float(distillation_losses(student, features, *batch)["down_blocks.0"])
    assert behind > 0
    assert loss == pytest.approx(1.0 + behind, rel=1e-4)


def test_blocks_are_independent(unet, batch):
    """Changing one block changes its own loss and no other: inputs are the teacher's."""
    features = teacher_features(unet, *batch)
    student = copy.deepcopy(unet)
    with torch.no_grad():
        student.mid_block.resnets[0].conv1.weight.mul_(2.0)
    losses = distillation_losses(student, features, *batch)
    assert [n for n, loss in losses.items() if float(loss.detach()) > 0] == ["mid_block"]
