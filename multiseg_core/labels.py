"""Label spaces: every annotated voxel stands for a *set* of possible classes.

A cohort seldom labels everything. Its code 0 then means "none of the labels that I draw", which for a
network that must learn the labels of several cohorts is a set: background, or anything that another
cohort draws. Ordinary labels are sets of one class, coarse labels sets of several, ignored voxels the set
of all classes. Losses, samplers and metrics in this package work on such sets and need no other rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import UserError, suggest

BACKGROUND = "background"
IGNORE = "ignore"

OTHER = "other"
"""Stands in code maps for all codes that are not named."""

LabelSet = frozenset[str]

Codes = Mapping[Any, str | Sequence[str]]
"""Native code, or `OTHER` -> label, labels, `BACKGROUND` or `IGNORE`."""

MOST_SETS = 255
"""Label sets that a cohort or network may have: targets are bytes."""


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a network, in a fixed order, and the label sets that its targets may hold.

    Parameters
    ----------
    labels
        Foreground label names; class 0 is always ``background``, class ``k`` is ``labels[k - 1]``.
    sets
        Label sets beyond the single classes, by class names.

    Notes
    -----
    Row numbers count the singletons first: row ``k < C`` is the set that holds class ``k`` alone.
    """

    labels: tuple[str, ...]
    sets: tuple[LabelSet, ...] = ()
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        classes = (BACKGROUND, *self.labels)
        if len(set(classes)) != len(classes) or IGNORE in classes:
            raise UserError(f"labels must be distinct and not '{BACKGROUND}' or '{IGNORE}': {list(self.labels)}")
        object.__setattr__(self, "classes", classes)
        extra: list[LabelSet] = []
        for members in self.sets:
            self._check(members)
            if len(members) > 1 and members not in extra:
                extra.append(members)
        object.__setattr__(self, "sets", tuple(extra))
        if len(self.rows) > MOST_SETS:
            raise UserError(f"{len(self.rows)} classes and label sets are more than {MOST_SETS}")

    def _check(self, members: Iterable[str]) -> None:
        members = list(members)
        if not members:
            raise UserError("a label set must hold at least one class")
        for name in members:
            if name not in self.classes:
                raise UserError(f"unknown label '{name}'{suggest(name, self.classes)}")

    @property
    def n_classes(self) -> int:
        """Number of classes C, background included."""
        return len(self.classes)

    @property
    def rows(self) -> tuple[LabelSet, ...]:
        """All R label sets in row order: the C singletons, then the others."""
        return tuple(frozenset([name]) for name in self.classes) + self.sets

    def membership(self) -> np.ndarray:
        """Return the boolean membership matrix, shape (R, C): does row r hold class c?"""
        return np.array([[name in members for name in self.classes] for members in self.rows], dtype=bool)

    def row(self, members: Iterable[str]) -> int:
        """Return the row number of a label set. Raises `UserError` if the space does not have it."""
        members = frozenset(members)
        self._check(members)
        try:
            return self.rows.index(members)
        except ValueError:
            raise UserError(f"the label set {sorted(members)} is not a row of this label space") from None

    def restricted(self, members: Iterable[str]) -> LabelSet:
        """Return the part of a label set that this space can express; all classes if nothing is left.

        A voxel of a label that the space does not have tells a network of this space nothing.
        """
        kept = frozenset(name for name in members if name in self.classes)
        return kept or frozenset(self.classes)

    def naive_row(self, members: Iterable[str]) -> int:
        """Return the single class that a naive model takes a label set for.

        Any set that may be background counts as background (as in the thesis, 3.2.1); a coarse label
        without background counts as its first class.
        """
        members = self.restricted(members)
        if BACKGROUND in members:
            return 0
        return min(self.classes.index(name) for name in members)

    def lookup(self, sets: Sequence[LabelSet], naive: bool = False) -> np.ndarray:
        """Return a table from positions in `sets` to row numbers of this space, shape (len(sets),), uint8.

        `naive=True` maps to the first C rows only, see `naive_row`.
        """
        if naive:
            return np.array([self.naive_row(members) for members in sets], dtype=np.uint8)
        return np.array([self.row(self.restricted(members)) for members in sets], dtype=np.uint8)

    @classmethod
    def covering(cls, labels: Sequence[str], sets: Iterable[LabelSet]) -> LabelSpace:
        """Return the space of `labels` that can express all of `sets` (restricted to its classes)."""
        bare = cls(tuple(labels))
        return cls(tuple(labels), tuple(bare.restricted(members) for members in sets))


