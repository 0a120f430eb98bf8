"""What a check finds in the cases of a study once their files are read: leaks, labels, codes and oddities."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multiseg_core.labels import BACKGROUND, IGNORE, is_relevant

from ..data.loading import Case, Cohort
from .study import Study

Inspected = Mapping[tuple[str, str], dict[str, Any]]
"""(cohort, case) -> what `inspect_case` returns."""


def set_name(cohort: Cohort, position: int, study: Study) -> str:
    """Return a short name of a cohort's label set: a label, ``background``, ``ignored``, or ``a|b``."""
    members = cohort.code_map.sets[position]
    if position == 0:
        return BACKGROUND  # whatever may hide in it
    if len(members) == 1 + len(study.labels):
        return f"{IGNORE}d"
    return "|".join(label for label in (BACKGROUND, *study.labels) if label in members)


def case_remarks(study: Study, inspected: Inspected) -> list[str]:
    """Tell what looks odd in single cases; of many alike, how many and the first."""
    warnings = []
    for name in study.cohorts:
        remarks = {case: facts.get("remarks", {}) for (where, case), facts in inspected.items() if where == name}
        for kind in dict.fromkeys(kind for found in remarks.values() for kind in found):
            having = [(case, found[kind]) for case, found in remarks.items() if kind in found]
            if len(having) > MOST_ALIKE:
                case, remark = having[0]
                warnings.append(f"cohort {name}, {len(having)} of {len(remarks)} cases, such as {case}: {remark}")
            else:
                warnings += [f"cohort {name}, case {case}: {remark}" for case, remark in having]
    return warnings


MOST_ALIKE = 3
"""Cases of a cohort that are told of one by one for the same oddity."""


def cases_without_inputs(study: Study) -> list[tuple[str, str]]:
    """Find cases that lack an image which a scenario needs; return cohort and text of each."""
    errors = []
    for s in study.all_scenarios:
        for case in s.cases:
            if lacking := ", ".join(m for m in s.modalities if m not in case.images):
                has = f"has no {lacking} (it has: {', '.join(case.images)})"
                errors.append((case.cohort, f"scenario {s.name}: cohort {case.cohort}, case {case.name} {has}"))
    return list(dict.fromkeys(errors))


def _twins(cases: Sequence[Case], among: Sequence[Case], inspected: Inspected) -> list[tuple[Case, Case]]:
    """Pair cases with one of `among` that shows the same subject.

    It is the same if the cohort says so, or if the cases share an image, voxel by voxel, whatever the files are called.
    Phantoms of one preset and seed are the same people at any voxel size.
    """

    def images(case: Case) -> list[object]:
        known: list[object] = [case.person] if case.subject else []
        return known if case.made_by is not None else [*known, *inspected[case.cohort, case.name]["voxels"].values()]

    seen = {image: case for case in among for image in images(case)}
    matches = [(case, next((seen[image] for image in images(case) if image in seen), None)) for case in cases]
    return [(case, twin) for case, twin in matches if twin is not None]


def shared_cases(study: Study, inspected: Inspected) -> list[str]:
    """Find test cases whose subject is also used for training, or for validation unless the scenario means to."""
    errors = []
    for s in study.all_scenarios:
        n_parts = 1 if s.tests_on_validation else 2
        used = [c for parts in s.parts.values() for part in parts[:n_parts] for c in part]
        for case, twin in _twins(s.test_cases, used, inspected):
            also = f"is also used for training, as {twin.cohort}/{twin.name}"
            errors.append(f"scenario {s.name}: test case {case.cohort}/{case.name} {also}")
    return list(dict.fromkeys(errors))


def leaks_into_validation(study: Study, inspected: Inspected) -> list[str]:
    """Find validation cases that show the subject of a training case, of their cohort or of another."""
    warnings = []
    for s in study.all_scenarios:
        train = [case for part, validation in s.parts.values() if part != validation for case in part]
        validation = [case for part, validation in s.parts.values() if part != validation for case in validation]
        for case, twin in _twins(validation, train, inspected):
            other = twin.name if twin.cohort == case.cohort else f"{twin.cohort}/{twin.name}"
            shows = f"shows the subject of training case {other}"
            warnings.append(f"cohort {case.cohort}: validation case {case.name} {shows}")
    return list(dict.fromkeys(warnings))


def parts_without_labels(study: Study, inspected: Inspected) -> list[tuple[str, str]]:
    """Find training cohorts whose training or validation cases carry no drawn label: nothing could be sampled.

    Returns cohort and text of each.
    """
    errors = []
    for name, parts in (split for scenario in study.all_scenarios for split in scenario.parts.items()):
        code_map = study.cohorts[name].code_map
        if set(code_map.annotates) <= set(study.params.cohorts[name].absent or ()):  # controls
            continue
        drawn = {str(code) for code, at in code_map.code_to_set.items() if is_relevant(code_map.sets[at])}
        for part, cases in zip(("training", "validation"), parts, strict=True):
            facts = [inspected[case.cohort, case.name] for case in cases if case.made_by is None]
            if facts and not any(drawn & f["codes"].keys() for f in facts):
                listed = ", ".join(case.name for case in cases)
                text = f"cohort {name}: none of its {part} cases carries a label ({listed}); change the split"
                errors.append((name, text))
    return list(dict.fromkeys(errors))


