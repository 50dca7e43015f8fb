"""The U-Net: golden sizes of the published networks, copies of weights, shapes of images."""

import pytest
import torch

from slimgen.config.base import Network
from slimgen.networks.unet import copy_weights, image_shape, make_unet

TINY = Network(
    block_out_channels=(8, 16),
    layers_per_block=1,
    attention=(False, False),
    mid_attention=False,
    norm_num_groups=4,
)


def levels(*channels, attention_at):
    return Network(
        block_out_channels=channels,
        attention=tuple(i == attention_at for i in range(len(channels))),
    )


@pytest.mark.parametrize(
    ("settings", "size", "parameters"),
    [
        pytest.param(Network(), 32, 35_746_307, id="cifar10"),
        pytest.param(levels(128, 256, 256, 256, 512, attention_at=2), 64, 78_700_803, id="celeba"),
        pytest.param(
            levels(128, 128, 256, 256, 512, 512, attention_at=4), 256, 113_673_219, id="lsun"
        ),
    ],
)
def test_published_networks_have_their_number_of_parameters(settings, size, parameters):
    with torch.device("meta"):
        network = make_unet(settings, channels=3, size=size)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_output_has_the_shape_of_the_image_and_the_config_knows_it():
    network = make_unet(TINY, channels=1, size=8)
    x = torch.randn(2, 1, 8, 8)
    assert network(x, torch.tensor([0, 999]), return_dict=False)[0].shape == x.shape
    assert image_shape(network) == (1, 8, 8)


def test_too_many_levels_for_the_image_is_an_error():
    with pytest.raises(ValueError, match=r"4 levels: images of 12 pixels cannot be halved 3 times"):
        make_unet(Network(), channels=3, size=12)


def test_a_network_that_predicts_a_variance_is_refused():
    network = make_unet(TINY, channels=1, size=8)
    network.register_to_config(out_channels=2)
    with pytest.raises(ValueError, match=r"1 channels in and 2 out"):
        image_shape(network)


def test_copied_weights_are_equal_and_independent():
    ours, theirs = (make_unet(TINY, channels=1, size=8) for _ in range(2))
    copy_weights(ours, theirs)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()


def test_copying_between_shapes_names_the_first_difference():
    ours = make_unet(TINY, channels=1, size=8)
    with pytest.raises(ValueError, match=r"^conv_in.weight has shape \(8, 3, 3, 3\) there and"):
        copy_weights(ours, make_unet(TINY, channels=3, size=8))
    deeper = TINY.model_copy(update={"layers_per_block": 2})
    with pytest.raises(ValueError, match=r"there and none here"):
        copy_weights(ours, make_unet(deeper, channels=1, size=8))
