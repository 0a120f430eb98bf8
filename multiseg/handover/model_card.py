"""The model card of a run: a README with YAML front matter, as model hubs read it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import jinja2
import yaml

from ..settings.preprocessing import PreprocessingParams
from .finished import Finished, version

TEMPLATES = Path(__file__).with_name("templates")


def model_card(run: Finished, use: str, **facts: object) -> str:
    """Return the text of a model card.

    The template `use`, a name in `TEMPLATES`, says what to do with the files beside the card. It is told `run`, its
    segmenter `s`, and `facts`.
    """
    s = run.segmenter
    front = {
        "license": "other",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical", "segmentation", "3d", "partially-labelled-data", *s.labels],
        "model_name": run.title,
    }
    how = PreprocessingParams(**s.preprocessing)
    sizes = how.spacing_mm if isinstance(how.spacing_mm, list | tuple) else (how.spacing_mm,)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("model_card.md.j2").render(
        run=run, s=s, use=use, how=how,
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        labels=dict(enumerate(s.labels, start=1)),
        codes={code: label for label, code in s.codes.items()},
        of=defaultdict(lambda: "unknown", run.facts),
        spacing="each image's own" if how.spacing_mm is None else " x ".join(f"{mm:g}" for mm in sizes) + " mm",
        results=list(run.results().itertuples()),
        packages={"multiseg": version("multiseg"), "torch": "unknown"}
        | run.facts.get("provenance", {}).get("packages", {}),
        **facts,
    )  # fmt: skip
    return text + "\n"
