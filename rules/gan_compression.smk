"""GAN Compression: teachers, once-for-all supernet, search, students, export."""


rule gan_compression_teacher:
    input:
        data=translation_data("teacher", "train"),
        named=weights_named_by("gan_compression.teacher"),
    output:
        config="<results>/gan_compression/teacher/{variant}/seed{seed}/config.json",
        weights="<results>/gan_compression/teacher/{variant}/seed{seed}/model.safetensors",
        adversary="<results>/gan_compression/teacher/{variant}/seed{seed}/adversary.safetensors",
        log="<results>/gan_compression/teacher/{variant}/seed{seed}/log.jsonl",
        settings="<results>/gan_compression/teacher/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/teacher/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/teacher/{variant}/seed{seed}.tsv"
    priority: 75
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("gan_compression.teacher"),
        code=code_of("gan_compression.teacher"),
    shell:
        "python -m slimgen gan_compression.teacher --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} > {log:q} 2>&1"


rule gan_compression_mobile_teacher:
    input:
        data=translation_data("mobile_teacher", "train"),
        named=weights_named_by("gan_compression.mobile_teacher"),
    output:
        config="<results>/gan_compression/mobile_teacher/{variant}/seed{seed}/config.json",
        weights="<results>/gan_compression/mobile_teacher/{variant}/seed{seed}/model.safetensors",
        adversary="<results>/gan_compression/mobile_teacher/{variant}/seed{seed}/adversary.safetensors",
        log="<results>/gan_compression/mobile_teacher/{variant}/seed{seed}/log.jsonl",
        settings="<results>/gan_compression/mobile_teacher/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/mobile_teacher/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/mobile_teacher/{variant}/seed{seed}.tsv"
    priority: 55
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("gan_compression.mobile_teacher"),
        code=code_of("gan_compression.mobile_teacher"),
    shell:
        "python -m slimgen gan_compression.mobile_teacher --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} > {log:q} 2>&1"


rule gan_compression_pretrain:
    input:
        data=translation_data("pretrain", "train"),
        teacher=translation_origin("pretrain"),
        named=weights_named_by("gan_compression.pretrain"),
    output:
        config="<results>/gan_compression/pretrain/{variant}/seed{seed}/config.json",
        weights="<results>/gan_compression/pretrain/{variant}/seed{seed}/model.safetensors",
        adversary="<results>/gan_compression/pretrain/{variant}/seed{seed}/adversary.safetensors",
        log="<results>/gan_compression/pretrain/{variant}/seed{seed}/log.jsonl",
        settings="<results>/gan_compression/pretrain/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/pretrain/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/pretrain/{variant}/seed{seed}.tsv"
    priority: 54
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("gan_compression.pretrain"),
        code=code_of("gan_compression.pretrain"),
    shell:
        "python -m slimgen gan_compression.pretrain --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --teacher {input.teacher:q} > {log:q} 2>&1"


rule gan_compression_supernet:
    input:
        data=translation_data("supernet", "train"),
        teacher=translation_origin("supernet"),
        begin_from=supernet_beginning,
        named=weights_named_by("gan_compression.supernet"),
    output:
        config="<results>/gan_compression/supernet/{variant}/seed{seed}/config.json",
        weights="<results>/gan_compression/supernet/{variant}/seed{seed}/supernet.safetensors",
        adversary="<results>/gan_compression/supernet/{variant}/seed{seed}/adversary.safetensors",
        log="<results>/gan_compression/supernet/{variant}/seed{seed}/log.jsonl",
        settings="<results>/gan_compression/supernet/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/supernet/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/supernet/{variant}/seed{seed}.tsv"
    priority: 68
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("gan_compression.supernet"),
        code=code_of("gan_compression.supernet"),
    shell:
        "python -m slimgen gan_compression.supernet --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --teacher {input.teacher:q} --begin_from {input.begin_from:q}"
        " > {log:q} 2>&1"


rule gan_compression_search:
    input:
        data=translation_data("search", "train", "search"),
        supernet=translation_origin("search"),
        teacher=searched_teacher,
        reward_classifier=search_rewarder,
        named=weights_named_by("gan_compression.search"),
    output:
        arch="<results>/gan_compression/search/{variant}/seed{seed}/arch.json",
        candidates="<results>/gan_compression/search/{variant}/seed{seed}/candidates.csv",
        settings="<results>/gan_compression/search/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/search/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/search/{variant}/seed{seed}.tsv"
    priority: 58
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(1440),
        gpu=1,
    params:
        config=settings_of("gan_compression.search"),
        code=code_of("gan_compression.search"),
    shell:
        "python -m slimgen gan_compression.search --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --supernet {input.supernet:q} --teacher {input.teacher:q}"
        " --reward_classifier {input.reward_classifier:q} > {log:q} 2>&1"


rule gan_compression_student:
    input:
        data=translation_data("student", "train"),
        teacher=translation_origin("student"),
        supernet=finetuned_supernet,
        arch=finetuned_arch,
        named=weights_named_by("gan_compression.student"),
    output:
        config="<results>/gan_compression/student/{variant}/seed{seed}/config.json",
        weights="<results>/gan_compression/student/{variant}/seed{seed}/model.safetensors",
        adversary="<results>/gan_compression/student/{variant}/seed{seed}/adversary.safetensors",
        log="<results>/gan_compression/student/{variant}/seed{seed}/log.jsonl",
        settings="<results>/gan_compression/student/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/student/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/student/{variant}/seed{seed}.tsv"
    priority: 48
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(2880),
        gpu=1,
    params:
        config=settings_of("gan_compression.student"),
        code=code_of("gan_compression.student"),
    shell:
        "python -m slimgen gan_compression.student --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --teacher {input.teacher:q} --supernet {input.supernet:q}"
        " --arch {input.arch:q} > {log:q} 2>&1"


rule gan_compression_export:
    input:
        data=translation_data("export", "validation"),
        model=translation_origin("export"),
    output:
        onnx="<results>/gan_compression/export/{variant}/seed{seed}/generator.onnx",
        record="<results>/gan_compression/export/{variant}/seed{seed}/export.json",
        settings="<results>/gan_compression/export/{variant}/seed{seed}/settings.json",
    log:
        "<logs>/gan_compression/export/{variant}/seed{seed}.log",
    benchmark:
        "<logs>/gan_compression/export/{variant}/seed{seed}.tsv"
    priority: 12
    conda:
        "../envs/slimgen.yaml"
    threads: 1
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(240),
        gpu=1,
    params:
        config=settings_of("gan_compression.export"),
        code=code_of("gan_compression.export"),
    shell:
        "python -m slimgen gan_compression.export --settings {params.config:q} --seed {wildcards.seed}"
        " --out {output:q}"
        " --data {input.data:q} --model {input.model:q} > {log:q} 2>&1"
