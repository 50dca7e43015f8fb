"""One update of a GAN: its losses by hand, its order, who learns from what."""

import pytest
import torch

from slimgen.config.autogan import TransferSettings
from slimgen.data.dataset import Images
from slimgen.systems.autogan.gan import Gan
from slimgen.training.precision import resolve

RATE = {"lr": 0.05}
SETTINGS = TransferSettings(
    n_critic=3,
    batch_size=4,
    generator_batch=5,
    z_dim=2,
    optimizer=RATE,
    discriminator_optimizer=RATE,
)
REALS = (1.0, 0.6)  # values of the pixels of real images; a batch holds two of each


class Flat(torch.nn.Module):
    """G(z) = level, whatever z is."""

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(-0.5))

    def forward(self, z):
        return self.level.expand(len(z), 1, 2, 2)


class Told(torch.nn.Module):
    """D(x) = scale * mean(x); it notes how many images it sees and what all had learnt by then."""

    def __init__(self, generator):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.25))
        self.generator, self.seen = [generator], []  # in a list: no parameter of D

    def forward(self, x, stage):
        self.seen.append((len(x), self.scale.item(), self.generator[0].level.item()))
        return self.scale * x.mean((1, 2, 3))


def test_an_update_is_d_then_g_then_d_by_the_hinge_losses():
    pixels = torch.tensor([255, 204, 255, 204], dtype=torch.uint8)
    images = Images(pixels.view(4, 1, 1, 1).expand(4, 1, 4, 4), torch.zeros(4), num_classes=1)
    generator = Flat()
    told = Told(generator)
    compute = resolve(SETTINGS.runtime, "cpu")
    gan = Gan(SETTINGS, generator, told, images=images, compute=compute, seed=0)
    asked = []

    def choose(number):
        asked.append(number)
        return generator

    losses, loss_g = gan.update(2, steps=9, stage=0, size=2, choose=choose)
    assert asked == [6, 7, 8]  # an update of D each, numbered over the whole training
    counts, scales, levels = zip(*told.seen, strict=True)
    assert counts == (4 + 4, 5, 4 + 4, 4 + 4)
    # D has learnt before G looks at it, not from G's look, and after each of its own.
    assert 1.25 == scales[0] < scales[1] == scales[2] < scales[3] < told.scale.item()
    assert -0.5 == levels[0] == levels[1] < levels[2] == levels[3] == generator.level.item()

    def loss_d(w, g):
        real = [max(0.0, 1 - w * x) for x in REALS]  # 0 and 0.25: not 1 - the mean of D
        return sum(real) / len(real) + max(0.0, 1 + w * g)

    seen = [loss_d(w, g) for n, w, g in told.seen if n == 8]
    assert [float(loss) for loss in losses] == pytest.approx(seen)
    assert float(loss_g) == pytest.approx(-scales[1] * levels[1])
