"""Losses, image pool, rates and discriminators of the translating GANs, against closed forms."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from slimgen.adversarial.losses import fake_loss, generator_loss, real_loss
from slimgen.adversarial.pool import ImagePool
from slimgen.config.base import Optimizer
from slimgen.config.translation import TranslationSettings
from slimgen.data.pairs import load_pairs
from slimgen.networks.gan_generators import initialise
from slimgen.networks.patch_discriminator import MultiscaleDiscriminator
from slimgen.networks.vgg19 import WEIGHTS, Vgg19, load_vgg19
from slimgen.systems.gan_compression.adversary import (
    Adversary,
    load_adversary,
    save_adversary,
)
from slimgen.systems.gan_compression.objective import draw_batch, translation_terms
from slimgen.training.job import StageError
from slimgen.training.optimizers import learning_rate
from slimgen.training.precision import Compute
from slimgen.training.seeding import make_rng

CPU = Compute(torch.device("cpu"), torch.float32, channels_last=False, compile=False)
SMALL = {"ndf": 4, "num_layers": 2}


def settings(**changes) -> TranslationSettings:
    return TranslationSettings(**({"steps": 10, "batch_size": 3, "discriminator": SMALL} | changes))


def make_adversary(data, **changes) -> Adversary:
    return Adversary(settings(**changes), load_pairs(data, "train"), compute=CPU, seed=0)


class Told(nn.Module):
    """Says what it is told, and remembers what it was shown."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer, self.weight = answer, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        self.shown = x
        scales = [[a + 0 * self.weight for a in scale] for scale in self.answer]
        return scales if len(scales) > 1 else scales[0][-1]


def test_least_squares():
    logits = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    assert generator_loss(logits, "lsgan").tolist() == [4, 1, 0.25, 1]
    assert real_loss(logits, "lsgan").tolist() == [4, 1, 0.25, 1]
    assert fake_loss(logits, "lsgan").tolist() == [1, 0, 0.25, 4]


def test_a_patch_discriminators_loss_is_halved(edges):
    adversary = make_adversary(edges)
    adversary.network = Told([[torch.tensor([-2.0, 0.5, 3.0, -1.0]).view(4, 1, 1, 1)]])
    fakes, reals, inputs = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), -torch.ones(2, 1, 4, 4)
    found = adversary.train(fakes, reals=reals, inputs=inputs, step=0)
    # fakes: relu(1 - 2), relu(1 + 0.5); reals: relu(1 - 3), relu(1 + 1)
    assert found["loss_d"] == pytest.approx(0.5 * (1.5 / 2 + 2 / 2))
    assert (found["d_fake"], found["d_real"]) == (-0.75, 1.0)
    assert torch.equal(adversary.network.shown[:, 0], -torch.ones(4, 4, 4))  # the input first
    assert adversary.network.shown[:, 1].mean((1, 2)).tolist() == [0, 0, 1, 1]
    terms = adversary.generator_terms(fakes, reals=reals, inputs=inputs)
    assert terms.keys() == {"gan"}
    assert terms["gan"] == pytest.approx(-(-2.0 + 0.5 + 3 - 1) / 4 * 4 / 2 + 1)  # fakes alone


def test_multiscale_loss_and_feature_matching(label_maps):
    adversary = make_adversary(
        label_maps, task="semantic", lambda_feature=7.0, discriminator=SMALL | {"num_layers": 3}
    )
    column = [torch.tensor(values).view(4, 1, 1, 1) for values in (
        [1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 1.0, 0.0], [3.0, 3.0, 3.0, 5.0]
    )]  # fmt: skip
    logits = [torch.tensor(v).view(4, 1, 1, 1) for v in ([-2.0, 0.5, 3.0, -1.0], [0.0] * 4)]
    adversary.network = Told([[*column[:2], logits[0]], [column[2], logits[1]]])
    x, y = torch.zeros(2, 4, 4, 4), torch.zeros(2, 1, 4, 4)
    found = adversary.train(y, reals=y, inputs=x, step=0)
    assert found["loss_d"] == pytest.approx(((1.5 / 2 + 2 / 2) + (1 + 1)) / 2)  # not halved
    terms = adversary.generator_terms(y, reals=y, inputs=x)
    assert terms["gan"] == pytest.approx((1.5 / 2 + 0) / 2)
    # |1 - 4|, |2 - 8| -> 4.5; |0 - 1|, 0 -> 0.5; 0, |3 - 5| -> 1; over two scales
    assert terms["feature"] == pytest.approx(7.0 * (4.5 + 0.5 + 1) / 2)


