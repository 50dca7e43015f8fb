"""Checks across sections: what one section names, another must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from slimgen.config.errors import WrongNameError
from slimgen.config.gan_compression import rewarded
from slimgen.config.rows import (
    PREFIXES,
    SYSTEMS,
    datasets,
    made_by,
    model_rows,
    translation_dataset,
    translation_origin_of,
)

if TYPE_CHECKING:
    from slimgen.config.run import Config, Dbnas

VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_names(config: Config) -> None:
    """Raise WrongNameError where one section names something that another does not hold."""
    for path, group in _stages_with_variants(config):
        _check_spelling(path, group.variants)
    _known("dataset", config.dataset, dict.fromkeys(["digits", *config.data.prepare.variants]))
    if config.dbnas is not None:
        _check_dbnas(config.dbnas)
    if config.denoising_student is not None:
        _check_denoising_student(config)
    if config.act is not None:
        _check_act(config)
    if config.autogan is not None:
        _check_autogan(config)
    if config.gan_compression is not None:
        _check_gan_compression(config)
    rows = model_rows(config)
    translated = [f"gan_compression/{row}" for row in rows.get("gan_compression", [])]
    everything = [f"{system}/{row}" for system, names in rows.items() for row in names]
    for name in config.evaluation.measure.variants:
        generated = [row for row in everything if row not in translated]
        _known(f"evaluation.measure.variants.{name}", name, generated)
    for name in config.evaluation.translate.variants:
        _known(f"evaluation.translate.variants.{name}", name, translated)
    trained = config.classifier.train
    for name in trained.variants:
        settings: Any = trained.variant(name)
        path = f"classifier.train.variants.{name}.dataset"
        _known(path, settings.dataset or name, config.data.prepare.variants)
    for dataset in datasets(config):
        reference = config.evaluation.reference
        chosen = reference.variants.get(dataset, {}).get("classifier", reference.classifier)
        if chosen is not None:
            known = {*config.classifier.train.variants, *datasets(config)}
            path = f"evaluation.reference.variants.{dataset}.classifier"
            _known(path, chosen, sorted(known))
    _check_rulers(config)
    for system in SYSTEMS:
        for row in getattr(config.tables, system) or ():
            teacher = ["teacher"] if system in ("dbnas", "denoising_student") else []
            _known(f"tables.{system}", row, [*teacher, *rows.get(system, [])])


def _check_rulers(config: Config) -> None:
    """Raise WrongNameError where a search scores with what reports, or on what reports."""
    reference, prepare = config.evaluation.reference, config.data.prepare
    chosen = {
        data: reference.variants.get(data, {}).get("classifier", reference.classifier) or data
        for data in datasets(config)
    }
    for system, stages in (("autogan", ("search", "student")), ("gan_compression", ("search",))):
        section = getattr(config, system)
        for stage in stages if section is not None else ():
            group = getattr(section, stage)
            for name in group.variants:
                reward = group.variant(name).reward
                if reward in chosen.values():
                    path = f"{system}.{stage}.variants.{name}.reward"
                    raise WrongNameError(f"{path} = {reward!r}: it reports, no search may see it")
    # Pairs of digits show the digits: other splits would report on what a classifier learned.
    cut = ("search", "validation", "report", "split_seed")
    found: dict[tuple[int, ...], str] = {}
    for name in dict.fromkeys([*datasets(config), *prepare.variants]):
        if name in prepare.variants:
            settings: Any = prepare.variant(name)
            if settings.source.kind in ("digits", "digit_pairs"):
                found.setdefault(tuple(getattr(settings, key) for key in cut), name)
    if len(found) > 1:
        one, other, *_ = found.values()
        raise WrongNameError(
            f"data.prepare.variants: {one} and {other} are made of the same digits and need equal "
            f"{', '.join(cut)}"
        )


def _stages_with_variants(config: Config) -> Iterable[tuple[str, Any]]:
    for section in ("data", "classifier", "teacher", *SYSTEMS):
        for name in type(getattr(config, section)).model_fields if getattr(config, section) else ():
            yield f"{section}.{name}", getattr(getattr(config, section), name)


def _check_spelling(path: str, variants: Mapping[str, Any]) -> None:
    for name in variants:
        if not VARIANT.fullmatch(name):
            raise WrongNameError(
                f"{path}.variants.{name}: a variant names a folder: "
                "letters, digits, - and _, beginning with a letter or digit"
            )


def _check_dbnas(section: Dbnas) -> None:
    for name in section.search.variants:
        settings: Any = section.search.variant(name)
        path = f"dbnas.search.variants.{name}"
        _known(f"{path}.supernet", settings.supernet, section.supernet.variants)
        if settings.like is not None:
            others = [other for other in section.search.variants if other != name]
            _known(f"{path}.like", settings.like, others)
            like: Any = section.search.variant(settings.like)
            if like.method == "random":
                raise WrongNameError(f"{path}.like = {settings.like!r}: itself random")
    for name in section.student.variants:
        student: Any = section.student.variant(name)
        path = f"dbnas.student.variants.{name}"
        _known(f"{path}.search", student.search, ["base", *section.search.variants])


def _check_denoising_student(config: Config) -> None:
    assert config.denoising_student is not None
    students = [f"dbnas/{name}" for name in config.dbnas.student.variants] if config.dbnas else []
    pairs = config.denoising_student.pairs
    shards = None
    for name in pairs.variants:
        settings: Any = pairs.variant(name)
        path = f"denoising_student.pairs.variants.{name}"
        _known(f"{path}.teacher", settings.teacher, ["teacher", *students])
        shards = shards or len(settings.shards())
        if len(settings.shards()) != shards:
            raise WrongNameError(
                f"{path}: {len(settings.shards())} shards (num_pairs / shard_size) where another "
                f"variant has {shards}; all have the same number"
            )
    for name in config.denoising_student.student.variants:
        _known(f"denoising_student.student.variants.{name}", name, pairs.variants)


def _check_act(config: Config) -> None:
    assert config.act is not None
    searches = list(config.dbnas.search.variants) if config.dbnas else []
    variants = config.act.student.variants
    for name in variants:
        settings: Any = config.act.student.variant(name)
        path = f"act.student.variants.{name}"
        if settings.backbone is not None:
            _known(f"{path}.backbone", settings.backbone, searches)
        if settings.equal_macs_with is not None:
            rows: dict[str, Any] = {o: config.act.student.variant(o) for o in variants if o != name}
            plain = [other for other, row in rows.items() if row.equal_macs_with is None]
            _known(f"{path}.equal_macs_with", settings.equal_macs_with, plain)


def _check_autogan(config: Config) -> None:
    assert config.autogan is not None
    section, rewards = config.autogan, config.classifier.train.variants
    for name in section.search.variants:
        search: Any = section.search.variant(name)
        _known(f"autogan.search.variants.{name}.reward", search.reward, rewards)
    for name in section.student.variants:
        student: Any = section.student.variant(name)
        path = f"autogan.student.variants.{name}"
        _check_prefix("autogan", path, name)
        _known(f"{path}.reward", student.reward, rewards)
        if student.arch is None:
            _known(f"{path}.search", student.search, section.search.variants)
    for name in section.transfer.variants:
        transfer: Any = section.transfer.variant(name)
        path = f"autogan.transfer.variants.{name}"
        _known(f"{path}.dataset", transfer.dataset, config.data.prepare.variants)
        if transfer.arch is None:
            _known(f"{path}.student", transfer.student, section.student.variants)


def _check_gan_compression(config: Config) -> None:
    assert config.gan_compression is not None
    section = config.gan_compression
    for stage in ("teacher", "mobile_teacher"):
        for name in getattr(section, stage).variants:
            path = f"gan_compression.{stage}.variants.{name}.dataset"
            dataset = getattr(section, stage).variant(name).dataset
            _known(path, dataset, config.data.prepare.variants)
    for stage in ("pretrain", "supernet", "student"):
        for name in getattr(section, stage).variants:
            path = f"gan_compression.{stage}.variants.{name}"
            origin, variant = getattr(section, stage).variant(name).origin
            known = [f"{origin}/{other}" for other in getattr(section, origin).variants]
            _known(f"{path}.teacher", f"{origin}/{variant}", known)
    for name in section.supernet.variants:
        _check_beginning(config, name)
    for name in section.search.variants:
        found: Any = section.search.variant(name)
        path = f"gan_compression.search.variants.{name}"
        _known(f"{path}.supernet", found.supernet, section.supernet.variants)
        if rewarded(found):
            _known(f"{path}.reward", found.reward, config.classifier.train.variants)
    for name in section.student.variants:
        student: Any = section.student.variant(name)
        path = f"gan_compression.student.variants.{name}"
        _check_prefix("gan_compression", path, name)
        if student.search is None:
            continue
        _known(f"{path}.search", student.search, section.search.variants)
        data = translation_dataset(config, "search", student.search)
        if data != translation_dataset(config, "student", name):
            raise WrongNameError(f"{path}.search = {student.search!r}: of another data set")
    for name in section.export.variants:
        path = f"gan_compression.export.variants.{name}"
        _known(path, name, section.student.variants)
    _check_builds(config)


def _check_beginning(config: Config, name: str) -> None:
    """Raise WrongNameError where a supernet begins with what is not there or of other data."""
    section: Any = config.gan_compression
    settings = section.supernet.variant(name)
    if settings.begin_from is None:
        return
    path = f"gan_compression.supernet.variants.{name}.begin_from"
    stage, variant = settings.beginning
    known = [f"{stage}/{other}" for other in getattr(section, stage).variants]
    _known(path, settings.begin_from, known)
    if translation_dataset(config, stage, variant) != translation_dataset(config, "supernet", name):
        raise WrongNameError(f"{path} = {settings.begin_from!r}: of another data set")


def _check_builds(config: Config) -> None:
    """Raise WrongNameError where a stage does not name the callable of its custom generator."""
    section: Any = config.gan_compression
    stages = ("pretrain", "supernet", "search", "student", "export")
    told = [
        (f"gan_compression.{stage}.variants.{name}", stage, name, getattr(section, stage))
        for stage in stages
        for name in getattr(section, stage).variants
    ]
    found = [(path, stage, name, group.variant(name).build) for path, stage, name, group in told]
    for name in section.supernet.variants:
        settings: Any = section.supernet.variant(name)
        path = f"gan_compression.supernet.variants.{name}"
        found.append((path, *settings.beginning, settings.build))
    translate = config.evaluation.translate
    for row in model_rows(config)["gan_compression"]:
        stage, name = made_by("gan_compression", row)
        own = translate.variants.get(f"gan_compression/{row}", {})
        path = f"evaluation.translate.variants.gan_compression/{row}"
        found.append((path, stage.split(".")[1], name, own.get("build", translate.build)))
    for path, stage, name, named in found:
        while stage not in ("teacher", "mobile_teacher"):
            stage, name = translation_origin_of(config, stage, name)
        built = getattr(section, stage).variant(name).generator.build
        if named != built:
            what = "of no callable" if built is None else f"built by {built!r}"
            raise WrongNameError(
                f"{path}.build = {named!r}: the generator of {stage}/{name} is {what}; every "
                "stage names the same one (docs/any_generator.md)"
            )


def _check_prefix(system: str, path: str, name: str) -> None:
    for prefix, stage in PREFIXES[system].items():
        if name.startswith(prefix):
            raise WrongNameError(f"{path}: {prefix}... are the rows of {system}.{stage}")


def _known(path: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        names = ", ".join(allowed)
        allowed_names = f"it can be {names}" if names else "this run has none that it could be"
        raise WrongNameError(f"{path} = {value!r}: no such name; {allowed_names}")
