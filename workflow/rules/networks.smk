# The training: a job per network. One that was killed goes on from its checkpoint at the next attempt.


rule network:
    input:
        ancient(f"{JOBS}/rehearsed-{KEY}"),
        lambda wildcards: trained(NETWORKS[wildcards.key]["before"]),
    output:
        touch(f"{JOBS}/trained-{{key}}"),
    log:
        f"{JOBS}/network-{{key}}.log",
    conda:
        "../../environment.yml"
    threads: PLAN["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * NETWORKS[wildcards.key]["memory_mb"],
        # the minutes are a guess: three times as many, and more with each attempt
        runtime=lambda wildcards, attempt: attempt * (10 + int(3 * NETWORKS[wildcards.key]["minutes"])),
        gpu=GPUS,
    params:
        multiseg=MULTISEG,
        study=PARAMS,
    shell:
        "{params.multiseg:q} train {params.study:q} --network {wildcards.key} > {log:q} 2>&1"
