"""Settings of ACT (adversarial consistency training of a one-step model).

`preset` names the source of the defaults: `paper` (the class defaults), `code` (the released code
where it differs) or `demo` (small images and short runs). Keys that are given win over the preset,
group by group: `optimizer: {lr: 4.0e-3}` changes the learning rate and nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from slimgen.config.base import Ema, Network, Optimizer, Settings, check_levels
from slimgen.config.labels import Labelled, LabelledVariants


class Discriminator(Settings):
    """The time-conditioned U-Net encoder that judges clean images.

    The defaults have the 14,088,706 parameters of the paper; channels 128, 256, 256, 256 give the
    17,976,834 of the released code.
    """

    block_out_channels: tuple[int, ...] = (128, 128, 256, 256)
    layers_per_block: int = Field(3, ge=1)
    attention: tuple[bool, ...] = (False, True, False, False)
    mid_attention: bool = True
    attention_head_dim: int | None = Field(8, ge=1)
    norm_num_groups: int = Field(32, ge=1)
    head_norm: bool = Field(True, description="GroupNorm before the head (CIFAR-10 variant).")
    unused_head: bool = Field(
        True, description="A second head that nothing reads, as in the released code."
    )

    @model_validator(mode="after")
    def _levels_agree(self) -> Discriminator:
        check_levels(self.block_out_channels, self.attention, self.norm_num_groups)
        return self


class Weight(Settings):
    """lambda_N(n), the share of the adversarial loss: w, or w (n / (N - 1))^log_1/2(w_mid / w)."""

    kind: Literal["constant", "increasing"] = "constant"
    w: float = Field(0.3, ge=0, le=1, description="0 is consistency training, without adversary.")
    w_mid: float = Field(0.2, gt=0, le=1, description="increasing: weight at the middle index.")

    @model_validator(mode="after")
    def _increases(self) -> Weight:
        if self.kind == "increasing" and 0 < self.w < self.w_mid:
            raise ValueError(f"w_mid {self.w_mid} is above w {self.w}: the weight would decrease")
        return self


class Augment(Settings):
    """Differentiable augmentation whose probability follows the R1 average."""

    enabled: bool = True
    tau: float = Field(10_000.0, gt=0, description="p rises while the R1 average is above tau.")
    ada_length: float = Field(
        500_000, gt=0, description="Images from p = 0 to p = 1; a step counts 2 batch_size."
    )
    r1_decay: float = Field(0.93, ge=0, lt=1)
    p_max: float = Field(1.0, ge=0, le=1)


# What the sources say where they disagree; `paper` is the class defaults. Both published recipes
# take the EMA target for sampling and raw sigma for the time, and tau at which p stays 0: the
# tau of the paper's augmented run is not known.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "code": {
        "discriminator": {"block_out_channels": (128, 256, 256, 256)},
        "r1_lazy_scale": 1.0,
    },
    # Found on the 8x8 digits in 450 steps of batch 128. An EMA target cannot keep up in so few
    # steps, and noise levels far beyond the data's range waste them. tau lies where R1 rises in a
    # run without augmentation (from 0.02 at the start to 0.5 at the end).
    "demo": {
        "discriminator": {
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "attention": (False, False),
            "mid_attention": False,
            "norm_num_groups": 8,
            "unused_head": False,
        },
        "optimizer": {"lr": 6e-3, "decay": "cosine"},
        "discriminator_optimizer": {"lr": 4e-3},
        "s0": 4,
        "s1": 20,
        "sigma_min": 0.05,
        "sigma_max": 6.0,
        "sigma_data": "measured",
        "time_conditioning": "log",
        "target": "stop_gradient",
        "ema": {"decay": 0.995, "warmup": True},
        "sampling_weights": "ema",
        "distance": "pseudo_huber",
        "weight": {"kind": "increasing", "w": 0.9, "w_mid": 0.6},
        "r1_gamma": 1.0,
        "r1_lazy_scale": 1.0,
        "augment": {"tau": 0.12, "ada_length": 250_000, "r1_decay": 0.8},
        "require_augmentation": True,
        "flip": False,
    },
}


class StudentSettings(Labelled):
    """act.student: consistency training with an adversarial term, from scratch."""

    MOVES = PRESETS

    preset: Literal["paper", "code", "demo"] = Field(
        "paper", description="Which source the defaults follow where sources disagree."
    )
    steps: int = Field(300_000, ge=1)
    batch_size: int = Field(
        80,
        ge=2,
        multiple_of=2,
        description="Images of the generator's step; the discriminator sees half as many "
        "generated and half as many real ones.",
    )
    network: Network = Network(
        block_out_channels=(128, 128, 256, 256),
        attention_head_dim=8,
        norm_eps=1e-5,
        dropout=0.0,
        flip_sin_to_cos=True,
        freq_shift=0,
        downsample_padding=1,
    )
    backbone: str | None = Field(
        None, description="Variant of dbnas.search whose architecture is the backbone."
    )
    equal_macs_with: str | None = Field(
        None, description="Variant of act.student whose total training MACs set this one's steps."
    )
    discriminator: Discriminator = Discriminator()
    optimizer: Optimizer = Optimizer(name="radam", lr=1e-4, betas=(0.0, 0.99))
    discriminator_optimizer: Optimizer = Optimizer(
        name="radam", lr=1e-4, betas=(0.0, 0.99 * 16 / 17)
    )
    s0: int = Field(2, ge=2)
    s1: int = Field(150, ge=2)
    mu0: float = Field(0.9, gt=0, lt=1)
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
    adversarial: Literal["non_saturating", "minimax", "hinge"] = "non_saturating"
    r1_gamma: float = Field(10.0, ge=0)
    r1_interval: int = Field(16, ge=1)
    r1_lazy_scale: float = Field(
        16.0, gt=0, description="Factor of the lazy penalty: 16 as in StyleGAN2, 1 as in the code."
    )
    augment: Augment = Augment()
    require_augmentation: bool = Field(
        False, description="A run whose p never left 0 is an error (it would equal act-noaug)."
    )
    flip: bool = True

    @model_validator(mode="after")
    def _choices_agree(self) -> StudentSettings:
        if self.s1 < self.s0:
            raise ValueError(f"s1 {self.s1} is below s0 {self.s0}: the number of scales grows")
        if self.sigma_max <= self.sigma_min:
            raise ValueError(f"sigma_max {self.sigma_max} is not above sigma_min {self.sigma_min}")
        if self.sigma_data != "measured" and self.sigma_data <= 0:
            raise ValueError(f"sigma_data {self.sigma_data}: it is positive, or 'measured'")
        if self.sampling_weights == "target" and self.target == "stop_gradient":
            raise ValueError(
                "sampling_weights 'target' needs target 'ema': a stop-gradient target is the "
                "online network itself; set sampling_weights: ema"
            )
        return self


class Student(StudentSettings, LabelledVariants):
    """act.student; one variant per row of the table."""

    variants: dict[str, dict[str, Any]] = {
        "act": {},
        "ct": {"weight": {"w": 0.0}},
        "act-noaug": {"augment": {"enabled": False}},
    }
