"""The diffusion model that others compress."""


rule teacher_train:
    input:
        data=prepared("train"),
        named=weights_named_by("teacher.train"),
    output:
        config="<results>/teacher/train/<dataset>/seed{seed}/config.json",
        weights="<results>/teacher/train/<dataset>/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/teacher/train/<dataset>/seed{seed}/process.json",
        scheduler="<results>/teacher/train/<dataset>/seed{seed}/scheduler_config.json",
        log="<results>/teacher/train/<dataset>/seed{seed}/log.jsonl",
        settings="<results>/teacher/train/<dataset>/seed{seed}/settings.json",
    log:
        "<logs>/teacher/train/<dataset>/seed{seed}.log",
    benchmark:
        "<logs>/teacher/train/<dataset>/seed{seed}.tsv"
    priority: 80
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("teacher.train"),
        code=code_of("teacher.train"),
    shell:
        "python -m slimgen teacher.train --settings {params.config:q} --seed {wildcards.seed}"
        " --gpus {resources.gpu:q} --out {output:q} --data {input.data:q} > {log:q} 2>&1"
