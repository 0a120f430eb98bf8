"""Label sets of targets that were completed, and the codes that predictions are written with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from multiseg_core.labels import BACKGROUND, CodeMap, LabelSet, is_relevant


def filled_sets(sets: Sequence[LabelSet], truth: Sequence[LabelSet]) -> tuple[LabelSet, ...]:
    """Return the label sets of drawn targets whose background was filled from complete ones, see `filled_table`.

    Those of the cohort at their places, the first without what hid in it, then what the truth adds.
    """
    found = [frozenset([BACKGROUND]), *sets[1:]]
    for members in truth:
        hidden = members & sets[0]
        if hidden and hidden not in found:
            found.append(hidden)
    return tuple(found)


def filled_table(sets: Sequence[LabelSet], truth: Sequence[LabelSet]) -> np.ndarray:
    """Return the table from positions in `sets` and in `truth` to positions in `filled_sets`, (S, T) uint8.

    What was drawn stays, whatever the truth says: raters of another protocol would have drawn it otherwise. Background
    becomes what the truth says of it, but for labels that the cohort draws: those are not there.
    """
    filled = filled_sets(sets, truth)
    table = np.repeat(np.arange(len(sets), dtype=np.uint8)[:, None], len(truth), axis=1)
    table[0] = [filled.index(members & sets[0] or frozenset([BACKGROUND])) for members in truth]
    return table


def completed_sets(sets: Sequence[LabelSet], labels: Sequence[str]) -> tuple[LabelSet, ...]:
    """Return the label sets of completed targets: those of the cohort at their places, then the labels that it lacks.

    Nothing hides in the background any more.
    """
    drawn = sets[1:]
    added = [frozenset([label]) for label in labels if frozenset([label]) not in drawn]
    return (frozenset([BACKGROUND]), *drawn, *added)


def native_codes(maps: Iterable[CodeMap], labels: Sequence[str]) -> dict[str, int]:
    """Return label -> native code, if each label has one code, the same in all cohorts, of its own; else nothing."""
    meant: dict[str, set[int]] = {label: set() for label in labels}
    for code_map in maps:
        for code, at in code_map.code_to_set.items():
            for label in code_map.sets[at] if is_relevant(code_map.sets[at]) else ():
                # a coarse label has no code that a single label could be written with
                meant.get(label, set()).update([code] if len(code_map.sets[at]) == 1 else [])
    codes = {label: min(found) for label, found in meant.items() if len(found) == 1}
    return codes if len(codes) == len(labels) == len(set(codes.values())) else {}
