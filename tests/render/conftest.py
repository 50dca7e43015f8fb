"""A small results tree with numbers that the test chooses: every file that the pages read."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slimgen.config.rows import made_by

FLOOR, GAUSS, REPORT_IS = 2.5, 96.5, 8.0
BLOCKS = {
    "down_blocks.0": 2,
    "down_blocks.1": 2,
    "mid_block": 4,
    "up_blocks.0": 4,
    "up_blocks.1": 4,
}
KERNELS = {"S1": 1, "S2": 3, "random": 5, "global": 1, "widths": 3}
WIDE, NARROW = 16, 8  # inner widths of the search `widths`, which halves those of up_blocks.1
ROWS = {
    "teacher": ["digits"],
    "dbnas": [
        "base",
        "S1-linear",
        "S1-step",
        "S2-linear",
        "S2-step",
        "random",
        "global",
        "no_dis-S2",
        "fixed_loss-S1",
        "widths",
    ],
    "denoising_student": ["teacher", "S2"],
    "act": ["act", "ct", "ct-macs", "act-noaug", "act-searched"],
    "autogan": ["autogan", "random", "no-reset", "no-mlas", "transfer-autogan"],
    "gan_compression": [
        "teacher-pix2pix",
        "teacher-cyclegan",
        "mobile-pix2pix",
        "pretrain-narrow",
        "pix2pix",
        "scratch",
        "no-distill",
        "uniform",
        "random-widths",
        "cyclegan",
        "scratch-long",
    ],
}
DATASETS = {"autogan/transfer-autogan": "photos"} | {
    f"gan_compression/{row}": "strokes" if "cyclegan" in row else "edges"
    for row in ROWS["gan_compression"]
}
# What a student of GAN Compression has beyond the compressed one's settings, and its MACs
STUDENTS: dict[str, tuple[dict[str, Any], float]] = {
    "pix2pix": ({}, 0.1),
    "scratch": ({"begin": "random", "distill": False}, 0.1),
    "scratch-long": ({"begin": "random", "distill": False, "steps": 1450}, 0.1),
    "no-distill": ({"distill": False}, 0.1),
    "uniform": ({"arch": "uniform", "begin": "random"}, 0.09),
    "random-widths": ({"search": "random"}, 0.1),
    "cyclegan": ({"search": "cyclegan", "teacher": "teacher/cyclegan"}, 0.08),
}
TRANSLATION_SEARCHES = {"pix2pix": "evolution", "random": "random", "cyclegan": "exhaustive"}
RESETS = {"autogan": 2, "random": 1, "no-reset": 0, "no-mlas": 3}
# What a search's best architectures are: one with all choices, one without any
CODES = {"autogan": [[1, 0, 1, 1, 1, 2, 2, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0]]}
SIX = ("ddim-10", "ddim-20", "ddim-50", "ddim-100", "dpm-10", "dpm-20")
SETTINGS = {
    "teacher": ("ddim-1", "ddim-2", "ddim-5", *SIX),
    "denoising_student": ("one-step",),
    "act": ("consistency-1", "consistency-2"),
    "autogan": ("gan",),
    "gan_compression": ("translation",),
}


def settings_of(system: str, row: str) -> tuple[str, ...]:
    if system != "dbnas":
        return SETTINGS[system]
    return SIX if row in ("S1-linear", "S2-linear") else ("ddim-10", "dpm-10")


def default_q(system: str, row: str, setting: str, seed: int) -> float:
    """A plausible q: fewer evaluations are worse, rows differ, seeds move it by some percent."""
    base = {
        "teacher": 0.05,
        "dbnas": 0.06,
        "denoising_student": 0.09,
        "act": 0.3,
        "autogan": 0.1,
        "gan_compression": 0.15,
    }[system]
    rows = ROWS[system]
    base *= 1 + 0.12 * rows.index(row)
    tail = setting.rsplit("-", 1)[-1]
    nfe = int(tail) if tail.isdecimal() else 1
    extra = 0.02 * 10 / nfe if setting.startswith("d") else (0.03 if nfe == 1 else 0.0)
    return base + extra + 0.004 * math.sin(3 * seed + rows.index(row) + nfe)


@dataclass
class Tree:
    """Writes and changes the files of a run."""

    root: Path
    seeds: tuple[int, ...] = (0,)
    q: dict[tuple[str, str, str, int], float] = field(default_factory=dict)
    rows: dict[str, list[str]] = field(
        default_factory=lambda: {k: list(v) for k, v in ROWS.items()}
    )

    @property
    def blocks(self) -> dict[str, int]:
        return BLOCKS

    def settings(self, **changes: Any) -> str:
        values = {
            "run": "trial",
            "dataset": "digits",
            "seeds": list(self.seeds),
            "systems": self.rows,
            "datasets": {row: name for row, name in DATASETS.items() if self.has(row)},
            "tables": {},
        }
        return json.dumps(values | changes)

    def has(self, key: str) -> bool:
        system, row = key.split("/")
        return row in self.rows.get(system, ())

    def measured(self, system: str, row: str, seed: int = 0) -> Path:
        return self.root / "evaluation" / system / row / f"seed{seed}" / "records.json"

    def folder(self, stage: str, variant: str, seed: int = 0) -> Path:
        return self.root / stage.replace(".", "/") / variant / f"seed{seed}"

    def record(self, metric: str, value: float, **fields: Any) -> dict[str, Any]:
        common = {"seconds": 1.5, "seed": 0, "device": "cpu", "dtype": "float32", "code": "c0de"}
        return {"metric": metric, "value": value, **common, **fields}

    def change(self, path: Path, old: str, sampler: str | None = None, **fields: Any) -> None:
        content = json.loads(path.read_text())
        for record in content["records"]:
            if record["metric"] == old and record.get("sampler") == sampler:
                record.update(fields)
        path.write_text(json.dumps(content))

    def rename(self, path: Path, metric: str, sampler: str | None, new: str) -> None:
        self.change(path, metric, sampler, metric=new)

    def write(self) -> Tree:
        for dataset in dict.fromkeys(("digits", *DATASETS.values())):
            self._write_reference(dataset)
        for seed in self.seeds:
            for system, rows in self.rows.items():
                for row in rows:
                    self._write_model(system, row, seed)
            for space in ("kernels", "kernels_widths"):
                self._write_log("dbnas.supernet", space, seed, [f"loss/{name}" for name in BLOCKS])
            for search in KERNELS:
                self._write_search(search, seed)
            for number, search in enumerate(self.rows.get("autogan", ())[:4]):
                self._write_autogan_search(search, number, seed)
            if "gan_compression" in self.rows:
                self._write_translation_searches(seed)
        return self

    def _write_reference(self, dataset: str) -> None:
        features = {"features": "classifier", "features_sha256": "f" * 64, "resize": "none"}
        records = [
            self.record("floor", FLOOR, sampler="train", num_images=999, **features),
            self.record("fid_gauss", GAUSS, sampler="gaussian", num_images=1000, **features),
            self.record("is_classifier", REPORT_IS, sampler="report", num_images=600, **features),
            self.record(
                "classifier_accuracy", 0.9783, sampler="report", num_images=600, **features
            ),
        ]
        write_json(
            self.root / f"evaluation/reference/{dataset}/records.json",
            {"schema": 1, "records": records},
        )

    def _write_model(self, system: str, row: str, seed: int) -> None:
        at = ROWS[system].index(row)
        features = {"features": "classifier", "features_sha256": "f" * 64, "resize": "none"}
        model = {"model_sha256": "a" * 64, "model_md5": "b" * 32, "seed": seed}
        size = 1 - 0.06 * at if system == "dbnas" else 1.0
        if system == "gan_compression":
            size = STUDENTS[row][1] if row in STUDENTS else 1.0
        records = [
            self.record("params", round(159_697 * size), **model),
            self.record("macs", 2_496_000 * size, **model),
            self.record("latency_ms", 3.2 * size + 0.01 * seed, spread=0.1, **model),
        ]
        for setting in settings_of(system, row):
            tail = setting.rsplit("-", 1)[-1]
            nfe = int(tail) if tail.isdecimal() else 1
            q = self.q.get((system, row, setting, seed), default_q(system, row, setting, seed))
            images = {"num_images": 1000, "sampler": setting, "nfe": nfe, **model}
            records += [
                self.record("fid_classifier", FLOOR + q * (GAUSS - FLOOR), **images, **features),
                self.record("q", q, **images, **features),
                self.record("is_classifier", REPORT_IS * (1 - q), **images, **features),
                self.record("precision_classifier", 0.8 - q / 2, **images, **features),
                self.record("recall_classifier", 0.7 - q / 2, **images, **features),
                self.record("images_per_second", 5000 / nfe / size, **images),
            ]
        records[-1]["note"] = "shown in samples.png"
        path = self.measured(system, row, seed)
        if system == "gan_compression":
            records += self._translation_records(path, row, images, features)
        write_json(path, {"schema": 1, "records": records})
        write_grid(path.with_name("samples.png"), seed + at)
        self._write_training(system, row, seed)

    def _write_training(self, system: str, row: str, seed: int) -> None:
        at = ROWS[system].index(row)
        stage, row = made_by(system, row)
        folder, settings = self.folder(stage, row, seed), {"steps": 1000}
        metrics = ["loss"]
        if system == "dbnas":
            search = "base" if row == "base" else next(s for s in KERNELS if s in row)
            settings["search"] = search
            metrics += ["l_dis", "l_ori", "beta"]
        if system == "denoising_student":
            metrics += ["held_out_loss"]
            write_grid(folder / "interpolation.png", seed, columns=11, lines=4)
        if system == "act":
            plain = row.startswith("ct")
            other = "act" if row == "ct-macs" else None
            settings |= {"weight": {"w": 0.0 if plain else 0.3}, "equal_macs_with": other}
            metrics += ["loss_ct", "num_scales"]
            metrics += [] if plain else ["loss_adv", "loss_d", "lambda", "r1_average"]
            metrics += ["augment_p"] if row in ("act", "act-searched") else []
            steps = 1800 if row == "ct-macs" else 1000
            write_json(
                folder / "cost.json", {"steps": steps, "train_macs": 3.2e12, "macs_per_step": 3.2e9}
            )
        if stage == "autogan.student":
            settings |= {"search": row, "arch": None}
            metrics += ["loss_g"]
            candidates = [
                {
                    "code": code,
                    "shared_inception_score": 3 + rank + 0.1 * at,
                    "inception_score": 4 + rank + 0.2 * at,
                    "frechet_distance": 9 - rank,
                    "params": 1000,
                }
                for rank, code in enumerate(CODES["autogan"])
            ]
            write_json(folder / "selection.json", {"chosen": 1, "candidates": candidates})
        if system == "gan_compression":
            settings |= {"task": "unpaired" if "cyclegan" in row else "paired"}
            metrics += ["loss_gan", "loss_cycle" if "cyclegan" in row else "loss_recon", "loss_d"]
        if stage == "gan_compression.pretrain":
            settings |= {"teacher": "mobile_teacher/pix2pix"}
        if stage == "gan_compression.student":
            settings |= {"teacher": "teacher/pix2pix", "search": "pix2pix", "widths": None}
            settings |= {"arch": "searched", "begin": "supernet", "distill": True}
            settings |= {"pseudo_pairs": True, "discriminator_init": "teacher"} | STUDENTS[row][0]
            metrics += ["loss_distill"] if settings["distill"] else []
        write_json(folder / "settings.json", {"stage": stage, "seed": seed, "settings": settings})
        self._write_log(stage, row, seed, metrics)

    def _translation_records(
        self, path: Path, row: str, images: dict[str, Any], features: dict[str, Any]
    ) -> list[dict[str, Any]]:
        write_grid(path.with_name("inputs.png"), 1, columns=2, lines=2)
        write_grid(path.with_name("targets.png"), 2, columns=2, lines=2)
        quality = 1 - 0.02 * ROWS["gan_compression"].index(row)
        records = [
            self.record("accuracy", 0.95 * quality, **images, **features),
            self.record("macs_torchprofile", 3_000_000 * quality),
        ]
        if "cyclegan" not in row:
            records += [
                self.record("psnr", 18 * quality, spread=1.0, **images),
                self.record("ssim", 0.8 * quality, spread=0.1, **images),
            ]
        return records

    def _write_translation_searches(self, seed: int) -> None:
        supernets = {"pix2pix": ["loss_gan", "loss_distill"], "cyclegan": ["loss_gan"]}
        for name, metrics in supernets.items():
            stage = "gan_compression.supernet"
            self._write_log(stage, name, seed, metrics)
            write_json(
                self.folder(stage, name, seed) / "settings.json",
                {"settings": {"steps": 450, "begin": "random", "teacher": f"teacher/{name}"}},
            )
        for search, method in TRANSLATION_SEARCHES.items():
            folder = self.folder("gan_compression.search", search, seed)
            supernet = "cyclegan" if search == "cyclegan" else "pix2pix"
            stage_settings = {"method": method, "supernet": supernet}
            write_json(
                folder / "settings.json",
                {"stage": "gan_compression.search", "seed": seed, "settings": stage_settings},
            )
            options = [[24, 16, 8]] * 4
            candidates = [
                (widths, 1000 * sum(widths), 30 - sum(widths) / 8 + widths[0] / 5)
                for widths in itertools.product(*options)
                if sum(widths) <= 60
            ]
            chosen = min(candidates, key=lambda candidate: candidate[2])
            write_json(
                folder / "arch.json",
                {
                    "widths": chosen[0],
                    "entries": ["stem", "down", "blocks", "up"],
                    "options": options,
                    "criterion": "fid",
                    "score": chosen[2],
                    "macs": chosen[1],
                    "teacher_macs": 500_000,
                    "budget": 60_000 if search != "cyclegan" else None,
                },
            )
            lines = ["widths,macs,params,score,latency_ms,generation,chosen"]
            for widths, macs, score in candidates:
                vector = "_".join(map(str, widths))
                lines.append(f"{vector},{macs},{macs // 9},{score},,0,{int(widths == chosen[0])}")
            (folder / "candidates.csv").write_text("\n".join(lines) + "\n")
        folder = self.folder("gan_compression.export", "pix2pix", seed)
        write_json(folder / "export.json", {"latency_ms": 0.25, "largest_difference": 1e-6})

    def _write_autogan_search(self, search: str, number: int, seed: int) -> None:
        folder = self.folder("autogan.search", search, seed)
        write_json(folder / "arch.json", {"rewards": 96, "resets": RESETS[search]})
        lines = ["step,stage,iteration,kind,code,inception_score,kept"]
        for at in range(12):
            stage = int(at > 5)
            code = "1 0 1 1" + " 0 0 0 0 1" * stage
            kind = "beam" if at in (4, 5, 10, 11) else "controller"
            lines.append(
                f"{10 * at},{stage},1,{kind},{code},{2 + 0.1 * at + number},{int(at == 11)}"
            )
        (folder / "candidates.csv").write_text("\n".join(lines) + "\n")
        stage_settings = {"method": "reinforce", "mlas": search != "no-mlas"}
        write_json(
            folder / "settings.json",
            {"stage": "autogan.search", "seed": seed, "settings": stage_settings},
        )
        metrics = ["loss", "loss_g", "resets", *(["entropy"] if search != "random" else [])]
        self._write_log("autogan.search", search, seed, metrics)

    def _write_log(self, stage: str, variant: str, seed: int, metrics: list[str]) -> None:
        path = self.folder(stage, variant, seed) / "log.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        phase = sum(map(ord, variant)) % 7
        lines = [json.dumps({"step": 0, "event": "resumed"})]
        for step in range(50, 1001, 50):
            line = {"step": step, "seconds": 0.06 * step, "images_per_second": 2000.0}
            for at, metric in enumerate(metrics):
                fall = 0.02 + math.exp(-step / (150 + 20 * at)) * (1 + 0.03 * phase + 0.2 * at)
                rise = {
                    "augment_p": step / 4000,
                    "num_scales": 2 + step // 100,
                    "lambda": 0.3,
                    "beta": min(1.0, step / 500),
                }
                line[metric] = rise.get(metric, fall * (1 + 0.05 * math.sin(step + phase)))
            lines.append(json.dumps(line))
        path.write_text("\n".join(lines) + "\n")

    def _write_search(self, search: str, seed: int) -> None:
        kernel = KERNELS[search]
        chosen = {block: [3] * count for block, count in BLOCKS.items()}
        chosen["up_blocks.1"] = [kernel] * BLOCKS["up_blocks.1"]
        base = {block: [3] * count for block, count in BLOCKS.items()}
        changed = 4 * (kernel != 3)
        cost = sum(k * k for ks in chosen.values() for k in ks) / sum(
            9 * n for n in BLOCKS.values()
        )
        base_widths = {block: [WIDE] * (count // 2) for block, count in BLOCKS.items()}
        widths = {
            "widths": base_widths | {"up_blocks.1": [NARROW, NARROW]},
            "base_widths": base_widths,
        }
        folder = self.folder("dbnas.search", search, seed)
        write_json(
            folder / "arch.json",
            {
                **(widths if search == "widths" else {}),
                "system": "dbnas",
                "cost": "params",
                "is_base": changed == 0,
                "kernels": chosen,
                "convs": sum(BLOCKS.values()),
                "changed_convs": changed,
                "relative_cost": cost,
            },
        )
        method = search if search in ("random", "global") else "local"
        settings = {
            "method": method,
            "r": {"S1": 1.5, "S2": 1.1}.get(search, 1.0),
            "cost": "params",
            "supernet": "kernels_widths" if search == "widths" else "kernels",
        }
        write_json(
            folder / "settings.json", {"stage": "dbnas.search", "seed": seed, "settings": settings}
        )
        rows = []
        for block, count in BLOCKS.items():
            every = (
                itertools.product((1, 3, 5), repeat=count)
                if method == "local"
                else [base[block], chosen[block]]
            )
            for kernels in dict.fromkeys(tuple(k) for k in every):
                macs = 4096 * sum(k * k for k in kernels)
                loss = (9 * count * 4096 / macs) ** 0.35 * (
                    1 + 0.08 * math.sin(sum(i * k for i, k in enumerate(kernels)))
                )
                loss = 1.0 if list(kernels) == base[block] else loss
                flags = (int(list(kernels) == chosen[block]), int(list(kernels) == base[block]))
                rows.append(
                    [block, "-".join(map(str, kernels)), loss / 10, loss, macs // 64, macs, *flags]
                )
        with (folder / "candidates.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["block", "arch", "loss", "relative_loss", "params", "macs", "chosen", "base"]
            )
            writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_grid(path: Path, seed: int, columns: int = 8, lines: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (lines * 8, columns * 8), dtype=np.uint8)
    Image.fromarray(np.kron(tiles, np.ones((8, 8), np.uint8))).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A run of one seed that is not written yet."""
    return Tree(tmp_path / "results" / "trial")
