"""Settings of image-to-image GANs: task, generator, discriminator, losses.

`task` moves the defaults as `preset` does elsewhere: paired is pix2pix (hinge, L1), unpaired is
CycleGAN (least squares, cycles, identity, image pool), semantic is GauGAN (SPADE, multiscale hinge,
feature matching). Keys that are given win, group by group.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from slimgen.config.base import Ema, Optimizer, Settings, deep_merge
from slimgen.config.labels import Labelled

Task = Literal["paired", "unpaired", "semantic"]
Part = Literal["down", "blocks", "up"]


class Generator(Settings):
    """The teacher's generator; `custom` is any torch network that a Python callable builds."""

    kind: Literal["resnet", "spade", "custom"] = "resnet"
    ngf: int = Field(64, ge=1)
    blocks: int = Field(9, ge=3, description="resnet: residual blocks.")
    dropout: float = Field(0.0, ge=0, lt=1)
    upsamplings: Literal[3, 4, 5, 6] = Field(5, description="spade.")
    norm: Literal["batch", "instance"] = Field("batch", description="spade.")
    separable: tuple[Part, ...] = Field((), description="resnet: parts with separable convs.")
    mobile: bool = Field(False, description="spade: separable gamma and beta.")
    build: str | None = Field(
        None, description="custom: `package.module:function`, called with (in, out) channels."
    )
    elastic: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="custom: entry -> modules whose widths it decides."
    )

    @model_validator(mode="after")
    def _custom_is_complete(self) -> Generator:
        if (self.kind == "custom") != (self.build is not None):
            raise ValueError("build names the callable of kind 'custom', and of no other kind")
        if self.kind == "custom" and not self.elastic:
            raise ValueError("kind 'custom' needs elastic: entry -> module paths")
        return self


class Discriminator(Settings):
    """PatchGAN, or the multiscale one of SPADE."""

    kind: Literal["patch", "multiscale"] = "patch"
    ndf: int = Field(128, ge=1)
    num_layers: int = Field(3, ge=1)
    num_scales: int = Field(2, ge=1, description="multiscale.")


PIX2PIX_OPTIMIZER = Optimizer(lr=2e-4, betas=(0.5, 0.999), decay="linear")


class TranslationSettings(Labelled):
    """Objective of an image-to-image GAN, teacher and students alike."""

    LABEL = "task"
    MOVES = {
        "paired": {},
        "unpaired": {
            "gan_loss": "lsgan",
            "discriminator": {"ndf": 64},
            "lambda_recon": 10.0,
            "lambda_distill": 0.01,
            "steps": 267_000,
            "batch_size": 1,
            "decay_start": 0.5,
        },
        "semantic": {
            "generator": {"kind": "spade"},
            "discriminator": {"kind": "multiscale", "ndf": 64, "num_layers": 4},
            "optimizer": {"lr": 1e-4, "betas": (0.0, 0.9)},
            "discriminator_optimizer": {"lr": 4e-4, "betas": (0.0, 0.9)},
            "init": "xavier",
            "lambda_recon": 0.0,
            "lambda_distill": 10.0,
            "steps": 37_000,
            "batch_size": 16,
            "decay_start": 0.5,
        },
    }

    task: Task = Field("paired", description="What the defaults follow, and the objective.")
    steps: int = Field(249_000, ge=1)
    batch_size: int = Field(4, ge=1)
    decay_start: float = Field(
        0.25, ge=0, le=1, description="Share of the steps after which the rates fall to 0."
    )
    discriminator: Discriminator = Discriminator()
    gan_loss: Literal["hinge", "lsgan", "non_saturating"] = "hinge"
    lambda_gan: float = Field(1.0, ge=0)
    lambda_recon: float = Field(100.0, ge=0, description="L1; paired: to y, else to the teacher.")
    lambda_cycle: float = Field(10.0, ge=0, description="unpaired teacher.")
    lambda_identity: float = Field(0.5, ge=0, description="unpaired teacher: share of the cycle.")
    pool_size: int = Field(50, ge=0, description="unpaired teacher: past images shown to D.")
    lambda_feature: float = Field(10.0, ge=0, description="semantic: feature matching.")
    lambda_vgg: float = Field(10.0, ge=0, description="semantic: only where vgg_path is given.")
    vgg_path: str | None = Field(None, description="Weights of VGG19 (safetensors).")
    optimizer: Optimizer = PIX2PIX_OPTIMIZER
    discriminator_optimizer: Optimizer = PIX2PIX_OPTIMIZER
    ema: Ema = Field(Ema(decay=0.0), description="The papers average none.")
    init: Literal["normal", "xavier", "kaiming"] = "normal"
    init_gain: float = Field(0.02, gt=0)
    flip: bool = True


def tasks_with(changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the defaults of every task with those of a stage laid over them."""
    tasks = TranslationSettings.MOVES
    return {name: deep_merge(own, changes.get(name, {})) for name, own in tasks.items()}