@dataclass(frozen=True)
class CodeMap:
    """What the native codes of one cohort's label files mean.

    Parameters
    ----------
    sets
        The distinct label sets of the cohort. Position 0 is the set of its background.
    code_to_set
        Native code -> position in `sets`.
    annotates
        The labels that the cohort draws, coarse ones included.
    other
        Position in `sets` of all codes that `code_to_set` does not name; None if there must not be any.
    is_silent
        Nothing is drawn, and anything may hide in the background.
    """

    sets: tuple[LabelSet, ...]
    code_to_set: Mapping[int, int]
    annotates: tuple[str, ...]
    other: int | None = None
    is_silent: bool = False

    @classmethod
    def build(cls, labels: Sequence[str], codes: Codes, absent: Sequence[str] = ()) -> CodeMap:
        """Resolve a cohort's code map within the labels of a study.

        Parameters
        ----------
        labels
            All label names of the study.
        codes
            Native code -> label name, list of names, ``"background"`` or ``"ignore"``. Code 0 is background
            unless stated; `OTHER` stands for all codes that are not.
        absent
            Labels that the cohort's subjects are known not to have: they cannot hide in its background.

        Returns
        -------
        CodeMap
            Its background set is {background} and every label that is neither drawn nor absent.

        Raises
        ------
        UserError
            For an unknown label, an empty set, a label that is drawn and said to be absent, or more label sets than a
            byte can number.
        """
        space = LabelSpace(tuple(labels))
        named: dict[int | str, str | LabelSet] = {}
        for code, value in {0: BACKGROUND, **codes}.items():
            if value in (BACKGROUND, IGNORE):
                named[code] = value
                continue
            mapped = frozenset([value] if isinstance(value, str) else value)
            try:
                space._check(mapped)
            except UserError as error:
                raise UserError(f"code {code}: {error}") from None
            named[code] = mapped
        space._check([BACKGROUND, *absent])
        drawn = {name for members in named.values() if isinstance(members, frozenset) for name in members}
        annotates = tuple(name for name in labels if name in drawn)
        both = [name for name in absent if name in annotates]
        if both:
            raise UserError(f"label '{both[0]}' is both mapped by a code and listed as absent")
        background = frozenset({BACKGROUND}) | {n for n in labels if n not in annotates and n not in absent}
        sets: list[LabelSet] = [background]
        code_to_set: dict[int, int] = {}
        other = None
        for code, known in sorted(named.items(), key=lambda item: (item[0] == OTHER, item[0])):
            whole = background if known == BACKGROUND else frozenset(space.classes)
            members = whole if isinstance(known, str) else known
            if members not in sets:
                sets.append(members)
            if isinstance(code, int):
                code_to_set[code] = sets.index(members)
            else:
                other = sets.index(members)
        if len(sets) > MOST_SETS:
            raise UserError(f"{len(sets)} different labels and label sets are more than {MOST_SETS}")
        return cls(tuple(sets), code_to_set, annotates, other, not drawn and len(background) == len(space.classes))

    def position(self, code: int) -> int:
        """Return the position in `sets` of a native code that `translate` accepts."""
        at = self.code_to_set.get(code, self.other)
        if at is None:
            raise KeyError(code)
        return at

    def translate(self, volume: np.ndarray) -> np.ndarray:
        """Translate a volume of native codes to positions in `sets`, uint8, same shape.

        Values within 0.001 of a whole number count as that number: scaled formats such as MINC return 2.9999998.

        Raises `UserError` naming all codes that the map does not have, with the number of their voxels.
        """
        known = np.array(sorted(self.code_to_set))
        if np.issubdtype(np.asarray(volume).dtype, np.floating):
            whole = np.rint(volume)
            volume = np.where(np.abs(volume - whole) < 1e-3, whole, volume)
        # a search among the few codes, rather than sorting a volume of millions of voxels
        at = np.searchsorted(known, volume).clip(max=len(known) - 1)
        unknown = known[at] != volume
        found = np.array([self.code_to_set[int(code)] for code in known], dtype=np.uint8)[at]
        if unknown.any():
            codes, counts = np.unique(np.asarray(volume)[unknown], return_counts=True)
            if (codes != np.rint(codes)).any():
                raise UserError(
                    f"holds {len(codes)} values that are no codes, such as "
                    f"{codes[codes != np.rint(codes)][0]:.10g}; were labels interpolated?"
                )
            if self.other is None:
                listed = [
                    f"{code:.10g} ({n} {'voxel' if n == 1 else 'voxels'})"
                    for code, n in zip(codes[:20], counts[:20], strict=True)
                ]
                more = f" and {len(codes) - 20} more" if len(codes) > 20 else ""
                raise UserError(
                    f"code{'s' * (len(codes) > 1)} {', '.join(listed)}{more} {'have' if len(codes) > 1 else 'has'} no "
                    f"mapping (mapped: {known.tolist()}; 'other: ignore' would leave the rest out)"
                )
            found[unknown] = self.other
        return found


def is_relevant(members: LabelSet) -> bool:
    """Whether the sampler may aim at a label set: a label that was drawn, not background or ignore (thesis 3.4)."""
    return BACKGROUND not in members


def swapped(sets: Iterable[LabelSet], swaps: Mapping[str, str]) -> tuple[LabelSet, ...]:
    """Return label sets in which labels have changed places."""
    return tuple(frozenset(swaps.get(name, name) for name in members) for members in sets)
