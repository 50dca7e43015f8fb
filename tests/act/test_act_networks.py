"""Golden numbers of parameters, second derivatives, LPIPS on torchvision's features."""

import pytest
import torch
from safetensors.torch import save_file

from slimgen.config.act import Discriminator, StudentSettings
from slimgen.config.base import Network
from slimgen.networks import lpips
from slimgen.networks.lpips import Lpips, load_lpips
from slimgen.networks.time_discriminator import make_discriminator, pool_2x2
from slimgen.networks.unet import make_unet, unet_arguments

SMALL = Discriminator(
    block_out_channels=(8, 16),
    layers_per_block=1,
    attention=(False, True),
    attention_head_dim=4,
    norm_num_groups=4,
)


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("preset", "expected"), [("paper", 14_088_706), ("code", 17_976_834)])
def test_parameters_of_the_cifar_discriminators(preset, expected):
    settings = StudentSettings(preset=preset)
    with torch.device("meta"):
        network = make_discriminator(
            settings.discriminator, network=settings.network, channels=3, size=32
        )
    assert count(network) == expected


def test_parameters_of_the_cifar_generator():
    settings = StudentSettings().network
    with torch.device("meta"):
        network = make_unet(settings, channels=3, size=32)
        # The released checkpoint has six outputs, of which the last three are used.
        arguments = unet_arguments(settings, channels=3, size=32) | {"out_channels": 6}
        released = type(network)(**arguments)
    assert count(network) == 27_495_427
    assert count(released) == 27_498_886


def test_unused_head_is_the_difference_of_two_counts():
    with_head, without = (
        make_discriminator(
            SMALL.model_copy(update={"unused_head": on}), network=Network(), channels=1, size=8
        )
        for on in (True, False)
    )
    assert count(with_head) - count(without) == 4 * 16 + 1


def test_discriminator_has_second_derivatives_through_its_attention():
    torch.manual_seed(0)
    network = make_discriminator(SMALL, network=Network(), channels=1, size=8).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.5, 40.0])
    logits = network(x, t)
    assert logits.shape == (2,)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    gradient.square().sum().backward()
    attention = network.down_blocks[1].attentions[0].to_q.weight
    assert attention.grad is not None
    assert attention.grad.abs().max() > 0
    # one directional second derivative against a difference quotient
    direction = torch.randn_like(attention)
    expected = (attention.grad * direction).sum()

    def penalty(step: float) -> torch.Tensor:
        with torch.no_grad():
            attention.add_(step * direction)
        (g,) = torch.autograd.grad(network(x, t).sum(), x)
        with torch.no_grad():
            attention.sub_(step * direction)
        return g.square().sum()

    quotient = (penalty(1e-3) - penalty(-1e-3)) / 2e-3  # the softmax is in float32
    torch.testing.assert_close(quotient.float(), expected.float(), rtol=1e-3, atol=1e-6)


def test_time_matters_and_the_logit_of_an_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    network = make_discriminator(SMALL, network=Network(), channels=1, size=8).eval()
    x = torch.randn(3, 1, 8, 8)
    t = torch.tensor([0.1, 1.0, 30.0])
    together = network(x, t)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert (network(x, t.flip(0)) - together)[[0, 2]].abs().min() > 1e-4


@pytest.mark.parametrize("size", [(4, 4), (2, 6), (1, 1), (5, 3)])
def test_pooling_equals_adaptive_pooling(size):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(pool_2x2(x), torch.nn.functional.adaptive_avg_pool2d(x, 2))


def test_images_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="images of 10 pixels"):
        make_discriminator(Discriminator(), network=Network(), channels=3, size=10)


@pytest.fixture(scope="module")
def lpips_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    state = Lpips().state_dict()
    state = {k: w.abs() if k.startswith("lin") else w for k, w in state.items()}
    save_file(state, path)
    return path


def test_lpips_equals_the_definition_on_torchvision_features(lpips_file, monkeypatch):
    from torchvision.models import vgg16

    monkeypatch.setattr(lpips, "SIZE", 32)
    ours = load_lpips(lpips_file)
    theirs = vgg16(weights=None).features.eval()
    theirs.load_state_dict(ours.features.state_dict(), strict=True)
    a, b = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    total, x, y = torch.zeros(2), ((a + 1) / 2 - mean) / std, ((b + 1) / 2 - mean) / std
    after_relu = {3: 0, 8: 1, 15: 2, 22: 3, 29: 4}
    with torch.no_grad():
        for index, layer in enumerate(theirs):
            x, y = layer(x), layer(y)
            if index in after_relu:
                weights = ours.state_dict()[f"lin{after_relu[index]}.weight"]
                unit = [f / (f.norm(dim=1, keepdim=True) + 1e-10) for f in (x, y)]
                total += ((unit[0] - unit[1]) ** 2 * weights).sum(1).mean((1, 2))
        found = ours(a, b)
    torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-7)
    assert torch.equal(ours(a, a), torch.zeros(2))
    grey = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(ours(grey, -grey), ours(grey.expand(1, 3, 8, 8), -grey))


def test_lpips_files_that_do_not_fit_are_named(tmp_path, lpips_file):
    with pytest.raises(ValueError, match="do not exist"):
        load_lpips(tmp_path / "absent.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"12345678")
    with pytest.raises(ValueError, match="cannot be read"):
        load_lpips(broken)
    short = tmp_path / "short.safetensors"
    save_file({"lin0.weight": torch.zeros(1, 64, 1, 1)}, short)
    with pytest.raises(ValueError, match="is missing"):
        load_lpips(short)
