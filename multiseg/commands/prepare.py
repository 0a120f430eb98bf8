"""``multiseg prepare``: the store, or one cohort's part of it."""

from __future__ import annotations

import argparse
import time

from multiseg_core.errors import UserError, suggest

from ..study.runs import prepare
from . import studies


def run(options: argparse.Namespace) -> None:
    """Build the store, or one cohort's part of it."""
    study = studies.checked(options, unless_stamped=options.cohort is not None)
    if options.cohort is not None and options.cohort not in study.cohorts:
        known = suggest(options.cohort, study.cohorts)
        raise UserError(f"{study.params_file}: no cohort '{options.cohort}'{known}")
    cases = study.needed_cases() if options.cohort is None else study.prepared_cases(options.cohort)
    folders = [study.store.path(case, study.cohorts[case.cohort]) for case in cases]
    missing = [folder for folder in folders if not folder.exists()]
    started = time.monotonic()
    prepare(study, cases)
    minutes = (time.monotonic() - started) / 60
    print(f"{len(missing)} cases prepared, {len(folders) - len(missing)} were there: {study.store.folder}")
    if missing:
        megabytes = sum(file.stat().st_size for folder in missing for file in folder.iterdir()) / 1e6
        print(f"{megabytes:.1f} MB written in {minutes:.1f} min, {len(missing) / minutes:.1f} cases/min")
