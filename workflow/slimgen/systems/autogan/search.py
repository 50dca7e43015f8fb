"""autogan.search: find the cells of a generator (Gong et al. 2019, AutoGAN).

Iterations of two phases: the shared GAN trains with architectures of the controller, then the
controller learns from their Inception scores. After u_stage, 2 u_stage, ... iterations (and at the
end) M candidates are drawn and scored, and the K best stay; then the generator grows by a cell. A
GAN that collapsed stops training, and begins anew after the controller's phase; candidates are
scored before that (the release scores them after it, on random weights).

Ablations: `method: random` (no learning, equal rewards), `mlas: false`, `reset.enabled: false`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch

from slimgen.config.autogan import SearchSettings
from slimgen.data.dataset import load_split
from slimgen.data.files import write_json, write_text
from slimgen.networks.autogan_arch import Arch
from slimgen.systems.autogan.beam import Beam, best
from slimgen.systems.autogan.reinforce import Agent, Drawn
from slimgen.systems.autogan.reward import Judge, load_reward_classifier
from slimgen.systems.autogan.schedule import Phase, Schedule
from slimgen.systems.autogan.shared import SharedGan
from slimgen.systems.autogan.space import Found, Space, arch_record
from slimgen.training.checkpoint import Values
from slimgen.training.job import Job
from slimgen.training.loop import train
from slimgen.training.precision import resolve
from slimgen.training.seeding import make_rng

COLUMNS = ("step", "stage", "iteration", "kind", "code", "inception_score", "kept")


class Searching:
    """Everything that a search changes: shared GAN, agent, and a row for every reward."""

    def __init__(
        self, settings: SearchSettings, job: Job, *, shared: SharedGan, agent: Agent, judge: Judge
    ) -> None:
        self.settings, self.job, self.shared = settings, job, shared
        self.agent, self.judge, self.schedule = agent, judge, Schedule(settings)
        self.values = Values(rows=[], found=[])

    def update(self, step: int, rng: torch.Generator) -> dict[str, Any]:
        """Take step `step`: an update of the GAN or of the controller, and what comes after it."""
        phase, metrics = self.schedule.at(step), dict[str, Any]()
        if phase.kind == "controller":
            metrics = self._train_controller(step, phase, rng)
        elif not self.shared.collapsed:
            number, steps = phase.number(step), self.schedule.gan_steps
            metrics = self.shared.update(number, steps=steps, agent=self.agent)
        if phase.ends(step):
            if phase.grows:
                self._end_stage(step, phase, make_rng(self.job.seed, step, "beam", rng.device))
            if phase.resets and self.shared.collapsed:
                self.shared.begin_anew()
            metrics["resets"] = self.shared.values["resets"]
        return metrics

    def _train_controller(self, step: int, phase: Phase, rng: torch.Generator) -> dict[str, Any]:
        settings, baseline = self.settings, self.agent.baseline
        if step == phase.start and settings.baseline.per_iteration:
            baseline.value = None
        drawn = self.agent.draw(settings.controller_batch, rng)
        rewards = self.shared.rewards(drawn, self.judge, rng)
        self._note(step, phase, "controller", drawn, rewards)
        updates = self.schedule.controller_steps[phase.stage]
        metrics = self.agent.learn(drawn, rewards, updates=updates)
        return {"reward": sum(rewards) / len(rewards)} | metrics

    def _end_stage(self, step: int, phase: Phase, rng: torch.Generator) -> None:
        """Score M candidates, keep the K best, go on to the next stage or end."""
        settings = self.settings
        with torch.no_grad():
            drawn = self.agent.draw(settings.candidates, rng)
        rewards = self.shared.rewards(drawn, self.judge, rng)
        rows, candidates = self._note(step, phase, "beam", drawn, rewards), drawn.beams(rewards)
        if settings.method == "random":  # all rewards of the stage are of the weights of now
            rows = [row for row in self.values["rows"] if row["stage"] == phase.stage]
            candidates = [
                Beam(Arch.from_code(row["code"]), candidates[0].hidden, row["inception_score"])
                for row in rows
            ]
        beams = best(candidates, keep=settings.beams, distinct=settings.distinct)
        kept = {(beam.arch.code, beam.score) for beam in beams}
        for row in rows:
            row["kept"] = (tuple(row["code"]), row["inception_score"]) in kept
        if phase.stage + 1 < settings.stages:
            self.agent.begin(phase.stage + 1, beams)
        else:
            self.values["found"] = [[list(beam.arch.code), beam.score] for beam in beams]

    def _note(
        self, step: int, phase: Phase, kind: str, drawn: Drawn, rewards: list[float]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {
                "step": step + 1,
                "stage": phase.stage,
                "iteration": phase.iteration + 1,
                "kind": kind,
                "code": list(arch.code),
                "inception_score": reward,
                "kept": False,
            }
            for arch, reward in zip(drawn.archs, rewards, strict=True)
        ]
        self.values["rows"].extend(rows)
        return rows


def candidates_csv(rows: list[dict[str, Any]]) -> str:
    """Return one line per reward, in the order of the search."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        code = " ".join(map(str, row["code"]))
        score = repr(row["inception_score"])
        writer.writerow(row | {"code": code, "inception_score": score, "kept": int(row["kept"])})
    return file.getvalue()


def search(settings: SearchSettings, job: Job, *, data: Path, reward_classifier: Path) -> None:
    """Search on the train split of `data`; write arch.json and candidates.csv into `job.out`.

    Raises StageError for bad input, Stopped on request.
    """
    images, compute = load_split(data, "train"), resolve(settings.runtime, job.device)
    space = Space(settings.cells, settings.bottom_width)
    space.check(images.shape)
    network = load_reward_classifier(reward_classifier, images, compute.device)
    judge = Judge(
        network,
        compute,
        size=space.resolution,
        num_images=settings.reward_images,
        batch_size=settings.reward_batch,
        splits=settings.is_splits,
    )
    shared = SharedGan(settings, space, images=images, compute=compute, seed=job.seed)
    agent = Agent(settings, space, seed=job.seed, device=compute.device)
    searching = Searching(settings, job, shared=shared, agent=agent, judge=judge)
    train(
        job,
        settings,
        update=searching.update,
        state={**shared.state(), "agent": agent, "search": searching.values},
        images_per_step=settings.n_critic * settings.batch_size,
        steps=searching.schedule.steps,
    )
    found = [Found(Arch.from_code(code), score) for code, score in searching.values["found"]]
    record = {
        "system": "autogan",
        "method": settings.method,
        "mlas": settings.mlas,
        "cells": space.cells,
        "bottom_width": space.bottom_width,
        "space_size": space.size,
        "skip_source": settings.skip_source,
        "rewards": len(searching.values["rows"]),
        "reward_images": settings.reward_images,
        "reward_sha256": network.sha256,
        "resets": shared.values["resets"],
        "archs": arch_record(found),
    }
    write_text(job.out / "candidates.csv", candidates_csv(searching.values["rows"]))
    write_json(job.out / "arch.json", record)
