# What comes after training: evaluate each run, gather the metrics once, execute the notebooks.


rule evaluate:
    input:
        lambda wildcards: trained(RUNS[wildcards.run]["networks"]),
        lambda wildcards: prepared(RUNS[wildcards.run]["cohorts"]),
    output:
        f"{FOLDER}/runs/{{run}}/run.json",
    log:
        f"{JOBS}/evaluate-{{run}}.log",
    conda:
        "../../environment.yml"
    threads: PLAN["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * RUNS[wildcards.run]["memory_mb"],
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=GPUS,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
        key=lambda wildcards: RUNS[wildcards.run]["key"],
    shell:
        "{params.multiseg:q} train {params.study:q} --run {params.key} --later > {log:q} 2>&1"


rule collect:
    input:
        [ancient(f"{FOLDER}/runs/{run}/run.json") for run in RUNS],
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
