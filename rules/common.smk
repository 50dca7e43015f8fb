"""What the rules share: the tracked params, and the inputs that depend on the config.

Every rule has exactly two tracked params, functions of the wildcards alone. `config` is the string of
settings that the stage runs with; `code` is the digest of the modules that it imports (or None).
"""

import os
import shlex
from pathlib import Path

from slimgen.config.names import VARIANT
from slimgen.config.gan_compression import rewarded
from slimgen.config.paths import named_weights
from slimgen.config.rows import (
    made_by,
    model_rows,
    row_dataset,
    translation_dataset,
    translation_origin_of,
)
from slimgen.config.run import stage_settings, tracked
from slimgen.data.files import write_json
from slimgen.render.outputs import FIGURES, FIGURE_FORMATS, TABLES, TABLE_FORMATS
from slimgen.tracking.code_digest import code_digest
from slimgen.tracking.plan import (
    REWARD_SEED,
    page_files,
    classifier_dataset,
    page_settings,
    pages,
    reporting_classifier,
    stage_module,
)
from slimgen.tracking.slurm_check import (
    SlurmError,
    check_slurm,
    grown,
    largest_memory,
    request_of,
)
from slimgen.training.job import PLANNED, forget_finished

# The stages run in the Python that runs Snakemake, whether or not its environment is activated;
# exec, because a shell in between could die of a signal from SLURM before the stage has saved.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; exec "
)


wildcard_constraints:
    variant=VARIANT.pattern,
    row=VARIANT.pattern,
    system="|".join(name for name in model_rows(CONFIG) if name != "gan_compression"),
    seed="[0-9]+",


DATASET = CONFIG.dataset
RESULTS = f"results/{CONFIG.run}"
MODEL = ["config.json", "diffusion_pytorch_model.safetensors", "process.json"]


def record_config():
    """Leave the config of the run that starts for `python -m slimgen status`."""
    write_json(Path("logs", CONFIG.run, "config.json"), config)


def check_cluster():
    """End before any job where SLURM can never run one of them."""
    if workflow.executor_plugin.name != "slurm":
        return
    submitted = {
        workflow.dag.get_job_group(job) or job
        for job in workflow.dag.needrun_jobs()
        if not job.is_local
    }
    requests = [request_of(job.name, job.threads, job.resources) for job in submitted]
    try:
        check_slurm(requests, workflow.executor_settings.status_command)
    except SlurmError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def say_when_planned():
    """Tell the stages, on other machines too, since when outputs that appear are of another start."""
    os.environ[PLANNED] = str(PLANNED_AT)


def forget_links():
    """Delete what finished jobs kept for another start of the workflow that might need it."""
    forget_finished(Path("runs", CONFIG.run))


def more_memory(amount):
    """Return the function that asks for memory (MB), for more of it at every further attempt."""

    def mem_mb(wildcards, attempt):
        return amount if attempt == 1 else grown(amount, attempt, largest_memory())

    return mem_mb


def more_time(amount):
    """Return the function that asks for time (minutes), for more of it at every further attempt."""

    def runtime(wildcards, attempt):
        return grown(amount, attempt)

    return runtime


def settings_of(stage):
    """Return the function that gives Snakemake the tracked settings of a job of the stage."""

    def settings(wildcards):
        return tracked(stage_settings(CONFIG, stage, variant_of(wildcards)))

    return settings


def code_of(stage):
    """Return the function that gives Snakemake the digest of a stage's code, or None."""

    def code(wildcards):
        return code_digest(stage_module(stage)) if CONFIG.track_code else None

    return code


def variant_of(wildcards):
    """Return the variant of a job; that of a measurement is `system/row`."""
    if hasattr(wildcards, "system"):
        return f"{wildcards.system}/{wildcards.row}"
    return getattr(wildcards, "variant", DATASET)


def weights_named_by(stage):
    """Return the function that gives the weights that a job's settings name (`from`, `init_from`).

    They are no option of the stage, which reads their names in its settings; they are inputs so
    that other bytes under an old name rerun it.
    """

    def files(wildcards):
        settings = stage_settings(CONFIG, stage, variant_of(wildcards))
        return [str(path) for path in named_weights(settings)]

    return files


def page_settings_of(page):
    """Return the function that gives Snakemake the tracked settings of a page of the results."""

    def settings(wildcards):
        return page_settings(CONFIG, page)

    return settings


def prepared(*splits, dataset=DATASET):
    """Return the files of a data set that a stage reads: the manifest and some splits."""
    folder = f"<results>/data/prepare/{dataset}"
    return [f"{folder}/manifest.json", *(f"{folder}/{split}.npz" for split in splits)]


def classifier_data(wildcards):
    """Return the splits that a classifier looks at; one that rewards sees the search split too."""
    settings = stage_settings(CONFIG, "classifier.train", wildcards.variant)
    splits = ["train", "validation"] + ["search"] * (settings.images == "reward")
    return prepared(*splits, dataset=classifier_dataset(CONFIG, wildcards.variant))


