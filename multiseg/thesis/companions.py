"""The companion studies that have claims, and their ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..study.study import Study
from . import dropout_and_phases, losses_and_dimensions, separable_convolutions, transformers_and_pretraining
from .claims import Claim, judge

CLAIMS: Mapping[str, Sequence[Claim]] = {
    module.NOTEBOOK: module.CLAIMS
    for module in (dropout_and_phases, losses_and_dimensions, transformers_and_pretraining, separable_convolutions)
}
"""Notebook -> the claims that it is about."""


def ledger(study: Study) -> pd.DataFrame:
    """Return `claims.judge` of every companion that a study has runs of, one below the other."""
    return pd.concat([judge(study, claims) for claims in CLAIMS.values()], ignore_index=True)
