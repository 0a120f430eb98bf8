# What the plan says, as `multiseg train PARAMS --list --json` wrote it.
import json
from pathlib import Path

PLAN = json.loads(Path(config["plan"]).read_text(encoding="utf-8"))
PARAMS, FOLDER, KEY, CHECKED = (PLAN[name] for name in ("params", "folder", "key", "checked"))
MULTISEG = config.get("multiseg", ".venv/bin/multiseg")
GPUS = int(config.get("gpus", PLAN["device"].startswith("cuda")))
# Logs, and an empty file for each job that is done. The products of a study are no outputs of a rule: Snakemake would delete
# those of a job that was killed, or that ended when Snakemake itself was no longer there.
JOBS = f"{FOLDER}/jobs"
COHORTS, EVALUATIONS = (
    {f"{entry['name']}-{entry['key']}": entry for entry in PLAN[kind]} for kind in ("cohorts", "evaluations")
)
NETWORKS = {network["key"]: network for network in PLAN["networks"]}


def trained(keys):
    return [ancient(f"{JOBS}/trained-{key}") for key in keys if not NETWORKS[key]["finished"]]


def prepared(names):
    return [ancient(f"{JOBS}/prepared-{each}") for each, cohort in COHORTS.items() if cohort["name"] in names]
