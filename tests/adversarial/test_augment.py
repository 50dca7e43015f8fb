"""Augmentation: identities, exact moves, the geometry of linear images, statistics of the draws."""

import math

import pytest
import torch

from slimgen.adversarial import augment as module
from slimgen.adversarial.augment import (
    SYM6,
    augment,
    change_colours,
    draw_colours,
    draw_geometry,
    draw_moves,
    move_pixels,
    reflect,
    resample,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moves(n, *, mirror=False, turns=0, shift=(0, 0)):
    return {
        "mirror": torch.full((n,), mirror),
        "turns": torch.full((n,), turns),
        "shift": torch.tensor(shift).expand(n, 2),
    }


def identity(n: int) -> torch.Tensor:
    return torch.eye(3)[:2].expand(n, 2, 3).clone()


def test_sym6_is_the_orthogonal_wavelet_with_six_vanishing_moments():
    taps = torch.tensor(SYM6, dtype=torch.float64)
    assert taps.sum().item() == pytest.approx(math.sqrt(2), abs=1e-12)
    for lag in range(1, 6):
        assert (taps[2 * lag :] * taps[: -2 * lag]).sum().item() == pytest.approx(0, abs=1e-11)
    k = torch.arange(12, dtype=torch.float64)
    for moment in range(6):
        assert ((-1.0) ** k * k**moment * taps).sum().item() == pytest.approx(0, abs=2e-9)


def test_p_zero_is_the_image_itself_and_draws_nothing():
    x, generator = torch.randn(4, 1, 8, 8), rng()
    before = generator.get_state()
    assert augment(x, 0.0, generator) is x
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (2, 3, 32, 32), (2, 3, 6, 10), (2, 1, 7, 7)])
def test_identity_of_every_part(shape):
    x = torch.randn(shape)
    assert torch.equal(move_pixels(x, **moves(len(x))), x)
    torch.testing.assert_close(resample(x, identity(len(x))), x, atol=4e-6, rtol=0)
    colours = torch.cat([torch.eye(shape[1]), torch.zeros(shape[1], 1)], 1).expand(len(x), -1, -1)
    torch.testing.assert_close(change_colours(x, colours), x)
    vanishing = draw_geometry(5, 0.0, rng(), height=8, width=8)
    torch.testing.assert_close(vanishing, identity(5))


def test_mirror_and_quarter_turns_are_exact():
    x = torch.randn(3, 2, 8, 8)
    assert torch.equal(move_pixels(x, **moves(3, mirror=True)), x.flip(-1))
    for turns in range(4):
        assert torch.equal(move_pixels(x, **moves(3, turns=turns)), torch.rot90(x, turns, (2, 3)))
    both = move_pixels(x, **moves(3, mirror=True, turns=1))
    assert torch.equal(both, torch.rot90(x.flip(-1), 1, (2, 3)))
    wide = torch.randn(3, 1, 4, 6)
    assert torch.equal(move_pixels(wide, **moves(3, turns=2)), torch.rot90(wide, 2, (2, 3)))


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (2, 3), (-3, 1)])
def test_whole_pixel_shifts_equal_reflect_padding_in_both_ways_of_moving(shift):
    x = torch.randn(2, 1, 8, 8)
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4), mode="reflect")
    down, right = shift
    expected = padded[:, :, 4 - down : 12 - down, 4 - right : 12 - right]
    assert torch.equal(move_pixels(x, **moves(2, shift=shift)), expected)
    inverse = identity(2)
    inverse[:, 0, 2], inverse[:, 1, 2] = -right, -down
    torch.testing.assert_close(resample(x, inverse), expected, atol=1e-5, rtol=0)


def test_a_linear_image_is_transformed_exactly_away_from_the_border():
    size = 33
    axis = torch.arange(size, dtype=torch.float64) - 16
    column, row = axis[None, :].expand(size, size), axis[:, None].expand(size, size)
    image = 0.3 * column - 0.2 * row + 1
    angle = 0.4
    inverse = torch.tensor(
        [[1.1 * math.cos(angle), -math.sin(angle), 0.7], [math.sin(angle), 0.9, -0.3]],
        dtype=torch.float64,
    )
    result = resample(image[None, None], inverse[None])[0, 0]
    source = torch.einsum("ij,jrk->irk", inverse[:, :2], torch.stack([column, row]))
    source = source + inverse[:, 2, None, None]
    expected = 0.3 * source[0] - 0.2 * source[1] + 1
    inner = slice(12, 21)
    torch.testing.assert_close(result[inner, inner], expected[inner, inner], atol=1e-8, rtol=0)


