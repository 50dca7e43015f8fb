"""A supernet's path is an ordinary network, whatever blocks the U-Net is made of."""

import itertools
import random

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from slimgen.networks.kernel_supernet import KernelSupernet, extract
from slimgen.networks.searched_unet import SearchedUNet2DModel, unet_config
from slimgen.networks.unet_blocks import block_outputs, named_blocks, walk
from slimgen.systems.dbnas.artefacts import plain_config

SMALL = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16)}
COMMON = SMALL | {"norm_num_groups": 4, "attention_head_dim": 4}
NETS = {
    "plain": {
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "add_attention": False,
        "downsample_padding": 0,
    },
    "attention": {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 2,
    },
    "resnet resampling, scale and shift": {
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
        "layers_per_block": 1,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
    },
    "ResnetDownsampleBlock2D": {
        "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        "layers_per_block": 1,
        "mid_block_scale_factor": 2**0.5,
    },
}


def make(name, **changes):
    torch.manual_seed(0)
    return UNet2DModel(**COMMON, **(NETS[name] | changes)).eval()


def inputs(n=3):
    rng = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, generator=rng), torch.tensor([3, 500, 999])[:n]


def random_arch(supernet, seed=0):
    rng = random.Random(seed)
    return {
        name: tuple(rng.choice(supernet.kernels) for _ in range(count))
        for name, count in supernet.positions.items()
    }


@pytest.mark.parametrize("name", NETS)
def test_walk_is_the_forward_pass(name):
    unet, (x, t) = make(name), inputs()
    blocks = named_blocks(unet)
    with torch.no_grad():
        walked = walk(unet, x, t, lambda block, i: block_outputs(block, blocks[block], i))
        assert torch.equal(walked, unet(x, t).sample)


@pytest.mark.parametrize("name", NETS)
def test_path_equals_extracted_network(name):
    supernet, (x, t) = KernelSupernet(make(name), (1, 3, 5)).eval(), inputs()
    for seed in range(3):
        arch = random_arch(supernet, seed)
        network = extract(supernet, arch)
        assert not network.training
        assert {k: tuple(v) for k, v in network.config.kernels.items()} == arch
        with torch.no_grad():
            torch.testing.assert_close(
                supernet(x, t, arch), network(x, t).sample, rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("name", NETS)
def test_base_path_with_the_teachers_weights_is_the_teacher(name):
    unet, (x, t) = make(name), inputs()
    supernet = KernelSupernet(make(name), (1, 3, 5)).eval()
    weights = {}
    for key, value in unet.state_dict().items():
        where, _, tensor = key.rpartition(".")
        inside = where.endswith((".conv1", ".conv2"))
        weights[f"{where}.convs.3.{tensor}" if inside else key] = value
    supernet.unet.load_state_dict(weights, strict=False)
    base = {block: (3,) * count for block, count in supernet.positions.items()}
    with torch.no_grad():
        torch.testing.assert_close(supernet(x, t, base), unet(x, t).sample, rtol=1e-6, atol=1e-6)


def test_all_threes_is_the_plain_network():
    unet, (x, t) = make("attention"), inputs()
    base = {
        name: (3,) * (4 if "down" in name or "mid" in name else 6) for name in named_blocks(unet)
    }
    searched = SearchedUNet2DModel(base, **unet_config(unet)).eval()
    searched.load_state_dict(unet.state_dict())
    with torch.no_grad():
        assert torch.equal(searched(x, t).sample, unet(x, t).sample)


def test_paths_do_not_share_weights_of_choices():
    supernet, (x, t) = KernelSupernet(make("plain"), (1, 3, 5)).eval(), inputs()
    ones = {name: (1,) * count for name, count in supernet.positions.items()}
    supernet(x, t, ones).sum().backward()
    touched = {n for n, p in supernet.named_parameters() if p.grad is not None and ".convs." in n}
    assert touched
    assert all(".convs.1." in name for name in touched)


def test_saved_and_loaded_as_any_diffusers_model(tmp_path):
    supernet, (x, t) = KernelSupernet(make("attention"), (1, 3, 5)), inputs()
    network = extract(supernet, random_arch(supernet)).eval()
    network.save_pretrained(tmp_path)
    again = SearchedUNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert again.config.kernels == network.config.kernels
    assert plain_config(again) == plain_config(network)
    with torch.no_grad():
        assert torch.equal(again(x, t).sample, network(x, t).sample)
    pipeline = DDIMPipeline(unet=again, scheduler=DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=2, num_inference_steps=2, output_type="np").images
    assert images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ({"mid_block": (3, 3, 3, 3)}, "kernels name the blocks"),
        ({"mid_block": (3, 3)}, r"kernels of mid_block: \[3, 3\]; the block has 4 convs"),
        ({"mid_block": (3, 3, 3, 2)}, "2 is not odd"),
    ],
)
def test_wrong_architectures_are_named(kernels, message):
    unet = make("plain")
    base = {"down_blocks.0": (3, 3), "down_blocks.1": (3, 3)}
    if "name the blocks" not in message:
        base |= {"up_blocks.0": (3,) * 4, "up_blocks.1": (3,) * 4}
    with pytest.raises(ValueError, match=message):
        SearchedUNet2DModel(base | kernels, **unet_config(unet))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"down_block_types": ("SkipDownBlock2D", "DownBlock2D")}, "SkipDownBlock2D"),
        ({"num_class_embeds": 3}, "class-conditional"),
        ({"time_embedding_type": "fourier"}, "fourier"),
        ({"center_input_sample": True}, "center_input_sample"),
    ],
)
def test_parts_that_cannot_be_searched_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        KernelSupernet(make("plain", **changes), (1, 3, 5))


def test_program_has_one_segment_more_than_choices():
    supernet = KernelSupernet(make("attention"), (1, 3))
    assert supernet.positions == {
        **{f"down_blocks.{i}": 4 for i in range(2)},
        "mid_block": 4,
        **{f"up_blocks.{i}": 6 for i in range(2)},
    }
    for name, count in supernet.positions.items():
        program = supernet.program(name)
        assert len(program.places) == count
        assert len(program.segments) == count + 1
        ids = [id(conv) for conv in program.places]
        assert all(a != b for a, b in itertools.combinations(ids, 2))
