"""Building blocks of the typed configuration: strict models, stages with variants, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from slimgen.config.errors import VariantsError, union_members

# Fields that name weights.
MODEL_PATHS = ("from_", "init_from", "inception_path", "lpips_path", "vgg_path")
PATHS = ("path", *MODEL_PATHS)  # all fields that name a file or folder
# Settings that change no result: no part of a job's fingerprint, no revision for a new default.
NO_RESULT = ("checkpoint_seconds",)


class Settings(BaseModel):
    """An immutable group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _a_switch_is_no_number(cls, values: Any) -> Any:
        """`steps: true` (or `yes`, which YAML reads as it) would be one step."""
        for name, field in cls.model_fields.items() if isinstance(values, dict) else ():
            key = name if name in values else field.alias
            if isinstance(values.get(key), bool):
                kinds = set(union_members(field.annotation))
                if kinds & {int, float} and bool not in kinds:
                    raise ValueError(f"{key} = {values[key]}: a number is needed, no true or false")
        return values

    @field_validator(*PATHS, check_fields=False)
    @classmethod
    def _home_is_written_out(cls, value: str | None) -> str | None:
        return str(Path(value).expanduser()) if value and value[0] == "~" else value


class StageSettings(Settings):
    """What one stage reads, complete with defaults.

    `revision` is raised when a default of the stage changes or its results change on purpose, so
    that finished runs notice (defaults themselves are not tracked, only differences to them).
    """

    revision: int = Field(1, ge=1, description="Raise to rerun the stage on purpose.")

    def changes(self) -> dict[str, Any]:
        """Return what differs from the defaults, as JSON values; it validates to these settings."""
        defaults = type(self)().model_dump(mode="json", by_alias=True)
        return difference(self.model_dump(mode="json", by_alias=True), defaults)

    def decisive(self) -> dict[str, Any]:
        """Return what decides the results, complete, as JSON values: jobs are known by it."""
        return self.model_dump(mode="json", by_alias=True, exclude=set(NO_RESULT))

    @model_validator(mode="before")
    @classmethod
    def _partial_groups_keep_their_defaults(cls, values: Any) -> Any:
        """A group given in part, `optimizer: {lr: 1e-3}`, keeps the stage's other defaults."""
        if not isinstance(values, dict):
            return values
        complete = dict(values)
        for name, field in cls.model_fields.items():
            given = values.get(name)
            if isinstance(field.default, Settings) and isinstance(given, dict):
                default = field.default.model_dump(by_alias=True)
                if given.get("kind", default.get("kind")) == default.get("kind"):
                    complete[name] = deep_merge(default, given)
        return complete


class Variants(Settings):
    """Mixin of a stage that exists in several variants, each a difference to the common settings.

    In the file, the stage's own keys hold for every variant; `variants` maps a variant's name to
    the keys in which it differs. `stage.variant(name)` gives the merged, validated settings.
    """

    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Name of a variant -> the keys in which it differs."
    )

    def variant(self, name: str) -> StageSettings:
        """Return the complete settings of one variant.

        Raises KeyError for a name that the config does not hold.
        """
        return type(self).settings_type().model_validate(self.merged(name))

    def merged(self, name: str) -> dict[str, Any]:
        """Return the common settings with those of a variant laid over them, not validated."""
        common = self.model_dump(exclude={"variants"}, by_alias=True)
        return deep_merge(common, self.variants[name])

    @classmethod
    def settings_type(cls) -> type[StageSettings]:
        """Return the plain settings class that this stage's variants are made of."""
        return next(
            base
            for base in cls.__mro__[1:]
            if issubclass(base, StageSettings) and not issubclass(base, Variants)
        )

    @model_validator(mode="after")
    def _every_variant_is_valid(self) -> Variants:
        faults = {}
        for name in self.variants:
            try:
                self.variant(name)
            except ValidationError as error:
                faults[name] = (error, self.merged(name))
        if faults:
            raise VariantsError(faults, type(self).settings_type())
        return self


def deep_merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, group by group.

    Lists are replaced whole, and so is a group by one of another `kind`.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = deep_merge(old, value) if same else value
        else:
            merged[key] = value
    return merged


