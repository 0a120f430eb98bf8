# The training: a job per network. Its checkpoint is no output, for Snakemake removes the outputs of a job that fails, and
# the next attempt goes on from the checkpoint.


rule network:
    input:
        ancient(f"{JOBS}/rehearsed-{KEY}"),
        lambda wildcards: trained(NETWORKS[wildcards.key]["before"]),
    output:
        f"{FOLDER}/networks/{{key}}/network.json",
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
