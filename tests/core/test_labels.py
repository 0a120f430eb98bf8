import numpy as np
import pytest

from multiseg_core.errors import UserError
from multiseg_core.labels import CodeMap, LabelSpace, is_relevant, swapped

LABELS = ("csf", "gm", "wm", "wmh")


def s(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_background_of_a_lesion_cohort_may_be_any_anatomy() -> None:
    code_map = CodeMap.build(LABELS, {1: "wmh"})
    assert code_map.sets[0] == s("background", "csf", "gm", "wm")
    assert code_map.annotates == ("wmh",)


def test_background_of_healthy_volunteers_is_background_alone() -> None:
    code_map = CodeMap.build(LABELS, {1: "csf", 2: "gm", 3: "wm"}, absent=["wmh"])
    assert code_map.sets[0] == s("background")
    # without the statement, lesions may hide in it
    assert CodeMap.build(LABELS, {1: "csf", 2: "gm", 3: "wm"}).sets[0] == s("background", "wmh")


def test_coarse_ignored_and_merged_codes() -> None:
    labels = ("gm", "oedema", "tumour")
    code_map = CodeMap.build(labels, {1: "gm", 2: "gm", 4: ["oedema", "tumour"], 9: "ignore", 7: "background"})
    assert code_map.annotates == ("gm", "oedema", "tumour")
    meaning = {code: code_map.sets[position] for code, position in code_map.code_to_set.items()}
    assert meaning == {
        0: s("background"),
        1: s("gm"),
        2: s("gm"),
        4: s("oedema", "tumour"),
        7: s("background"),
        9: s("background", "gm", "oedema", "tumour"),
    }


def test_translate_names_an_unmapped_code() -> None:
    code_map = CodeMap.build(LABELS, {1: "wmh"})
    assert code_map.translate(np.array([[0, 1], [1, 0]])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(UserError, match=r"code 2 \(1 voxel\) has no mapping \(mapped: \[0, 1\]; 'other"):
        code_map.translate(np.array([0, 1, 2]))
    with pytest.raises(UserError, match="holds 1 values that are no codes, such as 0.5"):
        code_map.translate(np.array([0, 0.5]))


@pytest.mark.parametrize(
    ("codes", "absent", "message"),
    [
        ({1: "wmhs"}, [], r"code 1: unknown label 'wmhs' \(did you mean 'wmh'\?\)"),
        ({1: []}, [], "code 1: a label set must hold at least one class"),
        ({1: "wmh"}, ["wmh"], "label 'wmh' is both mapped by a code and listed as absent"),
        ({1: "wmh"}, ["cfs"], "unknown label 'cfs'"),
    ],
)
def test_bad_code_maps(codes: dict, absent: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CodeMap.build(LABELS, codes, absent)


def test_membership_starts_with_the_identity() -> None:
    space = LabelSpace.covering(LABELS, [s("background", "csf", "gm", "wm"), s("wmh")])
    expected = np.vstack([np.eye(5, dtype=bool), [True, True, True, True, False]])
    assert np.array_equal(space.membership(), expected)
    assert space.row(["wmh"]) == 4
    assert space.row(["background", "wm", "gm", "csf"]) == 5


def test_lookup_selective_and_naive() -> None:
    sets = CodeMap.build(LABELS, {1: "wmh"}).sets
    space = LabelSpace.covering(LABELS, sets)
    assert space.lookup(sets).tolist() == [5, 4]
    assert space.lookup(sets, naive=True).tolist() == [0, 4]


def test_restriction_to_a_smaller_space() -> None:
    # the network of one task does not know the classes of the others
    space = LabelSpace.covering(("wmh",), [s("background", "csf", "gm", "wm")])
    assert space.sets == ()
    assert space.restricted(s("background", "csf")) == s("background")
    # a voxel of a label that it does not know at all tells it nothing
    assert space.restricted(s("csf")) == s("background", "wmh")


def test_naive_row_of_a_coarse_label_is_its_first_class() -> None:
    space = LabelSpace(("oedema", "tumour"), (s("oedema", "tumour"),))
    assert space.naive_row(s("tumour", "oedema")) == 1
    assert space.naive_row(s("tumour")) == 2


def test_relevant_labels_exclude_background_and_ignore() -> None:
    assert is_relevant(s("wmh")) and is_relevant(s("oedema", "tumour"))
    assert not is_relevant(s("background")) and not is_relevant(s("background", "wmh"))


def test_label_names_must_be_distinct() -> None:
    with pytest.raises(UserError, match="labels must be distinct"):
        LabelSpace(("gm", "gm"))


def test_all_unknown_codes_are_told_at_once_or_taken_for_other() -> None:
    volume = np.array([0, 1, 7, 7, 9])
    with pytest.raises(UserError, match=r"^codes 7 \(2 voxels\), 9 \(1 voxel\) have no mapping"):
        CodeMap.build(LABELS, {1: "wmh"}).translate(volume)
    found = CodeMap.build(LABELS, {1: "wmh", "other": "ignore"})
    assert [sorted(found.sets[at]) for at in found.translate(volume)[2:]] == [sorted(("background", *LABELS))] * 3
    with pytest.raises(UserError, match=r"holds 1 values that are no codes, such as 0.5; were labels interpolated"):
        found.translate(np.array([0, 0.5, 1]))


def test_more_labels_than_a_byte_can_number_are_refused() -> None:
    names = [f"l{i}" for i in range(256)]
    with pytest.raises(UserError, match="are more than 255"):
        CodeMap.build(names, {i + 1: name for i, name in enumerate(names)})
    with pytest.raises(UserError, match="257 classes and label sets are more than 255"):
        LabelSpace(tuple(names))


def test_labels_that_change_places_in_the_mirror() -> None:
    sets = (frozenset(["background", "kidney_left"]), frozenset(["kidney_right"]), frozenset(["liver"]))
    swaps = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}
    assert swapped(sets, swaps) == (
        frozenset(["background", "kidney_right"]), frozenset(["kidney_left"]), frozenset(["liver"]),
    )  # fmt: skip
