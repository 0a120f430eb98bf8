"""The model card of a run: a README with YAML front matter, as model hubs read it."""

from __future__ import annotations

import yaml

from ..settings.preprocessing import PreprocessingParams
from .finished import Finished, version

CARD = """\
---
{front}
---

# {title}

Segments {labels} in images of {modalities}.{codes} {several}
Trained with the model `{model}` in the scenario `{scenario}`, replicate {replicate}, seed {seed}; run `{key}`.

## Use

{use}

## Input

Images are turned to the axes nearest to RAS (`orientation: {orientation}`), brought to voxels of {spacing},
standardised inside the brain (`z_score: {z_score}`) and set to {outside:g} outside. {brain} The result is returned to
the grid of the image.

## How good it is

{table}

Dice of 1 is perfect. Test cases come from the cohorts named; scanners, protocols and diseases that they lack were
not tried. Where a scenario tests on its validation cases, these numbers are a little too good.

## Limits

For research; not a medical device. How it does on groups of people that its cohorts lack is not known. TODO: say
where the training images come from, on which terms, and under which licence you pass on the weights.

Made with multiseg {version}, torch {torch}.
"""


def model_card(run: Finished, how_to_use: str) -> str:
    """Return the text of a model card.

    Parameters
    ----------
    run
        The run.
    how_to_use
        What to do with the files beside the card, in Markdown.
    """
    s, facts = run.segmenter, run.facts
    front = {
        "license": "other",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical", "segmentation", "3d", "partially-labelled-data", *s.labels],
        "model_name": run.title,
    }
    how = PreprocessingParams(**s.preprocessing)
    rows = [f"| {r.cohort} | {r.label} | {r.cases} | {r.dice:.3f} |" for r in run.results().itertuples()]
    packages = facts.get("provenance", {}).get("packages", {})
    codes = _listed({code: label for label, code in s.codes.items()})
    return CARD.format(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        title=run.title,
        labels=_listed(dict(enumerate(s.labels, start=1))),
        modalities=", ".join(s.modalities),
        codes=f" The label files of its cohorts call them {codes}." if codes else "",
        several=(
            f"{len(s.members)} networks, each for some of the labels; later ones paint over earlier ones."
            if len(s.members) > 1
            else "One network."
        ),
        **{key: facts.get(key, "unknown") for key in ("model", "scenario", "replicate", "seed", "key")},
        use=how_to_use.strip(),
        orientation=how.orientation,
        spacing="each image's own" if how.spacing_mm is None else f"{_numbers(how.spacing_mm)} mm",
        z_score=str(how.z_score).lower(),
        outside=how.outside_value,
        brain=f"Brains are found on {run.shows_brain}." if run.shows_brain else "The whole image counts as inside.",
        table="\n".join(["| test cohort | label | cases | mean Dice |", "|---|---|---|---|", *rows])
        if rows
        else "No test cases were evaluated.",
        version=packages.get("multiseg", version("multiseg")),
        torch=packages.get("torch", "unknown"),
    )


def _numbers(value: object) -> str:
    return " x ".join(f"{v:g}" for v in value) if isinstance(value, list | tuple) else f"{value:g}"


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{label} ({number})" for number, label in names.items())
