"""Golden numbers: the CIFAR-10 vectors that DiffNAS left in code derived from it."""

import pytest
import torch

from slimgen.config.base import Network
from slimgen.evaluation.complexity import count_params, count_unet_macs
from slimgen.networks.conv_costs import conv_shapes
from slimgen.networks.searched_unet import SearchedUNet2DModel, searchable_convs, unet_config
from slimgen.networks.unet import make_unet
from slimgen.search.space import Arch, SearchSpace, arch_cost

BLOCKS = (
    *(f"down_blocks.{i}" for i in range(4)),
    "mid_block",
    *(f"up_blocks.{i}" for i in range(4)),
)
# Digits are kernel sizes in the order of computation, up blocks from low to high resolution.
VECTORS = {
    "teacher": "3333 3333 3333 3333 3333 333333 333333 333333 333333",
    "cifar_7": "3331 3333 3333 3333 3333 133335 133335 131333 111113",
    "cifar_8": "3331 3333 3333 3333 3333 133335 133335 331513 111113",
    "id 6": "3331 3333 3333 3333 3333 113335 113335 131313 111113",
    "id 3": "3131 3133 5533 5333 3333 533335 333135 111113 111111",
    "id 9": "1351 3131 3315 1133 1131 553551 135111 151111 133331",
}
# params [M], multiply-adds of convs and linears [G], of the searchable convs [M]
NUMBERS = {
    "teacher": (35.75, 6.05, 4577.0),
    "cifar_7": (32.34, 4.18, 2698.0),
    "cifar_8": (33.65, 4.51, 3033.5),
    "id 6": (30.50, 3.93, 2454.7),
    "id 3": (36.53, 3.54, 2060.5),
    "id 9": (33.91, 4.53, 3050.3),
}


def decode(text):
    return Arch.of({n: tuple(map(int, d)) for n, d in zip(BLOCKS, text.split(), strict=True)})


@pytest.fixture(scope="module")
def cifar():
    with torch.device("meta"):
        return make_unet(Network(), channels=3, size=32)


@pytest.fixture(scope="module")
def shapes(cifar):
    return conv_shapes(cifar)


@pytest.mark.parametrize("name", VECTORS)
def test_params_and_macs_of_a_published_vector(name, cifar, shapes):
    arch, (params, macs, searchable) = decode(VECTORS[name]), NUMBERS[name]
    with torch.device("meta"):
        network = SearchedUNet2DModel(arch, **unet_config(cifar))
    assert count_params(network) / 1e6 == pytest.approx(params, abs=0.005)
    counted = count_unet_macs(network, (3, 32, 32)).conv_linear
    assert counted / 1e9 == pytest.approx(macs, abs=0.0051)
    costs = {
        block: [{(k,): s.macs(k) for k in (1, 3, 5)} for s in c] for block, c in shapes.items()
    }
    assert arch_cost(costs, arch) / 1e6 == pytest.approx(searchable, abs=0.05)
    # the cost of the search and the count of the whole network differ by what is not searched
    base = arch_cost(costs, decode(VECTORS["teacher"]))
    assert 6_053_953_536 - counted == base - arch_cost(costs, arch)


def test_params_of_the_search_are_those_of_the_network(cifar, shapes):
    costs = {
        block: [{(k,): s.params(k) for k in (1, 3, 5)} for s in c] for block, c in shapes.items()
    }
    base = arch_cost(costs, decode(VECTORS["teacher"]))
    convs = [getattr(r, c) for places in searchable_convs(cifar).values() for r, c in places]
    assert base == sum(count_params(conv) for conv in convs)
    for text in VECTORS.values():
        arch = decode(text)
        with torch.device("meta"):
            network = SearchedUNet2DModel(arch, **unet_config(cifar))
        assert 35_746_307 - count_params(network) == base - arch_cost(costs, arch)


def test_size_of_the_space(shapes):
    space = SearchSpace((1, 3, 5), tuple((name, len(convs)) for name, convs in shapes.items()))
    assert [space.size(name) for name in BLOCKS] == [81] * 5 + [729] * 4
    assert sum(space.size(name) for name in BLOCKS) == 3321
    assert space.num_choices == 44
    assert len(space.kernels) ** space.num_choices == 3**44
    assert space.arch(decode(VECTORS["id 9"]).vector) == decode(VECTORS["id 9"])


def test_every_block_of_the_net_has_one_resolution(shapes):
    for convs in shapes.values():
        assert len({(s.height, s.width) for s in convs}) == 1
