"""autogan.transfer: train a found architecture from scratch on a second data set.

The cells stay, the width that the first one starts from follows the images: 6 for the 48 pixels of
STL-10, where CIFAR-10's 32 have 4 (Gong et al. 2019).
"""

from __future__ import annotations

from pathlib import Path

from slimgen.config.autogan import TransferSettings
from slimgen.data.dataset import load_split
from slimgen.networks.autogan_generator import load_generator, save_generator
from slimgen.systems.autogan.derive import train_derived
from slimgen.systems.autogan.space import bottom_width, named
from slimgen.training.job import Job, StageError
from slimgen.training.precision import resolve


def transfer(
    settings: TransferSettings, job: Job, *, data: Path, model: Path | None = None
) -> None:
    """Train on the train split of `data` the architecture of `model`; write the generator.

    `model` is a generator of autogan.student, needed where the settings name no architecture.
    Raises StageError for bad input, Stopped on request.
    """
    arch = named(settings)
    if (arch is None) == (model is None):
        raise StageError(
            "autogan.transfer: an architecture comes from --model or from settings.arch"
        )
    images, compute = load_split(data, "train"), resolve(settings.runtime, job.device)
    if model is not None:
        try:
            source = load_generator(model)
        except ValueError as error:
            raise StageError(f"autogan.transfer: {error}") from None
        if source.skip_source != settings.skip_source:
            raise StageError(
                f"{model}: trained with skip_source {source.skip_source!r}; it is "
                f"{settings.skip_source!r} here"
            )
        arch = source.arch
    assert arch is not None
    bottom_width(arch, images.shape)
    (generator,) = train_derived(settings, job, [arch], images=images, compute=compute)
    save_generator(job.out, generator)
