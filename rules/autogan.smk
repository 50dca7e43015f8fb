"""AutoGAN: search, derived generators, transfer to a second data set."""


rule autogan_search:
    input:
        data=prepared("train"),
        reward_classifier=reward_classifier("autogan.search"),
    output:
        arch="<results>/autogan/search/{variant}/seed{seed}/arch.json",
        candidates="<results>/autogan/search/{variant}/seed{seed}/candidates.csv",
        log="<results>/autogan/search/{variant}/seed{seed}/log.jsonl",
        settings="<results>/autogan/search/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/autogan/search/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/autogan/search/{variant}/seed{seed}.tsv"
    priority: 65
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("autogan.search"),
        code=code_of("autogan.search"),
    shell:
        "python -m slimgen autogan.search --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --reward_classifier {input.reward_classifier:q}"
        " > {log:q} 2>&1"


rule autogan_student:
    input:
        data=prepared("train", "validation"),
        reward_classifier=reward_classifier("autogan.student"),
        arch=autogan_arch,
        named=weights_named_by("autogan.student"),
    output:
        config="<results>/autogan/student/{variant}/seed{seed}/config.json",
        weights="<results>/autogan/student/{variant}/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/autogan/student/{variant}/seed{seed}/process.json",
        selection="<results>/autogan/student/{variant}/seed{seed}/selection.json",
        log="<results>/autogan/student/{variant}/seed{seed}/log.jsonl",
        settings="<results>/autogan/student/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/autogan/student/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/autogan/student/{variant}/seed{seed}.tsv"
    priority: 45
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("autogan.student"),
        code=code_of("autogan.student"),
    shell:
        "python -m slimgen autogan.student --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --reward_classifier {input.reward_classifier:q}"
        " --arch {input.arch:q} > {log:q} 2>&1"


rule autogan_transfer:
    input:
        data=transfer_data,
        model=transfer_model,
        named=weights_named_by("autogan.transfer"),
    output:
        config="<results>/autogan/transfer/{variant}/seed{seed}/config.json",
        weights="<results>/autogan/transfer/{variant}/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/autogan/transfer/{variant}/seed{seed}/process.json",
        log="<results>/autogan/transfer/{variant}/seed{seed}/log.jsonl",
        settings="<results>/autogan/transfer/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/autogan/transfer/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/autogan/transfer/{variant}/seed{seed}.tsv"
    priority: 30
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("autogan.transfer"),
        code=code_of("autogan.transfer"),
    shell:
        "python -m slimgen autogan.transfer --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --model {input.model:q} > {log:q} 2>&1"
