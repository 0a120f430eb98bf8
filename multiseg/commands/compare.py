"""``multiseg compare``: the statistics of anybody's results."""

from __future__ import annotations

import argparse
from pathlib import Path

from multiseg_core.errors import UserError

from . import studies

HELP = """

The file has a header and at least the columns model, case and dice; scenario, replicate, seed, cohort, subject and
label may be added. An empty value is a missing one: a pair of models is compared on what both have. With the columns
volume_true_ml and volume_pred_ml, an empty Dice counts as 1 where both are 0: the model rightly found nothing. Other
columns are ignored.

  model,case,dice
  ours,sub01,0.81
  ours,sub02,0.74
  nnunet,sub01,0.79
  nnunet,sub02,0.75

The subject is the unit (without that column, the case): labels, seeds and cases of a subject are averaged first.
Shown are the means of models; the difference of every pair, with 95 % intervals that hold together for all pairs (at
least six subjects), effect size d_z and Wilcoxon's p; how often each model takes each rank when subjects are drawn
again; and how many subjects would show each difference with a power of 0.8. Name the pairs that you care about
beforehand with --contrast: their intervals are narrower.

examples: multiseg compare reports/quick/metrics.csv --value jaccard --out comparison
          multiseg compare results.csv --contrast ours,nnunet --margin 0.02"""


def add_to(add: studies.Add) -> None:
    """Add the command to a parser."""
    sub = add(
        "compare", compare_command, "Compare models by a table of results: which is better, and is it more than luck?",
        HELP,
    )  # fmt: skip
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.add_argument("file", type=Path, metavar="FILE.csv", help="the results, one row per model and case (or more)")
    sub.add_argument("--value", default="dice", metavar="COLUMN", help="the column to compare (default: dice)")
    better = sub.add_mutually_exclusive_group()
    for option, higher, first in (
        ("--lower-is-better", False, "smallest mean first, as for distances"),
        ("--higher-is-better", True, "largest mean first, as for Dice"),
    ):
        text = f"rank the {first}; known for the usual measures"
        better.add_argument(option, dest="higher", action="store_const", const=higher, help=text)
    sub.add_argument(
        "--contrast", action="append", metavar="A,B", help="compare these two models only; may be given several times"
    )
    sub.add_argument(
        "--margin", type=studies.positive, metavar="VALUE",
        help="say of each pair whether the first is not worse than the second by more than this",
    )  # fmt: skip
    sub.add_argument("--out", type=Path, metavar="FOLDER", help="also write tables (CSV, LaTeX), a page and a figure")


def compare_command(options: argparse.Namespace) -> None:
    """Do what ``multiseg compare`` is asked for. Raises `UserError` naming the option or file at fault."""
    from ..report import comparison
    from ..results import results_csv

    metrics = results_csv.read_results(options.file, options.value)
    higher = results_csv.higher_is_better(options.value) if options.higher is None else options.higher
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
