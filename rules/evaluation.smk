"""Evaluation: the classifier that reports, reference statistics, one measurement per model and seed.

The first two come before any long training: a missing Inception file is told at once.
"""


rule classifier_train:
    input:
        data=prepared("train", "validation"),
        named=weights_named_by("classifier.train"),
    output:
        config="<results>/classifier/train/<dataset>/seed{seed}/config.json",
        weights="<results>/classifier/train/<dataset>/seed{seed}/model.safetensors",
        log="<results>/classifier/train/<dataset>/seed{seed}/log.jsonl",
        settings="<results>/classifier/train/<dataset>/seed{seed}/settings.json",
    log:
        "<logs>/classifier/train/<dataset>/seed{seed}.log",
    benchmark:
        "<logs>/classifier/train/<dataset>/seed{seed}.tsv"
    priority: 85
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(8000),
        runtime=more_time(240),
        gpu=1,
    params:
        config=settings_of("classifier.train"),
        code=code_of("classifier.train"),
    shell:
        "python -m slimgen classifier.train --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --data {input.data:q} > {log:q} 2>&1"


rule evaluation_reference:
    input:
        data=prepared("train", "report"),
        classifier=classifier(),
    output:
        statistics="<results>/evaluation/reference/<dataset>/reference.npz",
        records="<results>/evaluation/reference/<dataset>/records.json",
        settings="<results>/evaluation/reference/<dataset>/settings.json",
    log:
        "<logs>/evaluation/reference/<dataset>.log",
    benchmark:
        "<logs>/evaluation/reference/<dataset>.tsv"
    priority: 85
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(240),
        gpu=1,
    params:
        config=settings_of("evaluation.reference"),
        code=code_of("evaluation.reference"),
    shell:
        "python -m slimgen evaluation.reference --settings {params.config:q}"
        " --out {output:q} --data {input.data:q} --classifier {input.classifier:q}"
        " > {log:q} 2>&1"


rule evaluation_measure:
    input:
        model=measured_model,
        reference="<results>/evaluation/reference/<dataset>/reference.npz",
        classifier=classifier(),
    output:
        records="<results>/evaluation/{system}/{variant}/seed{seed}/records.json",
        samples="<results>/evaluation/{system}/{variant}/seed{seed}/samples.png",
        settings="<results>/evaluation/{system}/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/evaluation/{system}/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/evaluation/{system}/{variant}/seed{seed}.tsv"
    priority: 10
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(480),
        gpu=1,
    params:
        config=settings_of("evaluation.measure"),
        code=code_of("evaluation.measure"),
    shell:
        "python -m slimgen evaluation.measure --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --model {input.model:q} --reference {input.reference:q}"
        " --classifier {input.classifier:q} > {log:q} 2>&1"
