# What comes before training: check once, prepare the cases of each cohort.


rule check:
    output:
        CHECKED,
    log:
        f"{JOBS}/check.log",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=GPUS,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
    shell:
        "{params.multiseg:q} check {params.study:q} > {log:q} 2>&1"


rule prepare:
    input:
        ancient(CHECKED),
    output:
        touch(f"{JOBS}/prepared-{{cohort}}"),
    log:
        f"{JOBS}/prepare-{{cohort}}.log",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=lambda wildcards, attempt: attempt * (30 + 5 * COHORTS[wildcards.cohort]["cases"]),
    params:
        multiseg=MULTISEG,
        study=PARAMS,
        name=lambda wildcards: COHORTS[wildcards.cohort]["name"],
    shell:
        "{params.multiseg:q} prepare {params.study:q} --cohort {params.name:q} > {log:q} 2>&1"
