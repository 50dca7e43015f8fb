"""Generators and discriminator: golden sizes, extraction, skips, growth, files."""

import random

import pytest
import torch
from torch.nn import functional as F

from slimgen.config.autogan_code import token_sizes
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.networks.autogan_arch import Arch
from slimgen.networks.autogan_generator import (
    AutoGanGenerator,
    SharedGenerator,
    extract,
    load_generator,
    save_generator,
)
from slimgen.networks.sngan_discriminator import SnganDiscriminator
from slimgen.networks.stored import WEIGHTS
from slimgen.systems.autogan.space import PUBLISHED

A = PUBLISHED["A"]


def draw(cells, number, seed=0):
    rng = random.Random(seed)
    sizes = [size for cell in range(cells) for size in token_sizes(cell)]
    return [Arch.from_code([rng.randrange(size) for size in sizes]) for _ in range(number)]


def small(cells=3, skip_source="conv", width=4, bottom=2):
    torch.manual_seed(0)
    return SharedGenerator(
        width=width, cells=cells, bottom_width=bottom, z_dim=6, skip_source=skip_source
    )


@pytest.mark.parametrize(("width", "params"), [(64, 998_339), (128, 3_716_995), (256, 14_315_267)])
def test_shared_generator_has_the_published_number_of_parameters(width, params):
    with torch.device("meta"):
        shared = SharedGenerator(width=width, cells=3, bottom_width=4)
    assert count_params(shared) == params
    C = width
    assert params == 210 * C**2 + 66 * C + 129 * 16 * C + 2 * C + 27 * C + 3


def test_architecture_a_has_the_published_size():
    with torch.device("meta"):
        network = AutoGanGenerator(code=A.code, width=256, bottom_width=4)
        macs = count_macs(network, torch.empty(1, 128)).total
    assert count_params(network) == 4_405_251
    assert macs == 26_816 * 256**2 + 128 * 16 * 256 + 27 * 256 * 1024
    assert round(macs / 1e9, 3) == 1.765


@pytest.mark.parametrize(("width", "params"), [(64, 264_768), (128, 1_053_824)])
def test_discriminator_has_the_published_number_of_parameters(width, params):
    assert count_params(SnganDiscriminator(width=width, cells=3)) == params


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("cells", "number"), [(1, 8), (2, 24), (3, 24)])
def test_extracted_generator_makes_the_images_of_the_shared_one(cells, number, training):
    shared = small(cells).train(training)
    z = torch.randn(3, 6)
    for arch in draw(cells, number):
        alone = extract(shared, arch)  # before the shared statistics move
        assert torch.equal(alone(z), shared(z, arch)), arch.text
        assert count_params(alone) <= count_params(shared)


def test_partial_architecture_uses_the_first_cells():
    shared, z = small().eval(), torch.randn(2, 6)
    for arch in draw(2, 4):
        images = shared(z, arch)
        assert images.shape == (2, 3, 8, 8)
        assert torch.equal(extract(shared, arch)(z), images)
    with pytest.raises(ValueError, match="of 4 cells; there are 3"):
        shared(z, draw(4, 1)[0])


def test_every_architecture_trains_all_that_it_uses():
    shared, z = small(), torch.randn(3, 6)
    for arch in draw(3, 12, seed=5):
        alone = extract(shared, arch)
        alone(z).square().sum().backward()
        without = [name for name, p in alone.named_parameters() if p.grad is None]
        assert without == [], arch.text


def test_an_extracted_generator_shares_no_memory():
    shared = small()
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    alone = extract(shared, PUBLISHED["E2GAN"]).train()
    alone(torch.randn(3, 6))
    with torch.no_grad():
        for parameter in alone.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())


