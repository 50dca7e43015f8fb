"""Data: one folder of arrays in four disjoint splits."""


rule data_prepare:
    output:
        manifest="<results>/data/prepare/{variant}/manifest.json",
        train="<results>/data/prepare/{variant}/train.npz",
        search="<results>/data/prepare/{variant}/search.npz",
        validation="<results>/data/prepare/{variant}/validation.npz",
        report="<results>/data/prepare/{variant}/report.npz",
        settings="<results>/data/prepare/{variant}/settings.json",
    log:
        "<logs>/data/prepare/{variant}.log",
    benchmark:
        "<logs>/data/prepare/{variant}.tsv"
    priority: 90
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(60),
    params:
        config=settings_of("data.prepare"),
        code=code_of("data.prepare"),
    shell:
        "python -m slimgen data.prepare --settings {params.config:q}"
        " --out {output:q} > {log:q} 2>&1"
