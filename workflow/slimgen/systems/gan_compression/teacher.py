"""gan_compression.teacher: pix2pix, CycleGAN or GauGAN at full size, from the data alone.

Isola et al. 2017, Zhu et al. 2017, Park et al. 2019, with the generators and losses that GAN
Compression (Li et al. 2020) trains them with. A mobile teacher differs by its settings only.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from slimgen.config.gan_compression import TeacherSettings
from slimgen.data.pairs import Pairs
from slimgen.networks.translators import open_translator
from slimgen.systems.gan_compression.generators import build_generator
from slimgen.systems.gan_compression.objective import load_task
from slimgen.systems.gan_compression.translation import begin, train_translation
from slimgen.training.job import Job, StageError
from slimgen.training.seeding import derive_seed


def make_teacher(
    settings: TeacherSettings, pairs: Pairs, *, seed: int, stream: str = "generator"
) -> nn.Module:
    """Return the settings' generator with random weights; a custom one keeps its callable's.

    Raises StageError where it does not fit the images.
    """
    torch.manual_seed(derive_seed(seed, 0, f"build/{stream}"))
    network = build_generator(settings.generator, pairs)
    if settings.generator.kind == "custom":
        return network
    return begin(network, settings, seed=seed, stream=stream)


def teacher(settings: TeacherSettings, job: Job, *, data: Path) -> None:
    """Train on the train split of `data`; write the generator and adversary.safetensors.

    Raises StageError for data that the task cannot use or images that do not fit, Stopped on
    request.
    """
    pairs = load_task(settings, data)
    network = make_teacher(settings, pairs, seed=job.seed)
    if settings.init_from is not None:
        build = settings.generator.build
        try:
            finished = open_translator(Path(settings.init_from), build=build)
            network.load_state_dict(finished.state_dict())
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()[:40])
            raise StageError(f"{job.stage}.init_from: {reason}") from None
    back = None
    if settings.task == "unpaired":
        back = make_teacher(settings, pairs.swapped(), seed=job.seed, stream="back")
    train_translation(settings, job, network, pairs, back=back)
