"""What a user says of a cluster in `profiles/slurm/site.yaml`, as `profiles/slurm` needs it.

Snakemake evaluates texts among resources as Python; they are quoted here, so that they stay texts.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimgen.config.run import STAGES

Resources = dict[str, int | str]

MEASUREMENTS = ("evaluation_measure", "evaluation_translate")
GROUP = "evaluations"
ON_GPU = tuple(stage.replace(".", "_") for stage in STAGES if stage != "data.prepare")


class Site(BaseModel):
    """A cluster: account, partition, the longest time of a job; exceptions for single rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: str | None = None
    partition: str | None = None
    minutes: int = Field(1440, ge=1)
    gpus: int | None = Field(None, ge=0)
    warning: int = Field(120, ge=0)
    group: int = Field(10, ge=1)
    exceptions: dict[str, Resources] = Field(default_factory=dict, alias="rules")

    @property
    def defaults(self) -> Resources:
        """Resources of every job that does not say otherwise."""
        named = {"slurm_account": self.account, "slurm_partition": self.partition}
        defaults: Resources = {key: value for key, value in named.items() if value}
        if self.warning:
            defaults["slurm_extra"] = f"--signal=TERM@{self.warning}"
        return _quoted(defaults)

    @property
    def limits(self) -> Resources:
        """The most that one job is given, whatever its rule or its attempt asks for.

        The Snakemake inside a job of the cluster is not told of it: GPUs are limited in `rules`.
        """
        return {"runtime": self.minutes, "in_turn": 1}

    @property
    def rules(self) -> dict[str, Resources]:
        """Resources of single rules; a grouped measurement gets its share of a job's time."""
        shared: Resources = {"in_turn": 1, "runtime": max(1, self.minutes // self.group)}
        rules = dict.fromkeys(MEASUREMENTS, shared)
        for rule, resources in self.exceptions.items():
            rules[rule] = rules.get(rule, {}) | _quoted(resources)
        if self.gpus is not None:
            for rule in ON_GPU:
                resources = rules.get(rule, {})
                wanted = resources.get("gpu", 1)
                most = min(wanted, self.gpus) if isinstance(wanted, int) else wanted
                rules[rule] = resources | {"gpu": most}
        return rules

    @property
    def groups(self) -> dict[str, str]:
        """Rules whose jobs share jobs of the cluster, and the name of their group."""
        return dict.fromkeys(MEASUREMENTS, GROUP)

    @property
    def components(self) -> dict[str, int]:
        """How many jobs of a group make one job of the cluster."""
        return {GROUP: self.group}


def _quoted(resources: Resources) -> Resources:
    return {key: repr(text) if isinstance(text, str) else text for key, text in resources.items()}


def read_site(path: str | Path) -> Site:
    """Read a site file.

    Raises ValueError with one line that names the file and the key.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no YAML ({' '.join(str(error).split())})") from None
    try:
        return Site.model_validate(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {place}: {first['msg']}") from None
