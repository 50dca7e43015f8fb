"""Inner widths of ResBlocks: one set of weights, whole groups, ordinary networks, exact costs."""

import itertools
import json
import random

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.evaluation.complexity import count_params, count_unet_macs
from slimgen.networks.kernel_supernet import KernelSupernet, extract
from slimgen.networks.searched_unet import SearchedUNet2DModel, unet_config
from slimgen.networks.unet_blocks import named_blocks, named_resnets
from slimgen.search.space import Arch, arch_cost
from slimgen.systems.dbnas.artefacts import plain_config, space_of
from slimgen.systems.dbnas.choose import make_problem

COMMON = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "layers_per_block": 1,
}
NETS = {
    "plain": {
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "add_attention": False,
    },
    "attention, resnet resampling, scale and shift": {
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
    },
    "ResnetDownsampleBlock2D": {
        "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        "mid_block_scale_factor": 2**0.5,
    },
}
FRACTIONS = (1.0, 0.75, 0.25)


def make(name, **changes):
    torch.manual_seed(0)
    return UNet2DModel(**(COMMON | NETS[name] | changes)).eval()


def wide_supernet(name, kernels=(1, 3, 5)):
    supernet = KernelSupernet(make(name), kernels, fractions=FRACTIONS).eval()
    with torch.no_grad():  # so that no norm's weights and no bias are all the same
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return supernet


def inputs():
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor(
        [3, 500, 999]
    )


def random_arch(supernet, seed):
    space, rng = space_of(supernet), random.Random(seed)
    options = [choices for name, _ in space.positions for choices in space.options(name)]
    return space.arch([rng.choice(choices) for choices in options])


@pytest.mark.parametrize("name", NETS)
def test_path_equals_extracted_network_bit_for_bit(name):
    supernet, (x, t) = wide_supernet(name), inputs()
    for seed in range(3):
        arch = random_arch(supernet, seed)
        network = extract(supernet, arch)
        assert {n: tuple(k) for n, k in network.config.kernels.items()} == arch.kernels
        assert {n: tuple(c) for n, c in network.config.widths.items()} == arch.widths
        with torch.no_grad():
            assert torch.equal(supernet(x, t, arch), network(x, t).sample)


@pytest.mark.parametrize("name", NETS)
def test_groups_shrink_with_the_width_and_keep_their_channels(name):
    supernet = wide_supernet(name)
    arch = random_arch(supernet, 5)
    plain, network = make(name), extract(supernet, arch)
    assert {w for widths in arch.widths.values() for w in widths} > {4}  # a narrow one is there
    for block, module in named_blocks(network).items():
        whole = named_resnets(named_blocks(plain)[block]).values()
        for resnet, full, width in zip(
            named_resnets(module).values(), whole, arch.widths[block], strict=True
        ):
            assert resnet.conv1.out_channels == resnet.conv2.in_channels == width
            assert resnet.norm2.num_channels == width
            per_group = full.norm2.num_channels // full.norm2.num_groups
            assert width == per_group * resnet.norm2.num_groups
            assert resnet.conv1.in_channels == full.conv1.in_channels
            assert resnet.conv2.out_channels == full.conv2.out_channels


@pytest.mark.parametrize("name", NETS)
def test_enumerated_costs_are_those_of_the_extracted_network(name):
    """What is not searched costs the same in every subnet, so all differences agree."""
    supernet = wide_supernet(name)
    problem = make_problem(supernet, make(name), "params")
    outside = set()
    for seed in range(8):
        arch = random_arch(supernet, seed) if seed else problem.space.base
        network = extract(supernet, arch)
        outside.add(
            (
                count_params(network) - arch_cost(problem.params, arch),
                count_unet_macs(network, (1, 8, 8)).total - arch_cost(problem.macs, arch),
            )
        )
    assert len(outside) == 1
    unet = make(name)
    parts = [
        layer
        for block in named_blocks(unet).values()
        for resnet in named_resnets(block).values()
        for layer in (resnet.conv1, resnet.norm2, resnet.time_emb_proj, resnet.conv2)
    ]
    assert arch_cost(problem.params, problem.space.base) == sum(map(count_params, parts))


def test_every_candidate_of_a_block_has_a_cost():
    supernet = wide_supernet("plain")
    problem = make_problem(supernet, make("plain"), "macs")
    assert [problem.space.size(name) for name in supernet.positions] == [
        27,
        27,
        27**2,
        27**2,
        27**2,
    ]
    for name, parts in problem.params.items():
        ways = [set(part) for part in parts]
        every = set(itertools.product(*problem.space.options(name)))
        assert every == {tuple(itertools.chain(*way)) for way in itertools.product(*ways)}


