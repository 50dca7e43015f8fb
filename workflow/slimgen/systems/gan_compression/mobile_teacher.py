"""gan_compression.mobile_teacher: a teacher with separable convolutions in some of its parts.

The first step of the original pipeline, and the rows that tell which part should be decomposed.
"""

from __future__ import annotations

from pathlib import Path

from slimgen.config.gan_compression import MobileTeacherSettings
from slimgen.systems.gan_compression.teacher import teacher
from slimgen.training.job import Job


def mobile_teacher(settings: MobileTeacherSettings, job: Job, *, data: Path) -> None:
    """Train on the train split of `data`, as a teacher; write the same files."""
    teacher(settings, job, data=data)