def difference(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `values` that differ from `defaults`, group by group."""
    changes = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            inner = difference(value, defaults[key])
            if inner:
                changes[key] = inner
        elif key not in defaults or value != defaults[key]:
            changes[key] = value
    return changes


class Runtime(Settings):
    """How a stage computes on its device.

    On a CPU `auto` means fp32, NCHW, eager; on a GPU bf16, channels_last, compiled.
    """

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    compile: Literal["auto"] | bool = "auto"
    deterministic: bool = Field(False, description="Deterministic kernels on a GPU.")


class Optimizer(Settings):
    """Optimizer and learning-rate schedule."""

    name: Literal["adam", "adamw", "radam"] = "adam"
    lr: float = Field(2e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(0, ge=0, description="Steps of linear warm-up.")
    decay: Literal["constant", "cosine", "linear"] = "constant"
    clip_norm: float | None = Field(None, gt=0, description="Gradient-norm clipping.")


class Ema(Settings):
    """Exponential moving average of the weights."""

    decay: float = Field(0.9999, ge=0, lt=1)
    warmup: bool = Field(False, description="decay_k = min(decay, (1 + k) / (10 + k)).")


class Training(StageSettings):
    """What every trained stage has."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimizer: Optimizer = Optimizer()
    ema: Ema = Ema()
    init_from: str | None = Field(
        None, description="Folder of a finished model of the same shape to start from."
    )
    runtime: Runtime = Runtime()
    log_every: int = Field(50, ge=1, description="Steps between two lines of log.jsonl.")
    checkpoint_seconds: float | None = Field(
        None,
        ge=0,
        description="Seconds between two checkpoints; 0 saves at every step. By default a "
        "hundredth of the time goes into them, and they lie 2 to 900 s apart.",
    )


class Network(Settings):
    """A diffusers UNet2DModel; the defaults are the CIFAR-10 DDPM (35,746,307 parameters)."""

    block_out_channels: tuple[int, ...] = (128, 256, 256, 256)
    layers_per_block: int = Field(2, ge=1)
    attention: tuple[bool, ...] = Field(
        (False, True, False, False), description="Self-attention per level, high to low resolution."
    )
    mid_attention: bool = True
    attention_head_dim: int | None = Field(None, ge=1)
    norm_num_groups: int = Field(32, ge=1)
    norm_eps: float = Field(1e-6, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    flip_sin_to_cos: bool = False
    freq_shift: int = 1
    downsample_padding: int = Field(0, ge=0, le=1, description="0 pads (0, 1, 0, 1) as DDPM does.")

    @model_validator(mode="after")
    def _levels_agree(self) -> Network:
        check_levels(self.block_out_channels, self.attention, self.norm_num_groups)
        return self


def check_levels(widths: Sequence[int], attention: Sequence[bool], groups: int) -> None:
    """Raise ValueError where the levels of a U-Net or its encoder do not agree."""
    if len(attention) != len(widths):
        raise ValueError(
            f"attention has {len(attention)} entries and block_out_channels "
            f"{len(widths)}; one entry per level is needed"
        )
    for channels in widths:
        if channels % groups:
            raise ValueError(
                f"block_out_channels {channels} is not a multiple of norm_num_groups {groups}"
            )


class NoiseSchedule(Settings):
    """A variance-preserving noise schedule in discrete time."""

    betas: Literal["linear", "cosine"] = "linear"
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    num_train_timesteps: int = Field(1000, ge=2)


class Sampling(Settings):
    """Options of every sampler named as `ddim-50`, `ddpm-1000`, `dpm-20`, `dpmpp-20`."""

    eta: float = Field(0.0, ge=0, le=1, description="DDIM: 0 deterministic, 1 ancestral.")
    spacing: Literal["uniform", "quad", "quad_0.8"] = Field(
        "uniform",
        description="DDIM timesteps: floor(i T / S); quad: up to T - 1; quad_0.8: "
        "int(linspace(0, sqrt(0.8 T), S)**2).",
    )
    variance: Literal["fixedlarge", "fixedsmall"] = Field(
        "fixedlarge", description="DDPM: beta, or the posterior's variance."
    )
    dpm_spacing: Literal["time_uniform", "logsnr", "time_quadratic"] = "time_uniform"
    dpm_order: int = Field(3, ge=1, le=3, description="dpm-N; dpmpp-N uses at most 2.")
    log_snr_min: float | None = Field(
        -5.1, description="DPM-Solver starts where the half log-SNR is not below this."
    )
    consistency_sigmas: tuple[float, ...] | None = Field(
        None, description="Noise levels after sigma_max; by default a Karras grid per NFE."
    )
    clip_denoised: bool = Field(False, description="Clip every predicted x0 to [-1, 1].")
