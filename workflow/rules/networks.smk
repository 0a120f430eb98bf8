# The training: a job per network. One that was killed goes on from its checkpoint at the next attempt.


rule network:
    input:
        ancient(CHECKED),
        lambda wildcards: prepared(NETWORKS[wildcards.key]["cohorts"]),
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


# First those that others wait for, or these would be left over when all else is done.
WAITED_FOR = sorted({key for network in NETWORKS.values() for key in network["before"]})


use rule network as network_before_others with:
    wildcard_constraints:
        key="|".join(WAITED_FOR) or "none",
    priority: 1


ruleorder: network_before_others > network
