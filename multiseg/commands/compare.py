"""``multiseg compare``: the statistics of anybody's results."""

from __future__ import annotations

import argparse

from multiseg_core.errors import UserError

from ..report import comparison
from ..results import results_csv
from . import studies


def run(options: argparse.Namespace) -> None:
    """Do what ``multiseg compare`` is asked for. Raises `UserError` naming the option or file at fault."""
    metrics = results_csv.read_results(options.file, options.value)
    higher = results_csv.higher_is_better(options.value)
    if options.lower_is_better or options.higher_is_better:
        higher = options.higher_is_better
    if higher is None:
        raise UserError(
            f"--value {options.value}: is more of it better, or less? Say --higher-is-better or --lower-is-better"
        )
    contrasts = []
    for text in options.contrast or []:
        a, _, b = text.partition(",")
        if not a or not b or "," in b:
            raise UserError(f"--contrast {text}: expected two models, as in --contrast ours,nnunet")
        contrasts.append((a, b))
    found = comparison.compare(metrics, options.value, higher, contrasts or None, options.margin)
    studies.warn(found.warnings)
    print(comparison.as_text(found), end="")
    if options.out:
        print(f"\nwritten: {studies.relative(comparison.write(found, options.out))}")
