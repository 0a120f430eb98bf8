"""The ledger of a study: the verdicts on what its thesis, or its companions, found."""

from __future__ import annotations

import pandas as pd

from ..study.study import Study
from . import companions, findings


def is_companion(study: Study) -> bool:
    """Whether a study is of companions of the thesis."""
    return bool(set(companions.CLAIMS) & set(study.params.notebooks))


def ledger(study: Study) -> pd.DataFrame:
    """Return the verdicts on all findings, see `thesis.findings.make_ledger` and `companions.ledger`.

    Raises `UserError` if no run is finished.
    """
    return companions.ledger(study) if is_companion(study) else findings.make_ledger(study)
