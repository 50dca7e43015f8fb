"""Denoising Student: pairs of noise and image, and the one-step student."""


rule denoising_student_pairs:
    input:
        model=pairs_teacher,
    output:
        pairs=pair_files(),
        settings="<results>/denoising_student/pairs/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/denoising_student/pairs/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/denoising_student/pairs/{variant}/seed{seed}.tsv"
    priority: 40
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(1440),
        gpu=1,
    params:
        config=settings_of("denoising_student.pairs"),
        code=code_of("denoising_student.pairs"),
    shell:
        "python -m slimgen denoising_student.pairs --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --model {input.model:q} > {log:q} 2>&1"


rule denoising_student_student:
    input:
        pairs=pair_files(),
        teacher=pairs_teacher,
        named=weights_named_by("denoising_student.student"),
    output:
        config="<results>/denoising_student/student/{variant}/seed{seed}/config.json",
        weights="<results>/denoising_student/student/{variant}/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/denoising_student/student/{variant}/seed{seed}/process.json",
        scheduler="<results>/denoising_student/student/{variant}/seed{seed}/scheduler_config.json",
        log="<results>/denoising_student/student/{variant}/seed{seed}/log.jsonl",
        interpolation="<results>/denoising_student/student/{variant}/seed{seed}/interpolation.png",
        settings="<results>/denoising_student/student/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/denoising_student/student/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/denoising_student/student/{variant}/seed{seed}.tsv"
    priority: 30
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(1440),
        gpu=1,
    params:
        config=settings_of("denoising_student.student"),
        code=code_of("denoising_student.student"),
    shell:
        "python -m slimgen denoising_student.student --settings {params.config:q} --seed {wildcards.seed}"
        " --gpus {resources.gpu:q} --out {output:q} --pairs {input.pairs:q} --teacher {input.teacher:q}"
        " > {log:q} 2>&1"