def block(weights, name, x, *, up=None):
    """The conv block of architecture A (pre-activation, no norm), written on its own."""
    x = x.relu()
    if up:
        x = torch.nn.Upsample(scale_factor=2, mode=up)(x)
    return F.conv2d(x, weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"], padding=1)


def one(weights, name, x):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


@pytest.mark.parametrize("skip_source", ["conv", "sum"])
def test_architecture_a_step_by_step(skip_source):
    network = extract(small(skip_source=skip_source), A).eval()
    w, z = network.state_dict(), torch.randn(2, 6)
    up = {m: torch.nn.Upsample(scale_factor=2, mode=m) for m in ("nearest", "bilinear")}
    x = F.linear(z, w["linear.weight"], w["linear.bias"]).view(2, 4, 2, 2)
    h1 = block(w, "cells.0.first.pre", x, up="nearest")
    x = block(w, "cells.0.second.pre", h1) + one(w, "cells.0.shortcut", up["nearest"](x))
    h2 = block(w, "cells.1.first.pre", x, up="bilinear")
    s2 = h2 + one(w, "cells.1.skips.0", up["bilinear"](h1))
    x = block(w, "cells.1.second.pre", s2) + one(w, "cells.1.shortcut", up["bilinear"](x))
    h3 = block(w, "cells.2.first.pre", x, up="nearest")
    received = h2 if skip_source == "conv" else s2
    s3 = h3 + one(w, "cells.2.skips.0", up["nearest"](up["nearest"](h1)))
    s3 = s3 + one(w, "cells.2.skips.1", up["nearest"](received))
    x = block(w, "cells.2.second.pre", s3)
    x = F.batch_norm(
        x, w["to_rgb.0.running_mean"], w["to_rgb.0.running_var"], w["to_rgb.0.weight"],
        w["to_rgb.0.bias"],
    )  # fmt: skip
    x = F.conv2d(x.relu(), w["to_rgb.2.weight"], w["to_rgb.2.bias"], padding=1).tanh()
    torch.testing.assert_close(network(z), x, rtol=1e-5, atol=1e-6)


def test_skip_source_matters_only_where_a_cell_with_skips_is_skipped_from():
    z, conv, added = torch.randn(2, 6), small().eval(), small(skip_source="sum").eval()
    assert not torch.equal(conv(z, A), added(z, A))
    only_first = Arch.from_code((*A.code[:13], 2))  # the third cell receives the first alone
    assert torch.equal(conv(z, only_first), added(z, only_first))


def test_discriminator_grows_and_keeps_its_weights():
    D = SnganDiscriminator(width=4, cells=3, channels=1)
    for stage, size in enumerate((8, 16, 32)):
        D.zero_grad()
        logits = D(torch.randn(5, 1, size, size), stage)
        assert logits.shape == (5,)
        logits.sum().backward()
        used = {
            n.split(".")[1] for n, p in D.blocks.named_parameters("blocks") if p.grad is not None
        }
        assert used == {str(i) for i in range(stage + 1)}


def test_discriminator_is_spectrally_normalised():
    D = SnganDiscriminator(width=8, cells=3, channels=1)
    for _ in range(30):
        D(torch.zeros(1, 1, 8, 8), 2)
    layers = [m for m in D.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 2 * 4 + 2 + 1
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(norm, torch.ones(()), rtol=0.02, atol=0)


def test_files_give_the_same_images(tmp_path):
    network = extract(small(skip_source="sum"), PUBLISHED["E2GAN"]).eval()
    save_generator(tmp_path, network)
    loaded, z = load_generator(tmp_path), torch.randn(2, 6)
    assert torch.equal(loaded(z), network(z))
    assert (loaded.arch, loaded.skip_source) == (PUBLISHED["E2GAN"], "sum")
    assert loaded.shape == (3, 16, 16)
    assert not loaded.training


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json does not exist"):
        load_generator(tmp_path)
    save_generator(tmp_path, extract(small(), A))
    weights = tmp_path / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="the weights cannot be read"):
        load_generator(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ValueError, match="'UNet2DModel' is not allowed; it can be AutoGan"):
        load_generator(tmp_path)
