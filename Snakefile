"""One run of slimgen: data, teacher, the methods that the config holds, evaluation, tables and figures.

    snakemake tables figures --cores 2                                     the demo
    snakemake tables figures --cores 2 --configfile config/another.yaml    another run

One config file is one run. It is checked here, before any job: a fault ends the program with one line.
"""

import sys
import time

from snakemake.utils import min_version

from slimgen.config.check import check_config
from slimgen.config.run import ConfigError, load
from slimgen.tracking.provenance import restore_records
from slimgen.tracking.run_lock import take_run
from slimgen.tracking.unrecorded import mark_unrecorded
from slimgen.training.job import StageError

min_version("9.27")

# A plain `configfile:` would leak the demo's keys into every other run.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


PLANNED_AT = time.time()

try:
    CONFIG = load(config)
    check_config(CONFIG)
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

if workflow.is_main_process:
    print(f"slimgen run: {CONFIG.run}", file=sys.stderr)
    # A clone lacks Snakemake's records of a tracked run; it gets them before the graph is built.
    try:
        restore_records(CONFIG.run)
    except StageError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    mark_unrecorded(CONFIG.run)


pathvars:
    results=f"results/{CONFIG.run}",
    logs=f"logs/{CONFIG.run}",
    dataset=CONFIG.dataset,


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/teacher.smk"
include: "rules/dbnas.smk"
include: "rules/denoising_student.smk"
include: "rules/act.smk"
include: "rules/autogan.smk"
include: "rules/gan_compression.smk"
include: "rules/evaluation.smk"
include: "rules/render.smk"


onstart:
    if workflow.is_main_process and (fault := take_run(CONFIG.run)):
        print(f"slimgen: {fault}", file=sys.stderr)
        sys.exit(1)
    check_cluster()
    record_config()
    say_when_planned()


onsuccess:
    forget_links()


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
