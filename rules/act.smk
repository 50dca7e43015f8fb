"""ACT: adversarial consistency training from scratch."""


rule act_student:
    input:
        data=prepared("train"),
        arch=act_backbone,
        equal_to=act_cost,
        named=weights_named_by("act.student"),
    output:
        config="<results>/act/student/{variant}/seed{seed}/config.json",
        weights="<results>/act/student/{variant}/seed{seed}/diffusion_pytorch_model.safetensors",
        process="<results>/act/student/{variant}/seed{seed}/process.json",
        cost="<results>/act/student/{variant}/seed{seed}/cost.json",
        log="<results>/act/student/{variant}/seed{seed}/log.jsonl",
        settings="<results>/act/student/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/act/student/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/act/student/{variant}/seed{seed}.tsv"
    priority: 20
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("act.student"),
        code=code_of("act.student"),
    shell:
        "python -m slimgen act.student --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q} --data {input.data:q} --arch {input.arch:q}"
        " --equal_to {input.equal_to:q} > {log:q} 2>&1"
