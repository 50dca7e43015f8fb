"""PatchGAN and multiscale discriminators: published sizes, receptive field, what does not fit."""

from __future__ import annotations

import pytest
import torch

from slimgen.evaluation.complexity import count_params
from slimgen.networks.patch_discriminator import MultiscaleDiscriminator, PatchDiscriminator


def test_the_default_patchgan() -> None:
    """6 -> 64 -> 128 -> 256 -> 512 -> 1, every conv with a bias; a 30x30 map of a 256x256 image."""
    network = PatchDiscriminator(6).eval()
    pairs = [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert count_params(network) == sum(16 * a * b + b for a, b in pairs) == 2_767_809
    assert network(torch.zeros(1, 6, 256, 256)).shape == (1, 1, 30, 30)


def test_the_receptive_field_is_70_pixels() -> None:
    """Without norms (they see the whole image) one logit sees 70 x 70 pixels."""
    network = PatchDiscriminator(1, ndf=4)
    for i, module in enumerate(network.model):
        if isinstance(module, torch.nn.InstanceNorm2d):
            network.model[i] = torch.nn.Identity()
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    logits = network(x)
    logits[0, 0, 7, 7].backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_small_images() -> None:
    assert PatchDiscriminator(1, ndf=4, num_layers=2)(torch.zeros(1, 1, 16, 16)).shape[-1] == 2
    assert PatchDiscriminator(1, ndf=4, num_layers=3)(torch.zeros(1, 1, 24, 24)).shape[-1] == 1
    with pytest.raises(ValueError, match="of 3 layers needs at least 24; use fewer layers"):
        PatchDiscriminator(1, num_layers=3)(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match="at least 1"):
        PatchDiscriminator(1, num_layers=0)


def test_multiscale_activations() -> None:
    network = MultiscaleDiscriminator(3, ndf=8, num_layers=4, num_scales=2).eval()
    x = torch.randn(2, 3, 64, 64)
    found = network(x)
    assert [len(scale) for scale in found] == [5, 5]
    assert [t.shape[1] for t in found[0]] == [8, 16, 32, 64, 1]
    half = torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert torch.equal(network.scales[1](half)[-1], found[1][-1])
    assert found[0][-1].shape[-1] > found[1][-1].shape[-1]


def test_multiscale_convs_before_norms_have_spectral_norm_one() -> None:
    network = MultiscaleDiscriminator(3, ndf=4, num_layers=3, num_scales=1).train()
    for _ in range(300):  # power iterations; two nearly equal singular values take many
        network(torch.randn(1, 3, 32, 32))
    conv = network.scales[0].stages[1][0]
    assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
