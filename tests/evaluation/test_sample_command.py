"""`python -m slimgen sample`: a picture of a saved model, or one clear line."""

import numpy as np
import pytest
from PIL import Image

from slimgen.config.base import Network, NoiseSchedule
from slimgen.diffusion.denoiser import DiffusionProcess, OneStepProcess
from slimgen.diffusion.saved import save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.evaluation.sample import sample
from slimgen.networks.unet import make_unet
from slimgen.training.job import StageError

UNET = Network(
    block_out_channels=(4, 4), layers_per_block=1, attention=(False, False), norm_num_groups=2
)


@pytest.fixture
def folders(tmp_path):
    schedule = make_schedule(NoiseSchedule(num_train_timesteps=20))
    for name, process in (("eps", DiffusionProcess), ("one", OneStepProcess)):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, make_unet(UNET, channels=1, size=8), process(schedule, "eps"))
    return tmp_path


def test_a_grid_of_the_default_sampler_of_each_kind(folders, capsys):
    for name, extra in (("eps", ["--sampler", "ddim-2"]), ("one", [])):
        out = folders / f"{name}.png"
        sample(["--model", str(folders / name), "--out", str(out), "--num", "4", *extra], "cpu")
        assert np.asarray(Image.open(out)).shape == (2 * 66 + 2, 2 * 66 + 2)
    assert "4 images by one-step" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_picture(folders):
    pictures = []
    for name in ("a.png", "b.png"):
        sample(["--model", str(folders / "one"), "--out", str(folders / name), "--num", "4"], "cpu")
        pictures.append((folders / name).read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--model", "nowhere"], "does not exist"), (["--sampler", "one-step"], "does not fit")],
)
def test_one_clear_line(folders, options, message):
    argv = ["--model", str(folders / "eps"), "--out", str(folders / "x.png"), *options]
    with pytest.raises(StageError, match=message):
        sample(argv, "cpu")
    assert not (folders / "x.png").exists()