@pytest.mark.parametrize("name", NETS)
def test_the_widest_paths_are_those_of_a_space_of_kernels(name):
    """Same seed: the same weights under the same names, and the same bits on every path."""
    supernets = []
    for fractions in ((1.0,), FRACTIONS):
        torch.manual_seed(3)
        unet = UNet2DModel(**(COMMON | NETS[name]))
        supernets.append(KernelSupernet(unet, (1, 3, 5), fractions=fractions).eval())
    kernels_alone, wide = supernets
    ours, theirs = wide.state_dict(), kernels_alone.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert space_of(kernels_alone).widths == ()
    x, t = inputs()
    arch = random_arch(kernels_alone, 1)
    widest = Arch.of(arch, space_of(wide).base.widths)
    with torch.no_grad():
        assert torch.equal(wide(x, t, widest), kernels_alone(x, t, arch))


def test_a_narrow_path_has_the_first_channels_of_the_widest_weights():
    supernet, (x, t) = KernelSupernet(make("plain"), (3,), fractions=(1.0, 0.5)), inputs()
    base = space_of(supernet).base
    half = {name: tuple(width // 2 for width in widths) for name, widths in base.widths.items()}
    supernet(x, t, Arch.of(base.kernels, half)).square().sum().backward()
    for name, block in supernet.blocks.items():
        for resnet, width in zip(named_resnets(block).values(), half[name], strict=True):
            conv1, conv2 = resnet.conv1.convs["3"], resnet.conv2.convs["3"]
            for grad in (
                conv1.weight.grad,
                conv1.bias.grad,
                resnet.norm2.weight.grad,
                resnet.time_emb_proj.weight.grad,
                conv2.weight.grad.transpose(0, 1),
            ):
                used = grad.flatten(1).abs().amax(1) if grad.dim() > 1 else grad.abs()
                assert (used[width:] == 0).all()
                # A bias before a norm of two channels moves them against each other only.
                assert (used[:width] > 0).any()


def test_saved_and_loaded_as_any_diffusers_model(tmp_path):
    supernet, (x, t) = wide_supernet("attention, resnet resampling, scale and shift"), inputs()
    network = extract(supernet, random_arch(supernet, 2)).eval()
    network.save_pretrained(tmp_path)
    again = SearchedUNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert again.config.widths == network.config.widths
    assert plain_config(again) == plain_config(network)
    with torch.no_grad():
        assert torch.equal(again(x, t).sample, network(x, t).sample)
    copy = SearchedUNet2DModel.from_config(network.config)
    assert copy.config.widths == network.config.widths
    assert count_params(copy) == count_params(network)


def test_a_network_of_kernels_alone_has_no_widths_in_its_file(tmp_path):
    """Files that were written before there were widths, and those without, are the same."""
    supernet, (x, t) = KernelSupernet(make("plain"), (1, 3)).eval(), inputs()
    network = extract(supernet, random_arch(supernet, 2)).eval()
    network.save_pretrained(tmp_path)
    assert "widths" not in json.loads((tmp_path / "config.json").read_text())
    again = SearchedUNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    with torch.no_grad():
        assert torch.equal(again(x, t).sample, network(x, t).sample)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"mid_block": [16]}, r"widths of mid_block: \[16\]; the block has 2 ResBlocks"),
        ({"mid_block": [16, 3]}, "widths of mid_block: .* 4 channels per group"),
        ({"mid_block": [16, 0]}, "widths of mid_block: 0 is not between 1 and the 16 channels"),
        ({"mid_block": [16, 20]}, "widths of mid_block: 20 is not between 1 and the 16 channels"),
        ({"elsewhere": [16]}, "widths name the blocks"),
    ],
)
def test_wrong_widths_are_named(widths, message):
    unet = make("plain")
    base = space_of(KernelSupernet(make("plain"), (3,), fractions=(1.0, 0.5))).base
    with pytest.raises(ValueError, match=message):
        SearchedUNet2DModel(base.kernels, base.widths | widths, **unet_config(unet))


def test_a_width_that_tears_a_group_is_refused():
    with pytest.raises(ValueError, match=r"0\.3 of 4 groups of channels are not one or more whole"):
        KernelSupernet(make("plain"), (3,), fractions=(1.0, 0.3))
