"""The stage: exact resume, lambda = 0 is consistency training, separate streams, clear errors."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stopping import same, stopping_job

from slimgen.config.act import StudentSettings
from slimgen.data.dataset import load_split
from slimgen.diffusion.denoiser import ConsistencyProcess
from slimgen.diffusion.losses import pseudo_huber
from slimgen.diffusion.saved import load_model
from slimgen.networks.searched_unet import searchable_convs
from slimgen.networks.stored import WEIGHTS
from slimgen.networks.time_discriminator import make_discriminator
from slimgen.systems.act import student as stage
from slimgen.systems.act.adversary import Adversary
from slimgen.systems.act.objective import add_noise, consistency_target, l2, measured_sigma_data
from slimgen.training.checkpoint import load_checkpoint
from slimgen.training.job import StageError, Stopped
from slimgen.training.log import LOGGED
from slimgen.training.precision import resolve
from slimgen.training.seeding import batch_indices, make_rng

SMALL = {
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "attention": (False, False),
    "mid_attention": True,
    "attention_head_dim": 4,
    "norm_num_groups": 2,
}
STEPS = 7


def settings(**changes) -> StudentSettings:
    given = {
        "preset": "demo",
        "steps": STEPS,
        "batch_size": 8,
        "log_every": 1,
        "network": SMALL,
        "discriminator": SMALL | {"unused_head": False},
        "r1_interval": 2,
        "augment": {"tau": 1e-9, "ada_length": 320},  # p rises by 0.1 at each R1
    }
    return StudentSettings(**(given | changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    np.savez(folder / "train.npz", images=images, labels=np.arange(40) % 10)
    (folder / "manifest.json").write_text(json.dumps({"num_classes": 10}))
    return folder


make_job = partial(stopping_job, stage="act.student")


def run(folder: Path, given: StudentSettings, data: Path, **inputs) -> dict[str, torch.Tensor]:
    stage.student(given, make_job(folder), data=data, **inputs)
    return load_file(folder / "out" / WEIGHTS)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "state" / "log.jsonl").read_text().splitlines()]


def all_state(folder: Path) -> dict:
    found = load_checkpoint(folder / "state")
    assert found is not None
    return {key: value for key, value in found[1].items() if key not in LOGGED}


@pytest.mark.parametrize(
    "changes",
    [{}, {"target": "ema", "sampling_weights": "target", "mu0": 0.9}],
    ids=["demo", "ema"],
)
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, data, changes):
    given = settings(checkpoint_seconds=0.0, **changes)
    whole = run(tmp_path / "whole", given, data)
    with pytest.raises(Stopped):
        stage.student(given, make_job(tmp_path / "parts", stop_after=4), data=data)
    middle = all_state(tmp_path / "parts")
    assert middle["augment"]["p"] == pytest.approx(0.2)
    assert middle["augment"]["r1_average"] > 0
    parts = run(tmp_path / "parts", given, data)
    assert any(
        line.get("event") == "resumed" and line["step"] == 4 for line in lines(tmp_path / "parts")
    )
    assert not any("event" in line for line in lines(tmp_path / "whole"))
    assert same(whole, parts)
    end = all_state(tmp_path / "whole")
    assert same(end, all_state(tmp_path / "parts"))
    expected = {"network", "optimizer", "discriminator", "discriminator_optimizer", "augment"}
    assert expected | {"target" if changes else "ema"} == end.keys()
    assert end["augment"]["p"] == pytest.approx(0.4)


def states_after(data: Path, given: StudentSettings, adversary_weight: float | None, steps=STEPS):
    """Train with `given`, and with a discriminator of `adversary_weight` if it is given."""
    images, compute = load_split(data, "train"), resolve(given.runtime, "cpu")
    process = stage.make_process(given, images)
    network = stage.new_network(given, images, arch=None, seed=3)
    generator = stage.Generator(given, network, compute)
    adversary = None
    if adversary_weight is not None:
        theirs = given.model_copy(
            update={"weight": given.weight.model_copy(update={"w": adversary_weight})}
        )
        discriminator = make_discriminator(
            given.discriminator, network=given.network, channels=1, size=8
        )
        adversary = Adversary(theirs, discriminator, process=process, compute=compute, seed=3)
        before = {k: w.clone() for k, w in discriminator.state_dict().items()}
    update = stage.make_update(
        given,
        seed=3,
        steps=steps,
        compute=compute,
        images=images,
        process=process,
        distance=pseudo_huber,
        generator=generator,
        adversary=adversary,
    )
    for step in range(steps):
        metrics = update(step, make_rng(3, step, "update"))
    if adversary is not None:
        moved = [not torch.equal(w, before[k]) for k, w in discriminator.state_dict().items()]
        assert all(moved)
        assert adversary.control.p > 0
    return {k: w.clone() for k, w in network.state_dict().items()}, metrics


@pytest.mark.parametrize("kind", ["constant", "increasing"])
def test_lambda_zero_is_consistency_training_bit_for_bit(data, kind):
    given = settings(weight={"kind": kind, "w": 0.0}, flip=True)
    plain, metrics = states_after(data, given, None)
    assert "loss_adv" not in metrics
    watched, metrics = states_after(
        data, given, 0.9
    )  # D trains, with augmentation, and is not heard
    assert metrics["loss_adv"] > 0
    assert same(plain, watched)
    heard, _ = states_after(data, settings(flip=True), 0.9)
    assert not same(plain, heard)


def test_lambda_one_is_the_adversarial_loss_alone(data):
    given = settings(weight={"kind": "constant", "w": 1.0})
    _, metrics = states_after(data, given, 1.0)
    torch.testing.assert_close(metrics["loss"], metrics["loss_adv"])


def test_row_without_weight_trains_no_discriminator(tmp_path, data):
    given = settings(weight={"kind": "increasing", "w": 0.0}, checkpoint_seconds=0.0)
    run(tmp_path, given, data)
    assert all_state(tmp_path).keys() == {"network", "optimizer", "ema"}
    assert lines(tmp_path)[-1].keys() >= {"loss", "loss_ct", "num_scales"}


def test_log_holds_what_the_curves_show(tmp_path, data):
    run(tmp_path, settings(target="ema"), data)
    found = lines(tmp_path)
    names = {"loss", "loss_ct", "loss_adv", "lambda", "num_scales", "mu", "augment_p"}
    assert names | {"d_real", "d_fake", "loss_d"} <= found[-1].keys()
    assert [("r1" in line and "r1_average" in line) for line in found] == [True, False] * 3 + [True]
    assert [line["augment_p"] for line in found] == pytest.approx(
        [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4]
    )
    assert found[0]["num_scales"] == 4


def test_saved_model_is_the_sampling_average_with_its_process(tmp_path, data):
    run(tmp_path, settings(checkpoint_seconds=0.0), data)
    saved = load_model(tmp_path / "out")
    assert isinstance(saved.process, ConsistencyProcess)
    assert saved.process.sigma_data == measured_sigma_data(load_split(data, "train"))
    assert saved.process.time_conditioning == "log"
    ema = all_state(tmp_path)["ema"]
    assert same(dict(saved.network.state_dict()), ema)
    assert not same(ema, all_state(tmp_path)["network"])


def test_augmentation_that_never_began_fails_the_row(tmp_path, data):
    quiet = {"augment": {"tau": 1e9}}
    with pytest.raises(StageError, match="p never left 0"):
        run(tmp_path / "a", settings(**quiet), data)
    run(tmp_path / "b", settings(**quiet, require_augmentation=False), data)
    run(tmp_path / "c", settings(augment={"tau": 1e9, "enabled": False}), data)
    assert "augment_p" not in lines(tmp_path / "c")[-1]


def test_no_augmentation_and_augmentation_that_never_began_give_equal_weights(tmp_path, data):
    quiet = settings(augment={"tau": 1e9}, require_augmentation=False)
    off = settings(augment={"tau": 1e9, "enabled": False})
    assert same(run(tmp_path / "quiet", quiet, data), run(tmp_path / "off", off, data))
    assert not same(run(tmp_path / "on", settings(), data), run(tmp_path / "off2", off, data))


def test_backbone_has_the_found_kernels(tmp_path, data):
    plain = stage.new_network(settings(), load_split(data, "train"), arch=None, seed=0)
    kernels = {name: [3] * len(places) for name, places in searchable_convs(plain).items()}
    first = next(iter(kernels))
    kernels[first][0] = 5
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps({"kernels": kernels}))
    run(tmp_path, settings(backbone="S2"), data, arch=arch)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["_class_name"] == "SearchedUNet2DModel"
    assert config["kernels"] == kernels
    resnet, conv = searchable_convs(load_model(tmp_path / "out").network)[first][0]
    assert getattr(resnet, conv).kernel_size == (5, 5)


def test_backbone_has_the_found_widths(tmp_path, data):
    plain = stage.new_network(settings(), load_split(data, "train"), arch=None, seed=0)
    convs = searchable_convs(plain)
    kernels = {name: [3] * len(places) for name, places in convs.items()}
    first = next(iter(convs))
    widths = {
        name: [getattr(resnet, conv).out_channels for resnet, conv in places[::2]]
        for name, places in convs.items()
    }
    widths[first][0] //= 2
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps({"kernels": kernels, "widths": widths}))
    found = stage.new_network(settings(), load_split(data, "train"), arch=arch, seed=0)
    assert dict(found.config.widths) == widths
    resnet, _ = searchable_convs(found)[first][0]
    assert resnet.conv1.out_channels == resnet.conv2.in_channels == widths[first][0]


def test_equal_macs(tmp_path, data):
    act, ct = settings(), settings(weight={"kind": "increasing", "w": 0.0})
    run(tmp_path / "act", act, data)
    cost = json.loads((tmp_path / "act" / "out" / "cost.json").read_text())
    assert cost["train_macs"] == pytest.approx(sum(cost["parts"].values()) * STEPS)
    parts = cost["parts"]
    assert parts["generator"] == 3 * parts["target"] == 6 * parts["generated_for_discriminator"]
    assert parts["discriminator"] == 1.5 * parts["adversarial_term"] == 2 * parts["r1"]
    equal = ct.model_copy(update={"equal_macs_with": "act"})
    run(tmp_path / "ct", equal, data, equal_to=tmp_path / "act" / "out" / "cost.json")
    found = json.loads((tmp_path / "ct" / "out" / "cost.json").read_text())
    assert found["steps"] > STEPS
    assert found["steps"] == lines(tmp_path / "ct")[-1]["step"]
    assert found["train_macs"] == pytest.approx(
        cost["train_macs"], abs=found["macs_per_step"] / 2 + 1
    )
    assert "discriminator" not in found["parts"]


@pytest.mark.parametrize(
    ("changes", "inputs", "message"),
    [
        ({"distance": "lpips"}, {}, "lpips_path is not set"),
        ({"distance": "lpips", "lpips_path": "nowhere.safetensors"}, {}, "nowhere.safetensors"),
        ({"batch_size": 22}, {}, "the train split has 40"),
        ({"backbone": "S1"}, {}, "backbone = 'S1'"),
        ({}, {"equal_to": Path("cost.json")}, "equal_macs_with = None"),
        ({"init_from": "nowhere"}, {}, "nowhere"),
        ({"network": SMALL | {"block_out_channels": (4,) * 5, "attention": (False,) * 5}}, {},
         "cannot be halved"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_any_step(tmp_path, data, changes, inputs, message):
    with pytest.raises(StageError, match=r"act\.student") as fault:
        run(tmp_path, settings(**changes), data, **inputs)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "state" / "log.jsonl").exists()


def test_a_cost_file_without_its_number_is_refused(tmp_path, data):
    cost = tmp_path / "cost.json"
    for content in ("[]", "{}", '{"train_macs": "much"}', '{"train_macs": 0}', "{"):
        cost.write_text(content)
        with pytest.raises(StageError, match=r"cost\.json"):
            run(tmp_path, settings(equal_macs_with="act"), data, equal_to=cost)


def test_an_architecture_that_does_not_fit_is_refused(tmp_path, data):
    arch = tmp_path / "arch.json"
    for content in ({}, {"kernels": {"elsewhere": [3]}}):
        arch.write_text(json.dumps(content))
        with pytest.raises(StageError, match=r"act\.student"):
            run(tmp_path, settings(backbone="S1"), data, arch=arch)


def test_init_from_begins_with_the_given_weights(tmp_path, data):
    first = run(tmp_path / "first", settings(), data)
    given = settings(init_from=str(tmp_path / "first" / "out"))
    network = stage.new_network(given, load_split(data, "train"), arch=None, seed=9)
    assert same(dict(network.state_dict()), first)


def test_pair_shares_image_and_noise_and_target_is_clipped_without_gradient():
    x = torch.randn(16, 1, 4, 4)
    grid = torch.tensor([0.1, 1.0, 5.0])
    noised = add_noise(x, grid, make_rng(0, 0, "test"))
    assert set(noised.index.tolist()) == {1, 2}
    above = (noised.at() - x) / noised.sigma()[:, None, None, None]
    below = (noised.at(-1) - x) / noised.sigma(-1)[:, None, None, None]
    torch.testing.assert_close(above, below, atol=1e-4, rtol=1e-4)
    assert torch.equal(noised.sigma(-1), grid[noised.index - 1])
    process = ConsistencyProcess(sigma_min=0.1, sigma_max=5.0, sigma_data=0.5)
    scale = torch.tensor(100.0, requires_grad=True)
    target = consistency_target(process, lambda a, t, return_dict: (scale * a,), noised)
    assert not target.requires_grad
    assert target.abs().max() == 1


def test_distances_are_norms_of_whole_images():
    a, b = torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)
    norm = 0.5 * 3072**0.5
    assert l2(a, b).item() == pytest.approx(norm)
    c = 0.02993  # 0.00054 sqrt(3072)
    assert pseudo_huber(a, b).item() == pytest.approx((norm**2 + c**2) ** 0.5 - c, abs=1e-4)
    assert pseudo_huber(a, a + 1e-5).item() == pytest.approx(3072e-10 / (2 * c), rel=1e-2)


def test_batches_of_one_step_never_share_an_image():
    for step in range(30):
        indices = batch_indices(40, 16, step, seed=1, drop_last=True)
        assert len(set(indices.tolist())) == 16
    epoch = torch.cat([batch_indices(40, 16, step, seed=1, drop_last=True) for step in (2, 3)])
    assert len(set(epoch.tolist())) == 32
    with pytest.raises(ValueError, match="41 different items out of 40"):
        batch_indices(40, 41, 0, seed=1, drop_last=True)
