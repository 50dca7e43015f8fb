"""Evaluation: the classifier that reports, reference statistics, one measurement per model and seed.

The first two come before any long training: a missing Inception file is told at once.
"""


rule classifier_train:
    input:
        data=classifier_data,
        named=weights_named_by("classifier.train"),
    output:
        config="<results>/classifier/train/{variant}/seed{seed}/config.json",
        weights="<results>/classifier/train/{variant}/seed{seed}/model.safetensors",
        log="<results>/classifier/train/{variant}/seed{seed}/log.jsonl",
        settings="<results>/classifier/train/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/classifier/train/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/classifier/train/{variant}/seed{seed}.tsv"
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
        data=prepared("train", "report", dataset="{variant}"),
        classifier=reference_classifier,
    output:
        statistics="<results>/evaluation/reference/{variant}/reference.npz",
        records="<results>/evaluation/reference/{variant}/records.json",
        settings="<results>/evaluation/reference/{variant}/settings.json",
    log:
        "<logs>/evaluation/reference/{variant}.log",
    benchmark:
        "<logs>/evaluation/reference/{variant}.tsv"
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
        reference=measured_reference,
        classifier=measuring_classifier,
    output:
        records="<results>/evaluation/{system}/{row}/seed{seed}/records.json",
        samples="<results>/evaluation/{system}/{row}/seed{seed}/samples.png",
        settings="<results>/evaluation/{system}/{row}/seed{seed}/settings.json",
    log:
        "<logs>/evaluation/{system}/{row}/seed{seed}.log",
    benchmark:
        "<logs>/evaluation/{system}/{row}/seed{seed}.tsv"
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


rule evaluation_translate:
    input:
        model=translated_model,
        data=translated_data,
        reference=measured_reference,
        classifier=measuring_classifier,
    output:
        records="<results>/evaluation/{system}/{row}/seed{seed}/records.json",
        samples="<results>/evaluation/{system}/{row}/seed{seed}/samples.png",
        inputs="<results>/evaluation/{system}/{row}/seed{seed}/inputs.png",
        targets="<results>/evaluation/{system}/{row}/seed{seed}/targets.png",
        settings="<results>/evaluation/{system}/{row}/seed{seed}/settings.json",
    log:
        "<logs>/evaluation/{system}/{row}/seed{seed}.log",
    benchmark:
        "<logs>/evaluation/{system}/{row}/seed{seed}.tsv"
    wildcard_constraints:
        system="gan_compression",
    priority: 10
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(480),
        gpu=1,
    params:
        config=settings_of("evaluation.translate"),
        code=code_of("evaluation.translate"),
    shell:
        "python -m slimgen evaluation.translate --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --model {input.model:q} --data {input.data:q}"
        " --reference {input.reference:q} --classifier {input.classifier:q} > {log:q} 2>&1"