def model_files(system, row, seed):
    """Return the files of a saved model that makes images."""
    stage, variant = made_by(system, row)
    folder = f"<results>/{stage.replace('.', '/')}/{variant}/seed{seed}"
    return [f"{folder}/{name}" for name in MODEL]


def teacher(wildcards):
    """Return the files of the run's teacher of the same seed."""
    return model_files("teacher", DATASET, wildcards.seed)


def measured_model(wildcards):
    """Return the files of the model that a job of evaluation.measure measures."""
    return model_files(wildcards.system, wildcards.row, wildcards.seed)


def classifier_files(variant, seed):
    """Return the files of a classifier."""
    folder = f"<results>/classifier/train/{variant}/seed{seed}"
    return [f"{folder}/config.json", f"{folder}/model.safetensors"]


def reporter(dataset):
    """Return the files of the classifier that reports on a data set: one ruler for every seed.

    Nothing where Inception gives the features: then no classifier is trained.
    """
    variant = reporting_classifier(CONFIG, dataset)
    return [] if variant is None else classifier_files(variant, 0)


def reference_classifier(wildcards):
    """Return the classifier in whose features a data set is described."""
    return reporter(wildcards.variant)


def measured_dataset(wildcards):
    """Return the data set that the model of a measurement is compared with."""
    return row_dataset(CONFIG, wildcards.system, wildcards.row)


def measured_reference(wildcards):
    """Return the reference statistics that a model is compared with."""
    return f"<results>/evaluation/reference/{measured_dataset(wildcards)}/reference.npz"


def measuring_classifier(wildcards):
    """Return the classifier in whose features a model is compared."""
    return reporter(measured_dataset(wildcards))


def supernet(variant, seed):
    """Return the files of a supernet."""
    folder = f"<results>/dbnas/supernet/{variant}/seed{seed}"
    return [f"{folder}/config.json", f"{folder}/supernet.safetensors"]


def arch(variant, seed):
    """Return the architecture that a search found."""
    return f"<results>/dbnas/search/{variant}/seed{seed}/arch.json"


def searched_supernet(wildcards):
    """Return the files of the supernet that a search looks into."""
    return supernet(
        CONFIG.dbnas.search.variant(wildcards.variant).supernet, wildcards.seed
    )


def search_like(wildcards):
    """Return the architecture whose cost a random search matches; nothing for other searches."""
    like = CONFIG.dbnas.search.variant(wildcards.variant).like
    return [] if like is None else arch(like, wildcards.seed)


def student_arch(wildcards):
    """Return the architecture of a dbnas student; nothing for the teacher's own."""
    search = CONFIG.dbnas.student.variant(wildcards.variant).search
    return [] if search == "base" else arch(search, wildcards.seed)


def student_supernet(wildcards):
    """Return the supernet whose weights a dbnas student begins with, or nothing."""
    settings = CONFIG.dbnas.student.variant(wildcards.variant)
    if settings.init != "supernet":
        return []
    searched = CONFIG.dbnas.search.variants
    space = (
        CONFIG.dbnas.search.variant(settings.search).supernet
        if settings.search in searched
        else None
    )
    return supernet(space or next(iter(CONFIG.dbnas.supernet.variants)), wildcards.seed)


def pairs_teacher(wildcards):
    """Return the model whose pairs of noise and image a one-step student learns."""
    name = CONFIG.denoising_student.pairs.variant(wildcards.variant).teacher
    if name == "teacher":
        return teacher(wildcards)
    system, variant = name.split("/")
    return model_files(system, variant, wildcards.seed)


def pair_files():
    """Return the patterns of the pair files; every variant has the same number of shards."""
    names = ["held_out.npz"]
    if CONFIG.denoising_student is not None:
        pairs = CONFIG.denoising_student.pairs
        names += pairs.variant(next(iter(pairs.variants))).shards()
    return [
        f"<results>/denoising_student/pairs/{{variant}}/seed{{seed}}/{name}"
        for name in names
    ]


def act_backbone(wildcards):
    """Return the searched architecture that is an ACT row's backbone, or nothing."""
    backbone = CONFIG.act.student.variant(wildcards.variant).backbone
    return [] if backbone is None else arch(backbone, wildcards.seed)


def act_cost(wildcards):
    """Return the cost.json of the ACT row whose measured MACs this row is given, or nothing."""
    row = CONFIG.act.student.variant(wildcards.variant).equal_macs_with
    return (
        []
        if row is None
        else f"<results>/act/student/{row}/seed{wildcards.seed}/cost.json"
    )


def reward_classifier(stage):
    """Return the function that gives the classifier whose scores an autogan job looks at."""

    def files(wildcards):
        settings = stage_settings(CONFIG, stage, wildcards.variant)
        return classifier_files(settings.reward, REWARD_SEED)

    return files


