# What comes after training: evaluate the runs of each scenario and replicate, gather the metrics once, execute the notebooks.


rule evaluate:
    input:
        lambda wildcards: trained(EVALUATIONS[wildcards.evaluation]["networks"]),
        lambda wildcards: prepared(EVALUATIONS[wildcards.evaluation]["cohorts"]),
    output:
        touch(f"{JOBS}/evaluated-{{evaluation}}"),
    log:
        f"{JOBS}/evaluate-{{evaluation}}.log",
    conda:
        "../../environment.yml"
    threads: PLAN["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * EVALUATIONS[wildcards.evaluation]["memory_mb"],
        runtime=lambda wildcards, attempt: attempt * (30 + 10 * len(EVALUATIONS[wildcards.evaluation]["runs"])),
        gpu=GPUS,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
        runs=lambda wildcards: EVALUATIONS[wildcards.evaluation]["runs"],
    shell:
        "{params.multiseg:q} train {params.study:q} --run {params.runs} --later > {log:q} 2>&1"


rule collect:
    input:
        [ancient(f"{JOBS}/evaluated-{each}") for each, entry in EVALUATIONS.items() if not entry["finished"]],
    output:
        touch(f"{JOBS}/metrics-{KEY}"),
    log:
        f"{JOBS}/collect.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
    shell:
        "{params.multiseg:q} train {params.study:q} --collect > {log:q} 2>&1"


rule report:
    input:
        ancient(f"{JOBS}/metrics-{KEY}"),
    output:
        touch(f"{JOBS}/report-{KEY}"),
    log:
        f"{JOBS}/report.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
    shell:
        "{params.multiseg:q} study {params.study:q} --report > {log:q} 2>&1"
