"""Results: tables and figures from records and text files, never from a model.

On a cluster these rules run where Snakemake runs.
"""


rule tables:
    input:
        [tables_of(page) for page in pages(CONFIG)],


rule figures:
    input:
        [figures_of(page) for page in pages(CONFIG)],


rule render_dbnas:
    input:
        results=page_inputs("dbnas"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("dbnas"),
        figures=figures_of("dbnas"),
    log:
        "<logs>/render/dbnas.log",
    benchmark:
        "<logs>/render/dbnas.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("dbnas"),
        code=code_of("render.dbnas"),
    shell:
        f"python -m slimgen render.dbnas --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"


rule render_denoising_student:
    input:
        results=page_inputs("denoising_student"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("denoising_student"),
        figures=figures_of("denoising_student"),
    log:
        "<logs>/render/denoising_student.log",
    benchmark:
        "<logs>/render/denoising_student.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("denoising_student"),
        code=code_of("render.denoising_student"),
    shell:
        f"python -m slimgen render.denoising_student --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"


rule render_act:
    input:
        results=page_inputs("act"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("act"),
        figures=figures_of("act"),
    log:
        "<logs>/render/act.log",
    benchmark:
        "<logs>/render/act.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("act"),
        code=code_of("render.act"),
    shell:
        f"python -m slimgen render.act --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"


rule render_autogan:
    input:
        results=page_inputs("autogan"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("autogan"),
        figures=figures_of("autogan"),
    log:
        "<logs>/render/autogan.log",
    benchmark:
        "<logs>/render/autogan.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("autogan"),
        code=code_of("render.autogan"),
    shell:
        f"python -m slimgen render.autogan --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"


rule render_gan_compression:
    input:
        results=page_inputs("gan_compression"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("gan_compression"),
        figures=figures_of("gan_compression"),
    log:
        "<logs>/render/gan_compression.log",
    benchmark:
        "<logs>/render/gan_compression.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("gan_compression"),
        code=code_of("render.gan_compression"),
    shell:
        f"python -m slimgen render.gan_compression --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"


rule render_summary:
    input:
        results=page_inputs("summary"),
        published="workflow/slimgen/render/published_numbers.csv",
    output:
        tables=tables_of("summary"),
        figures=figures_of("summary"),
    log:
        "<logs>/render/summary.log",
    benchmark:
        "<logs>/render/summary.tsv"
    localrule: True
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=page_settings_of("summary"),
        code=code_of("render.summary"),
    shell:
        f"python -m slimgen render.summary --settings {{params.config:q}}"
        f" --results {RESULTS} --out {RESULTS} > {{log:q}} 2>&1"
