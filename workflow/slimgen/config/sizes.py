"""Numbers of images, and widths, that a later stage would refuse stop the run before any job.

The stages check the same on the images and the teacher that they really have; what is told here
would else come after the trainings that those stages wait for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimgen.config.errors import ConfigError
from slimgen.config.gan_compression import rewarded
from slimgen.config.rows import datasets, has_teacher, row_names
from slimgen.config.run import Config, stage_settings
from slimgen.config.shapes import known_shape
from slimgen.config.whole_groups import whole_groups


def check_sizes(config: Config) -> None:
    """Raise ConfigError with one line for each number or width that cannot work."""
    lines = [
        *_report_lines(config),
        *_label_lines(config),
        *_measurement_lines(config),
        *_search_lines(config),
        *_width_lines(config),
        *_level_lines(config),
    ]
    if lines:
        raise ConfigError("\n".join(f"config: {line}" for line in lines))


def _report_lines(config: Config) -> list[str]:
    lines = []
    for dataset in datasets(config):
        data: Any = config.data.prepare.variant(dataset)
        reference: Any = stage_settings(config, "evaluation.reference", dataset)
        needed = max(reference.is_splits, reference.neighbours + 1)
        if data.report < needed:
            lines.append(
                f"data.prepare.variants.{dataset}.report = {data.report}: too few images; "
                f"is_splits = {reference.is_splits} and neighbours = {reference.neighbours} of "
                f"evaluation.reference need at least {needed}"
            )
    return lines


def _label_lines(config: Config) -> list[str]:
    """Folders of pairs, and those without sub-folders, have no classes to train a classifier on."""

    def classless(dataset: str) -> bool:
        source: Any = config.data.prepare.variant(dataset).source  # type: ignore[attr-defined]
        if source.kind == "folder":
            folder = Path(source.path)
            return folder.is_dir() and not any(path.is_dir() for path in folder.iterdir())
        return source.kind in ("paired_folder", "unpaired_folder", "label_folder")

    lines = []
    for dataset in datasets(config):
        reference: Any = stage_settings(config, "evaluation.reference", dataset)
        own = reference.features == "classifier" and reference.classifier in (None, dataset)
        if own and classless(dataset):
            lines.append(
                f"evaluation.reference.variants.{dataset}.features = 'classifier': its images have "
                "no classes (a folder's sub-folders are classes); features: inception, or "
                "classifier: another data set"
            )
    compression = config.gan_compression
    for name in compression.search.variants if compression is not None else ():
        search: Any = stage_settings(config, "gan_compression.search", name)
        if not rewarded(search):
            continue
        trained: Any = stage_settings(config, "classifier.train", search.reward)
        if classless(trained.dataset or search.reward):
            lines.append(
                f"gan_compression.search.variants.{name}.reward = {search.reward!r}: a classifier "
                "of images without classes; criterion: psnr, or features: inception"
            )
    return lines


def _measurement_lines(config: Config) -> list[str]:
    found: dict[str, str] = {}  # what is wrong -> where first: common keys before variants
    variants = config.evaluation.measure.variants
    for name in sorted(row_names(config), key=variants.__contains__):
        measure: Any = stage_settings(config, "evaluation.measure", name)
        needed = max(measure.is_splits, measure.neighbours + 1)
        if measure.num_images < needed:
            where = "evaluation.measure" + (f".variants.{name}" if name in variants else "")
            fault = (
                f"num_images = {measure.num_images}: too few; is_splits = {measure.is_splits} and "
                f"neighbours = {measure.neighbours} need at least {needed}"
            )
            found.setdefault(fault, where)
    return [f"{where}.{fault}" for fault, where in found.items()]


def _search_lines(config: Config) -> list[str]:
    if config.dbnas is None:
        return []
    data: Any = config.data.prepare.variant(config.dataset)
    searches: dict[str, Any] = {
        name: config.dbnas.search.variant(name) for name in config.dbnas.search.variants
    }
    return [
        f"dbnas.search.variants.{name}.num_images = {search.num_images}: the search split has "
        f"{data.search} images (data.prepare.variants.{config.dataset}.search)"
        for name, search in searches.items()
        if search.num_images > data.search
    ]


def _width_lines(config: Config) -> list[str]:
    """Widths that tear a group of the teacher's GroupNorm; `teacher.train.from` is not read."""
    teacher: Any = config.teacher.train.variant(config.dataset)
    if config.dbnas is None or teacher.from_ is not None:
        return []
    groups = teacher.network.norm_num_groups
    lines: dict[str, None] = {}
    for name, changes in config.dbnas.supernet.variants.items():
        supernet: Any = config.dbnas.supernet.variant(name)
        where = "dbnas.supernet" + (f".variants.{name}" if "widths" in changes else "")
        for width in supernet.widths:
            try:
                whole_groups(width, groups)
            except ValueError as error:
                line = f"{where}.widths = {list(supernet.widths)}: {error}"
                lines[f"{line} (teacher.train.network.norm_num_groups)"] = None
    return list(lines)


def _level_lines(config: Config) -> list[str]:
    """Images that a U-Net cannot halve once per change of level."""
    data: Any = config.data.prepare.variant(config.dataset)
    size = known_shape(data.source)[1]
    networks: dict[str, Any] = {}
    teacher: Any = config.teacher.train.variant(config.dataset)
    if has_teacher(config) and teacher.from_ is None:
        networks["teacher.train"] = teacher.network
    for name in config.act.student.variants if config.act is not None else ():
        student: Any = stage_settings(config, "act.student", name)
        if student.backbone is None:
            networks["act.student"] = student.network
    return [
        f"{where}.network.block_out_channels = {list(network.block_out_channels)}: the images of "
        f"{config.dataset} have {size} pixels, which cannot be halved {halvings} times"
        for where, network in networks.items()
        if size is not None and size % 2 ** (halvings := len(network.block_out_channels) - 1)
    ]
