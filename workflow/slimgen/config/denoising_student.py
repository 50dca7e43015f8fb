"""Settings of Denoising Student (a DDIM teacher distilled into one network evaluation)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from slimgen.config.base import (
    Ema,
    Optimizer,
    Runtime,
    Sampling,
    StageSettings,
    Training,
    Variants,
)


class PairsSettings(StageSettings):
    """denoising_student.pairs: noise x_T and the teacher's x_0, in shards."""

    teacher: str = Field(
        "teacher", description="`teacher`, or a variant of dbnas.student as `dbnas/S2-linear`."
    )
    sampler: str = Field("ddim-100", pattern=r"^ddim-[1-9][0-9]*$")
    sampling: Sampling = Sampling(spacing="quad_0.8")
    num_pairs: int = Field(1_024_000, ge=1)
    held_out: int = Field(51_200, ge=1)
    shard_size: int = Field(102_400, ge=1)
    batch_size: int = Field(512, ge=1)
    target_noise: float = Field(
        0.0, ge=0, description="Std of the Gaussian around the teacher's output; 0 as in the code."
    )
    runtime: Runtime = Runtime()

    @field_validator("sampling")
    @classmethod
    def _deterministic(cls, sampling: Sampling) -> Sampling:
        if sampling.eta > 0:
            raise ValueError(f"eta {sampling.eta}: the teacher of pairs is deterministic, eta is 0")
        return sampling

    def shards(self) -> dict[str, int]:
        """Return the files of training pairs and how many pairs each holds."""
        starts = range(0, self.num_pairs, self.shard_size)
        return {
            f"shard-{i:03d}.npz": min(self.shard_size, self.num_pairs - start)
            for i, start in enumerate(starts)
        }


class Pairs(PairsSettings, Variants):
    """denoising_student.pairs; one variant per teacher."""

    variants: dict[str, dict[str, Any]] = {"teacher": {}}


class StudentSettings(Training):
    """denoising_student.student: regress the teacher's image in one evaluation.

    The defaults are the CIFAR-10 recipe. l1 and l2 are summed over the values of an image and
    averaged over the batch, as published; Adam hides that scale, gradient clipping would not.
    """

    loss: Literal["l1", "l2", "pseudo_huber"] = "l1"
    huber_c: float = Field(
        0.03, gt=0, description="c of pseudo_huber, sqrt(||d||^2 + c^2) - c of a whole image."
    )
    steps: int = Field(50_000, ge=1)
    batch_size: int = Field(512, ge=1)
    optimizer: Optimizer = Optimizer(lr=2e-4, betas=(0.9, 0.98), warmup=5000)
    ema: Ema = Ema(decay=0.995)
    test_every: int = Field(1000, ge=1, description="Steps between two tests on held-out pairs.")


class Student(StudentSettings, Variants):
    """denoising_student.student; the same variants as pairs."""

    variants: dict[str, dict[str, Any]] = {"teacher": {}}