def autogan_arch(wildcards):
    """Return the architectures that an autogan student trains; nothing where it names its own."""
    settings = CONFIG.autogan.student.variant(wildcards.variant)
    folder = f"<results>/autogan/search/{settings.search}/seed{wildcards.seed}"
    return [] if settings.arch is not None else f"{folder}/arch.json"


def transfer_model(wildcards):
    """Return the generator whose architecture is trained anew; nothing where one is named."""
    settings = CONFIG.autogan.transfer.variant(wildcards.variant)
    if settings.arch is not None:
        return []
    return model_files("autogan", settings.student, wildcards.seed)


def transfer_data(wildcards):
    """Return the second data set, on which a found architecture is trained."""
    dataset = CONFIG.autogan.transfer.variant(wildcards.variant).dataset
    return prepared("train", dataset=dataset)


def translation_data(stage, *splits):
    """Return the function that gives the data of a gan_compression job: its teacher's."""

    def files(wildcards):
        dataset = translation_dataset(CONFIG, stage, wildcards.variant)
        return prepared(*splits, dataset=dataset)

    return files


def translation_origin(stage):
    """Return the function that gives the files of the model that a gan_compression job begins with."""

    def files(wildcards):
        origin = translation_origin_of(CONFIG, stage, wildcards.variant)
        return translator_files(*origin, wildcards.seed)

    return files


def translator_files(stage, variant, seed):
    """Return the files of an image-to-image generator or supernet, and of its discriminator."""
    folder = f"<results>/gan_compression/{stage}/{variant}/seed{seed}"
    weights = "supernet" if stage == "supernet" else "model"
    names = ("config.json", f"{weights}.safetensors", "adversary.safetensors")
    return [f"{folder}/{name}" for name in names]


def supernet_beginning(wildcards):
    """Return the generator that a supernet begins with, where it is not its teacher, or nothing."""
    settings = CONFIG.gan_compression.supernet.variant(wildcards.variant)
    if settings.begin_from is None:
        return []
    return translator_files(*settings.beginning, wildcards.seed)


def searched_teacher(wildcards):
    """Return the teacher of the supernet that a search looks into."""
    supernet = CONFIG.gan_compression.search.variant(wildcards.variant).supernet
    stage, name = translation_origin_of(CONFIG, "supernet", supernet)
    while (
        stage == "pretrain"
    ):  # a narrower student: budget_ratio is of what it learned from
        stage, name = translation_origin_of(CONFIG, stage, name)
    return translator_files(stage, name, wildcards.seed)


def search_rewarder(wildcards):
    """Return the classifier in whose features a gan_compression search scores, or nothing."""
    settings = CONFIG.gan_compression.search.variant(wildcards.variant)
    return classifier_files(settings.reward, REWARD_SEED) if rewarded(settings) else []


def finetuned_arch(wildcards):
    """Return the widths that a search found for a student; nothing where it names its own."""
    search = CONFIG.gan_compression.student.variant(wildcards.variant).search
    folder = f"<results>/gan_compression/search/{search}/seed{wildcards.seed}"
    return [] if search is None else f"{folder}/arch.json"


def finetuned_supernet(wildcards):
    """Return the supernet whose G or D a gan_compression student begins with, or nothing."""
    settings = CONFIG.gan_compression.student.variant(wildcards.variant)
    needed = "supernet" in (settings.begin, settings.discriminator_init)
    if not needed or settings.search is None:
        return []
    search = CONFIG.gan_compression.search.variant(settings.search)
    return translator_files("supernet", search.supernet, wildcards.seed)


def translated_model(wildcards):
    """Return the generator that a job of evaluation.translate measures."""
    stage, variant = made_by(wildcards.system, wildcards.row)
    return translator_files(stage.split(".")[1], variant, wildcards.seed)[:2]


def translated_data(wildcards):
    """Return the report split that a generator translates."""
    return prepared("report", dataset=measured_dataset(wildcards))


def reported(kind, name, formats, shown):
    """Return the files of a table or figure; the format that is shown goes into the HTML report."""
    files = {suffix: f"<results>/{kind}/{name}.{suffix}" for suffix in formats}
    caption = f"../workflow/report/{name}.rst"
    files[shown] = report(files[shown], caption=caption, category=kind)
    return list(files.values())


def tables_of(page):
    """Return the files of a page's tables."""
    return [
        file
        for name in TABLES[page]
        for file in reported("tables", name, TABLE_FORMATS, "csv")
    ]


def figures_of(page):
    """Return the files of a page's figures."""
    return [
        file
        for name in FIGURES[page]
        for file in reported("figures", name, FIGURE_FORMATS, "png")
    ]


def page_inputs(page):
    """Return the function that gives the text files and sample grids from which a page is rendered."""

    def files(wildcards):
        return [f"<results>/{file}" for file in page_files(CONFIG, page)]

    return files