def test_terms_are_weighted_and_summed(edges):
    adversary = make_adversary(edges, lambda_recon=3.0, lambda_gan=2.0)
    x, y = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16, requires_grad=True)
    wanted = torch.rand(2, 1, 16, 16)
    given = {"inputs": x, "fakes": y, "reals": wanted, "wanted": wanted}
    terms = translation_terms(adversary.settings, adversary, None, **given)
    logits = adversary.network(torch.cat([x, y], 1))
    torch.testing.assert_close(terms["gan"], -2.0 * logits.mean())
    torch.testing.assert_close(terms["recon"], 3.0 * (y - wanted).abs().mean())
    sum(terms.values()).backward()
    assert y.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in adversary.network.parameters())


def test_unpaired_discriminators_see_the_image_alone(strokes):
    adversary = make_adversary(strokes, task="unpaired")
    assert adversary.network(torch.rand(1, 1, 16, 16)).shape == (1, 1, 2, 2)


def test_the_pool_fills_and_then_exchanges():
    pool = ImagePool(3, (1, 1, 1))
    numbers = torch.arange(200.0).view(200, 1, 1, 1)
    seen, inside = [], []
    for step in range(100):
        rng = make_rng(0, step, "pool")
        before = pool.images[: pool.count].flatten().tolist()
        shown = pool.exchange(numbers[2 * step : 2 * step + 2], rng).flatten().tolist()
        after = pool.images[: pool.count].flatten().tolist()
        fresh = [2.0 * step, 2.0 * step + 1]
        if step >= 2:  # full: what is returned has left, what is not is inside
            assert sorted([*before, *fresh]) == sorted([*after, *shown])
        seen += shown
        inside.append(len(after))
    assert seen[:3] == [0, 1, 2]  # while it fills, images pass
    assert inside[:3] == [2, 3, 3]
    assert set(inside[2:]) == {3}
    past = sum(number < 2 * (i // 2) for i, number in enumerate(seen))
    assert 60 <= past <= 130  # about half of 197
    assert torch.equal(ImagePool(0, (1, 1, 1)).exchange(numbers, make_rng(0, 0, "p")), numbers)


def test_a_pool_goes_on_where_it_was():
    whole, first = ImagePool(3, (1, 2, 2)), ImagePool(3, (1, 2, 2))
    images = torch.rand(8, 2, 1, 2, 2)
    outputs = [whole.exchange(x, make_rng(0, i, "pool")) for i, x in enumerate(images)]
    for i in range(4):
        first.exchange(images[i], make_rng(0, i, "pool"))
    second = ImagePool(3, (1, 2, 2))
    second.load_state_dict(first.state_dict())
    for i in range(4, 8):
        assert torch.equal(second.exchange(images[i], make_rng(0, i, "pool")), outputs[i])


def test_rates_fall_to_zero_from_a_share_of_the_steps():
    rate = Optimizer(lr=0.2, decay="linear")
    values = [learning_rate(rate, step, 100, decay_start=0.5) for step in range(101)]
    assert values[:51] == [0.2] * 51
    assert values[75] == pytest.approx(0.1)
    assert values[100] == 0
    assert [learning_rate(rate, step, 100, decay_start=1.0) for step in (0, 99)] == [0.2, 0.2]
    for decay in ("linear", "cosine", "constant"):
        plain = Optimizer(lr=0.2, decay=decay, warmup=10)
        ours = [learning_rate(plain, step, 100, decay_start=0.0) for step in range(100)]
        assert ours == [learning_rate(plain, step, 100) for step in range(100)]


def test_pairs_stay_together_and_sides_apart(edges, strokes):
    pairs = load_pairs(edges, "train")
    same = type(pairs)(pairs.targets, pairs.targets, pairs.labels, pairs.labels, aligned=True)
    for step in range(6):
        given = {"step": step, "seed": 1, "device": "cpu"}
        x, y = draw_batch(settings(), same, **given)
        assert torch.equal(x, y)
        x, y = draw_batch(settings(task="unpaired", batch_size=6), same, **given)
        assert not torch.equal(x, y)
    plain = draw_batch(settings(flip=False, batch_size=12), pairs, **given)
    flipped = draw_batch(settings(batch_size=12), pairs, **given)
    for a, b in zip(plain, flipped, strict=True):
        mirrored = (a != b).flatten(1).any(1)
        assert 0 < mirrored.sum() < 12
        assert torch.equal(torch.where(mirrored[:, None, None, None], a.flip(-1), a), b)


def test_initial_weights_reach_spectrally_normalised_layers():
    network = MultiscaleDiscriminator(2, ndf=16, num_layers=3, num_scales=1)
    initialise(network, "normal", make_rng(0, 0, "init"), gain=0.02)
    inner = network.scales[0].stages[1][0].parametrizations.weight.original
    assert inner.detach().std() == pytest.approx(0.02, rel=0.05)


def test_adversaries_are_saved_and_loaded(edges, strokes, tmp_path):
    first, other = make_adversary(edges), make_adversary(edges, discriminator=SMALL)
    with torch.no_grad():
        for p in first.network.parameters():
            p.add_(1)
    back = make_adversary(strokes, task="unpaired").network
    save_adversary(tmp_path, {"discriminator": first.network, "back.discriminator": back})
    load_adversary(tmp_path, other.network)
    for a, b in zip(first.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)
    load_adversary(tmp_path, back, name="back.discriminator")
    with pytest.raises(ValueError, match=r"adversary\.safetensors: the discriminator is another"):
        load_adversary(tmp_path, back)
    with pytest.raises(ValueError, match=r"adversary\.safetensors: holds no back\.generator"):
        load_adversary(tmp_path, back, name="back.generator")
    with pytest.raises(ValueError, match=r"adversary\.safetensors does not exist"):
        load_adversary(tmp_path / "x", back)
    (tmp_path / "adversary.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"adversary\.safetensors: the weights cannot be read"):
        load_adversary(tmp_path, back)


def test_images_too_small_for_the_discriminator(edges):
    with pytest.raises(StageError, match="a PatchGAN of 3 layers needs at least 24; use fewer"):
        make_adversary(edges, discriminator={"ndf": 4, "num_layers": 3})


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(Vgg19().state_dict() | {"classifier.0.bias": torch.zeros(3)}, path)
    return path


def test_vgg_distance_is_the_weighted_one_of_five_layers(vgg_file):
    network = load_vgg19(vgg_file)
    assert network.taps == [1, 6, 11, 20, 29]
    a, b = torch.rand(2, 1, 16, 16, requires_grad=True), torch.rand(2, 1, 16, 16)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x, y = (((v + 1) / 2).repeat(1, 3, 1, 1).sub(mean).div(std) for v in (a, b))
    expected, weights = 0.0, iter(WEIGHTS)
    for index, layer in enumerate(network.features):
        x, y = layer(x), layer(y)
        if index in network.taps:
            expected = expected + next(weights) * (x - y).abs().mean()
    found = network(a, b)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert a.grad.abs().sum() > 0
    assert network(b, b) == 0
    assert not any(p.requires_grad for p in network.parameters())


def test_vgg_weights_that_do_not_fit(tmp_path, vgg_file):
    with pytest.raises(ValueError, match="do not exist"):
        load_vgg19(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        load_vgg19(tmp_path / "broken.safetensors")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"features\.0\.weight has shape \(1,\), not \(64, 3"):
        load_vgg19(tmp_path / "other.safetensors")


def test_vgg_term(edges, vgg_file):
    adversary = make_adversary(edges, lambda_vgg=2.0, vgg_path=str(vgg_file))
    network = load_vgg19(vgg_file)
    fakes, wanted = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    given = {"inputs": wanted, "fakes": fakes, "reals": wanted, "wanted": wanted}
    terms = translation_terms(adversary.settings, adversary, network, **given)
    torch.testing.assert_close(terms["vgg"], 2 * network(fakes, wanted))
    torch.testing.assert_close(terms["recon"], 100 * F.l1_loss(fakes, wanted))
