"""Schedules and preconditioning against values of the recipes of ACT and of OpenAI."""

import pytest
import torch

from slimgen.config.act import StudentSettings, Weight
from slimgen.diffusion.denoiser import ConsistencyProcess
from slimgen.systems.act.schedule import adversarial_weight, noise_grid, num_scales, target_decay

PARTS = 1000  # progress in thousandths
CIFAR_ACT = {0: (2, 0.81), 1: (5, 0.94868), 10: (15, 0.98506), 100: (47, 0.99543),
             250: (75, 0.99716), 500: (106, 0.998), 1000: (150, 0.99859)}  # fmt: skip
CIFAR_OPENAI = {0: (2, 0.81), 1: (6, 0.95873), 10: (16, 0.98605), 100: (48, 0.99553),
                250: (76, 0.99719), 500: (107, 0.99801), 1000: (151, 0.9986)}  # fmt: skip
IMAGENET_ACT = {0: (2, 0.9025), 1: (7, 0.98305), 10: (20, 0.99462), 100: (63, 0.99835),
                250: (100, 0.99896), 500: (141, 0.99927), 1000: (200, 0.99948)}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "table"),
    [
        (StudentSettings(), CIFAR_ACT),
        (StudentSettings(scales="openai"), CIFAR_OPENAI),
        (StudentSettings(s1=200, mu0=0.95), IMAGENET_ACT),
        (StudentSettings(preset="code"), CIFAR_ACT),
    ],
)
def test_number_of_scales_and_target_decay(settings, table):
    for part, (scales, decay) in table.items():
        assert num_scales(settings, part, PARTS) == scales
        assert target_decay(settings, scales) == pytest.approx(decay, abs=5e-6)


def test_steps_at_which_the_number_of_scales_changes():
    settings, K = StudentSettings(), 300_000
    for step, scales in ((31, 3), (111, 4), (217, 5), (351, 6), (697, 8)):
        assert num_scales(settings, step, K) == scales
        assert num_scales(settings, step - 1, K) == scales - 1


def test_karras_grid_of_eighteen_points():
    expected = [0.002, 0.0075, 0.0229, 0.0599, 0.1395, 0.2964, 0.5853, 1.0882, 1.9233, 3.2568,
                5.3152, 8.4009, 12.9101, 19.3525, 28.3746, 40.7856, 57.586, 80.0]  # fmt: skip
    grid = noise_grid(StudentSettings(), 18)
    torch.testing.assert_close(grid, torch.tensor(expected), rtol=1e-4, atol=6e-5)


@pytest.mark.parametrize("scales", [2, 3, 17, 150])
def test_grid_ends_exactly_at_sigma_min_and_sigma_max(scales):
    grid = noise_grid(StudentSettings(), scales)
    assert len(grid) == scales
    assert torch.equal(grid[[0, -1]], torch.tensor([0.002, 80.0]))
    assert bool((grid.diff() > 0).all())


def test_increasing_weight():
    settings = Weight(kind="increasing", w=0.6, w_mid=0.2)
    weights = adversarial_weight(settings, torch.tensor([10, 25, 50, 75, 90, 100]), 101)
    expected = torch.tensor([0.0156, 0.0667, 0.2, 0.3803, 0.5077, 0.6])
    torch.testing.assert_close(weights, expected, atol=5e-5, rtol=0)
    assert adversarial_weight(settings, torch.tensor([1]), 2).item() == pytest.approx(0.6)


def test_constant_weight_and_weight_zero():
    index = torch.arange(1, 10)
    assert torch.equal(adversarial_weight(Weight(), index, 10), torch.full((9,), 0.3))
    for kind in ("constant", "increasing"):
        zero = adversarial_weight(Weight(kind=kind, w=0.0), index, 10)
        assert torch.equal(zero, torch.zeros(9))


def test_preconditioning_values():
    process = ConsistencyProcess(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    table = {0.002: (1, 0, 2.0), 0.1: (0.963, 0.0961, 1.961), 0.5: (0.502, 0.3521, 1.414),
             2.5: (0.0385, 0.4899, 0.3922), 80.0: (3.9e-5, 0.49998, 0.0125)}  # fmt: skip
    for sigma, expected in table.items():
        found = torch.stack(process.coefficients(torch.tensor(sigma)))
        torch.testing.assert_close(found, torch.tensor(expected), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("sigma_data", [0.5, 0.7473, 0.123456, 1.0])
@pytest.mark.parametrize("sigma_min", [0.002, 0.05])
def test_boundary_is_exact_bit_for_bit(sigma_data, sigma_min):
    process = ConsistencyProcess(sigma_min=sigma_min, sigma_max=80.0, sigma_data=sigma_data)
    x = torch.randn(5, 1, 8, 8)

    def network(images, t, return_dict):
        return (1e3 * torch.randn_like(images),)

    settings = StudentSettings(sigma_min=sigma_min)
    sigma = noise_grid(settings, 7)[torch.zeros(5, dtype=torch.int64)]
    assert torch.equal(process.denoise(network, x, sigma), x)
