"""Settings of ACT (adversarial consistency training of a one-step model)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from slimgen.config.base import Ema, Network, Optimizer, Settings, Training, Variants


class Discriminator(Settings):
    """The time-conditioned U-Net encoder that judges clean images.

    The defaults have the 14,088,706 parameters of the paper; channels 128, 256, 256, 256 give the
    17,976,834 of the released code.
    """

    block_out_channels: tuple[int, ...] = (128, 128, 256, 256)
    layers_per_block: int = Field(3, ge=1)
    attention: tuple[bool, ...] = (False, True, False, False)
    attention_head_dim: int | None = 8
    norm_num_groups: int = Field(32, ge=1)
    head_norm: bool = Field(True, description="GroupNorm before the head (CIFAR-10 variant).")


class Weight(Settings):
    """lambda_N(n), the share of the adversarial loss."""

    kind: Literal["constant", "increasing"] = "constant"
    w: float = Field(0.3, ge=0, le=1)
    w_mid: float = Field(0.2, ge=0, le=1, description="increasing: weight at the middle index.")


class Augment(Settings):
    """Differentiable augmentation whose probability follows the R1 average."""

    enabled: bool = True
    tau: float = Field(10_000.0, gt=0, description="p rises while the R1 average is above tau.")
    ada_length: float = Field(500_000, gt=0, description="Images from p = 0 to p = 1.")
    r1_decay: float = Field(0.93, ge=0, lt=1)
    p_max: float = Field(1.0, ge=0, le=1)


class StudentSettings(Training):
    """act.student: consistency training with an adversarial term, from scratch."""

    preset: Literal["paper", "code", "demo"] = Field(
        "paper", description="Which source the defaults below follow where sources disagree."
    )
    steps: int = Field(300_000, ge=1)
    batch_size: int = Field(80, ge=2, description="Images of the generator's step.")
    network: Network = Network()
    backbone: str | None = Field(
        None, description="Variant of dbnas.search whose architecture is the backbone."
    )
    discriminator: Discriminator = Discriminator()
    optimizer: Optimizer = Optimizer(name="radam", lr=1e-4, betas=(0.0, 0.99))
    discriminator_optimizer: Optimizer = Optimizer(
        name="radam", lr=1e-4, betas=(0.0, 0.99 * 16 / 17)
    )
    s0: int = Field(2, ge=2)
    s1: int = Field(150, ge=2)
    mu0: float = Field(0.9, ge=0, lt=1)
    scales: Literal["act", "openai"] = Field("act", description="Rounding of N(k).")
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    rho: float = Field(7.0, gt=0)
    sigma_data: Literal["measured"] | float = 0.5
    time_conditioning: Literal["raw", "log"] = "raw"
    target: Literal["ema", "stop_gradient"] = "ema"
    ema: Ema = Ema(decay=0.9999)
    sampling_weights: Literal["target", "ema"] = Field(
        "target", description="What is saved: the target network, or a separate EMA."
    )
    distance: Literal["pseudo_huber", "l2", "lpips"] = "lpips"
    lpips_path: str | None = Field(None, description="Weights of LPIPS-VGG16; never downloaded.")
    weight: Weight = Weight()
    adversarial: Literal["non_saturating", "minimax"] = "non_saturating"
    r1_gamma: float = Field(10.0, ge=0)
    r1_interval: int = Field(16, ge=1)
    r1_lazy_scale: float = Field(1.0, gt=0, description="1 as in the code, 16 as in StyleGAN2.")
    augment: Augment = Augment()
    flip: bool = True


class Student(StudentSettings, Variants):
    """act.student; one variant per row of the table."""

    variants: dict[str, dict[str, Any]] = {
        "act": {},
        "ct": {"weight": {"w": 0.0}},
        "act-noaug": {"augment": {"enabled": False}},
    }