def labels_without_training(study: Study, inspected: Inspected) -> list[str]:
    """Find labels that a scenario trains and that no training case has."""
    warnings = []
    for s in study.scenarios.values():
        had = set(s.params.labels)  # known before
        for cohort in s.train:
            for case in s.split(cohort.name)[0]:
                if case.made_by is not None:
                    had |= set(cohort.code_map.annotates)
                for code in inspected.get((case.cohort, case.name), {}).get("codes", ()):
                    members = cohort.code_map.sets[cohort.code_map.position(int(code))]
                    had |= members if is_relevant(members) else set()
        warnings += [
            f"scenario {s.name}: no training case has the label '{label}'; its network cannot learn it"
            for label in s.labels
            if label not in had
        ]
    return warnings


def unused_codes(study: Study, inspected: Inspected) -> list[str]:
    """Find codes that the params file states and no case has; of a layout's own codes, labels that no case has."""
    warnings = []
    for name, cohort in study.cohorts.items():
        facts = [f for (where, _), f in inspected.items() if where == name]
        if not facts:
            continue
        found = {int(code) for f in facts for code in f["codes"]}
        drawn = {cohort.code_map.position(code) for code in found}
        if study.params.cohorts[name].codes is not None:
            warnings += [
                f"{study.params_file}: cohorts.{name}.codes: code {code} "
                f"({', '.join(sorted(cohort.code_map.sets[at]))}) occurs in none of its {len(facts)} cases. "
                f"Is it right? Of subjects known not to have it, say so: cohorts.{name}.absent"
                for code, at in cohort.code_map.code_to_set.items()
                if code not in (0, *found) and is_relevant(cohort.code_map.sets[at])
            ]
            continue
        warnings += [
            f"cohort {name}: label '{set_name(cohort, at, study)}' occurs in none of its {len(facts)} cases"
            for at, members in enumerate(cohort.code_map.sets)
            if is_relevant(members) and at not in drawn
        ]
    return warnings


def shared_labels(inspected: Inspected) -> list[str]:
    """Find cases with the same drawn labels, voxel by voxel."""
    seen: dict[str, tuple[str, str]] = {}
    alike: dict[str, list[str]] = {}
    for (cohort, name), facts in inspected.items():
        for value in facts.get("labels", {}).values():
            other = seen.setdefault(value, (cohort, name))
            if other != (cohort, name):
                alike.setdefault(cohort, []).append(f"case {name}: its labels are those of {'/'.join(other)}")
    for found in alike.values():
        if len(found) > MOST_ALIKE:
            found[:] = [f"{len(found)} cases such as {found[0].removeprefix('case ')}"]
    return [f"cohort {cohort}, {line}" for cohort, found in alike.items() for line in found]


def undrawable(study: Study) -> list[str]:
    """Find names that the font of the figures cannot write: they would be empty boxes there."""
    named = {
        **{f"label '{label}'": label for label in study.labels},
        **{f"cohort '{name}'": name for name in study.cohorts},
        **{f"model '{m}'": study.models[m].title for s in study.scenarios.values() for m in s.models},
    }
    foreign = {what: text for what, text in named.items() if not text.isascii()}
    if not foreign:
        return []
    from matplotlib import font_manager  # slow to import
    from matplotlib.ft2font import FT2Font

    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    known = font.get_charmap()
    return [
        f"{what} holds {', '.join(missing)}, which figures show as boxes; give it another name in Latin letters"
        for what, text in foreign.items()
        if (missing := list(dict.fromkeys(c for c in text if c != "\n" and ord(c) not in known)))
    ]


_SIDES = re.compile(r"(?<![a-z])(left|right|lh|rh|l|r)(?![a-z])", re.IGNORECASE)


def sides(study: Study, inspected: Inspected) -> list[str]:
    """Find labels that tell left from right, by name or by place, where patches are mirrored and labels are not."""
    mirrored = {
        label
        for s in study.scenarios.values()
        for model in s.models
        if study.params.training_for(study.models[model]).flip in (True, "auto")
        for label in s.labels
    }
    sides: dict[str, list[str]] = {}
    for label in (name for name in study.labels if name in mirrored):
        sides.setdefault(_SIDES.sub("", label), []).append(label)
    pairs = {tuple(found): "" for found in sides.values() if len(found) == 2}
    for name, cohort in study.cohorts.items():
        places: dict[int, list[list[float]]] = {}
        for (where, _), facts in inspected.items():
            for at, place in facts.get("places", {}).items() if where == name else ():
                places.setdefault(int(at), []).append(place)
        typical = {
            at: np.median(np.array(found), axis=0)
            for at, found in places.items()
            if len(cohort.code_map.sets[at]) == 1 and cohort.code_map.sets[at] <= mirrored
        }
        for a, b in itertools.combinations(typical, 2):
            (xa, ya, za, sa), (xb, yb, zb, sb) = typical[a], typical[b]
            if abs(xa - xb) > 2 * (sa + sb) and np.hypot(ya - yb, za - zb) < 0.5 * abs(xa - xb):
                pairs.setdefault(tuple(set_name(cohort, at, study) for at in (a, b)), "")
    return [
        f"labels {a} and {b} seem to lie left and right of each other, but training.flip mirrors patches and not their "
        f"names; say flip: {{swap: [[{a}, {b}]]}}, or flip: false"
        for a, b in pairs
    ]