def test_reflect_folds_without_repeating_the_border():
    assert reflect(torch.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert reflect(torch.arange(-2, 3), 1).tolist() == [0] * 5


def test_draws_have_the_probabilities_and_spreads_of_the_paper():
    n, p, generator = 40_000, 0.4, rng(1)
    drawn = draw_moves(n, p, generator, height=32, width=32)
    assert drawn["mirror"].float().mean().item() == pytest.approx(p / 2, abs=0.01)
    assert (drawn["turns"] != 0).float().mean().item() == pytest.approx(0.75 * p, abs=0.01)
    assert drawn["shift"].abs().max() == 4
    assert set((draw_moves(500, 1.0, generator, height=4, width=6)["turns"]).tolist()) == {0, 2}
    inverse = draw_geometry(n, 1.0, generator, height=32, width=32)
    determinant = torch.linalg.det(inverse[:, :, :2])  # only the isotropic scale changes areas
    assert determinant.log().std().item() == pytest.approx(2 * 0.2 * math.log(2), rel=0.02)
    forward = -torch.linalg.solve(inverse[:, :, :2], inverse[:, :, 2])
    assert forward.std().item() == pytest.approx(0.125 * 32, rel=0.02)
    moved = draw_geometry(n, p, generator, height=32, width=32)
    rotated = (moved[:, 0, 1].abs() > 1e-6).float().mean().item()
    assert rotated == pytest.approx(p, abs=0.01)  # two rotations, at least one with probability p


def test_one_channel_has_brightness_and_contrast_only():
    n = 40_000
    colours = draw_colours(n, 1.0, rng(2), channels=1)
    contrast, offset = colours[:, 0, 0], colours[:, 0, 1]
    assert contrast.log().std().item() == pytest.approx(0.5 * math.log(2), rel=0.02)
    assert (offset / contrast).std().item() == pytest.approx(0.2, rel=0.02)
    half = draw_colours(n, 0.5, rng(3), channels=1)
    assert (half[:, 0, 0] == 1).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_colours_keep_grey_grey_and_scale_its_value_by_contrast_alone():
    n = 2_000
    colours = draw_colours(n, 1.0, rng(4), channels=3)
    # Hue and saturation leave the axis of luma alone; the luma mirror may turn it around.
    grey = colours[:, :, :3] @ torch.ones(3)
    assert (grey - grey.mean(1, keepdim=True)).abs().max() < 1e-5
    assert 0.4 < (grey.mean(1) < 0).float().mean() < 0.6
    assert grey.mean(1).abs().log().std().item() == pytest.approx(0.5 * math.log(2), rel=0.06)
    chroma = colours[:, :, :3] @ torch.tensor([1.0, -1.0, 0.0])
    assert chroma.sum(1).abs().max() < 1e-4
    length = chroma.norm(dim=1) / math.sqrt(2) / grey.mean(1).abs()  # saturation
    assert length.log().std().item() == pytest.approx(math.log(2), rel=0.06)


def test_other_channel_counts_are_refused():
    with pytest.raises(ValueError, match="2 channels"):
        augment(torch.zeros(1, 2, 8, 8), 0.5, rng())


def test_gradients_flow_through_and_agree_with_differences():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    inverse = draw_geometry(2, 1.0, rng(5), height=6, width=6).double()
    colours = draw_colours(2, 1.0, rng(6), channels=3).double()
    drawn = draw_moves(2, 1.0, rng(7), height=6, width=6)

    def whole(images):
        return change_colours(resample(move_pixels(images, **drawn), inverse), colours)

    assert torch.autograd.gradcheck(whole, (x,))
    loss = augment(torch.randn(4, 1, 8, 8, requires_grad=True), 0.8, rng(8)).square().sum()
    assert loss.grad_fn is not None


def test_a_seed_repeats_and_two_draws_differ():
    x = torch.randn(16, 1, 8, 8)
    assert torch.equal(augment(x, 0.7, rng(9)), augment(x, 0.7, rng(9)))
    assert not torch.equal(augment(x, 0.7, rng(9)), augment(x, 0.7, rng(10)))
    assert abs(module.DELAY - 5.098) < 1e-3
