"""DBNAS: supernet, search, retrained students."""


rule dbnas_supernet:
    input:
        teacher=teacher,
        data=prepared("train"),
        named=weights_named_by("dbnas.supernet"),
    output:
        config="<results>/dbnas/supernet/{variant}/seed{seed}/config.json",
        weights="<results>/dbnas/supernet/{variant}/seed{seed}/supernet.safetensors",
        log="<results>/dbnas/supernet/{variant}/seed{seed}/log.jsonl",
        settings="<results>/dbnas/supernet/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/dbnas/supernet/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/dbnas/supernet/{variant}/seed{seed}.tsv"
    priority: 70
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("dbnas.supernet"),
        code=code_of("dbnas.supernet"),
    shell:
        "python -m slimgen dbnas.supernet --settings {params.config:q} --seed {wildcards.seed}"
        " --gpus {resources.gpu:q} --out {output:q} --teacher {input.teacher:q} --data {input.data:q} > {log:q} 2>&1"


rule dbnas_search:
    input:
        supernet=searched_supernet,
        teacher=teacher,
        data=prepared("search"),
        like=search_like,
    output:
        arch="<results>/dbnas/search/{variant}/seed{seed}/arch.json",
        candidates="<results>/dbnas/search/{variant}/seed{seed}/candidates.csv",
        settings="<results>/dbnas/search/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/dbnas/search/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/dbnas/search/{variant}/seed{seed}.tsv"
    priority: 60
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(240),
        gpu=1,
    params:
        config=settings_of("dbnas.search"),
        code=code_of("dbnas.search"),
    shell:
        "python -m slimgen dbnas.search --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --supernet {input.supernet:q} --teacher {input.teacher:q}"
        " --data {input.data:q} --like {input.like:q} > {log:q} 2>&1"


rule dbnas_student:
    input:
        teacher=teacher,
        data=prepared("train"),
        arch=student_arch,
        supernet=student_supernet,
        named=weights_named_by("dbnas.student"),
    output:
        config="<results>/dbnas/student/{variant}/seed{seed}/config.json",
        weights="<results>/dbnas/student/{variant}/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/dbnas/student/{variant}/seed{seed}/process.json",
        scheduler="<results>/dbnas/student/{variant}/seed{seed}/scheduler_config.json",
        log="<results>/dbnas/student/{variant}/seed{seed}/log.jsonl",
        settings="<results>/dbnas/student/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/dbnas/student/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/dbnas/student/{variant}/seed{seed}.tsv"
    priority: 50
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("dbnas.student"),
        code=code_of("dbnas.student"),
    shell:
        "python -m slimgen dbnas.student --settings {params.config:q} --seed {wildcards.seed}"
        " --gpus {resources.gpu:q} --out {output:q} --teacher {input.teacher:q} --data {input.data:q}"
        " --arch {input.arch:q} --supernet {input.supernet:q} > {log:q} 2>&1"
