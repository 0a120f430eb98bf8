from pathlib import Path

import pytest

from multiseg.data.loading import load_cohorts
from multiseg.data.sources.table import read_manifest
from multiseg.settings.params import CohortParams
from multiseg_core.errors import UserError


def manifest(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_columns_splits_comments_and_relative_paths(tmp_path: Path) -> None:
    text = (
        "# our data\ncase, T1, FLAIR, labels, brain_mask, split\n\n"
        "a, a/t1.nii, a/fl.nii, a/seg.nii, a/mask.nii, train\nb, /x/t1.nii, b/fl.nii, b/seg.nii, ,\n"
    )
    (a, b), modalities, _ = read_manifest("c", manifest(tmp_path, text), ["wmh"])
    assert modalities == ("T1", "FLAIR")
    assert a.images["T1"] == tmp_path / "a/t1.nii" and a.brain_mask == tmp_path / "a/mask.nii" and a.split == "train"
    assert b.images["T1"] == Path("/x/t1.nii") and b.brain_mask is None and b.split is None
    assert list(b.files) == ["T1", "FLAIR", "labels"]


def test_complete_labels_are_optional_case_by_case(tmp_path: Path) -> None:
    text = "case,T1,labels,complete_labels\na,x.nii,y.nii,z.nii\nb,x.nii,y.nii,\n"
    (a, b), modalities, _ = read_manifest("c", manifest(tmp_path, text), ["wmh"])
    assert modalities == ("T1",) and a.complete_labels == tmp_path / "z.nii" and b.complete_labels is None
    assert list(a.files) == ["T1", "labels", "complete_labels"]


def test_windows_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("\ufeffcase,T1,labels\r\na,x.nii,y.nii\r\n".encode())
    cases, _, _ = read_manifest("c", tmp_path / "m.csv")
    assert [case.name for case in cases] == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m.csv: no column 'case' \(found: none\)"),
        ("case,T1\na,x\n", r"m.csv: no column 'labels' \(found: case, T1\)"),
        ("case,labels\na,x\n", "m.csv: no modality column"),
        ("case,T1,labels,mask\na,x,y,z\n", r"m.csv: column 'mask' \(did you mean 'brain_mask'\?\)"),
        ("case,T1,labels,Split\na,x,y,test\n", r"m.csv: column 'Split' \(did you mean 'split'\?\)"),
        ("case;T1;labels\na;x;y\n", "m.csv: its values must be separated by commas"),
        ('case,T1,labels\na,"x\nz",y\nb,x\n', "m.csv line 4: 2 values for 3 columns"),
        ("case,T1,labels\n", "cohort c: .*m.csv lists no case"),
        ("case,T1,labels\n# a comment\na,x\n", "m.csv line 3: 2 values for 3 columns"),
        ("case,T1,labels\na,,y\n", "m.csv line 2: no value for 'T1'"),
        ("case,T1,T2,labels\na,,,y\n", "m.csv line 2: no value for 'T1' nor for any other modality"),
        ("case,T1,labels,\na,x,y,\n", r"m.csv line 1: a column has no name \(the line ends with a comma\)"),
        ("case,T1,labels\na,x,y,\n", "m.csv line 2: 4 values for 3 columns; the line ends with a comma"),
        ("case,T1,labels,split\na,x,y,val\n", r"split 'val' is not one of .* \(did you mean 'validation'\?\)"),
        ("case,T1,labels,split\na,x,y,Training\n", r"'Training' is not one of .* \(did you mean 'train'\?\)"),
        ("case,T1,labels\na,x,y\na,z,y\n", "m.csv line 3: case 'a' appears twice"),
        (
            "case,T1,labels,split\na,x,y,tets\n",
            r"m.csv line 2: split 'tets' is not one of .* \(did you mean 'test'\?\)",
        ),
        ("case,T1,labels\n../a,x,y\n", "must not hold '/'"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_manifest("c", manifest(tmp_path, text), ["wmh"])


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cohort c: .*none.csv: no such file"):
        read_manifest("c", tmp_path / "none.csv")


def test_all_lines_that_are_wrong_are_told_but_not_thousands(tmp_path: Path) -> None:
    lines = "".join(f"c{i},x.nii\n" for i in range(2000))
    with pytest.raises(UserError) as error:
        read_manifest("c", manifest(tmp_path, "case,T1,labels\na,x.nii,y.nii,z\na,,y\n" + lines))
    told = str(error.value).split("\n")
    assert [line.split("m.csv ")[-1] for line in told[:3]] == [
        "line 2: 4 values for 3 columns", "line 3: no value for 'T1'", "line 4: 2 values for 3 columns",
    ]  # fmt: skip
    assert len(told) == 21 and told[-1].endswith("m.csv: 1982 more lines are wrong")


def test_columns_that_hold_no_images_are_no_modalities(tmp_path: Path) -> None:
    text = "case,T1,age,site,labels\na,x.nii,70,here,y.nii\nb,z.nii.gz,,,y.nii\n"
    (a, _), modalities, others = read_manifest("c", manifest(tmp_path, text), ["wmh"])
    assert modalities == ("T1",) and others == ("age", "site") and list(a.images) == ["T1"]


def test_a_case_may_lack_a_modality(tmp_path: Path) -> None:
    text = "case,T1,FLAIR,labels\na,x.nii,f.nii,y.nii\nb,z.nii,,y.nii\n"
    (a, b), modalities, _ = read_manifest("c", manifest(tmp_path, text), ["wmh"])
    assert modalities == ("T1", "FLAIR") and list(a.images) == ["T1", "FLAIR"] and list(b.images) == ["T1"]


def test_paths_follow_links_and_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``link/../x`` lies beside what the link points to, not beside the link."""
    for folder in ("here", "far/away"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    (tmp_path / "far" / "x.nii").write_text("right")
    (tmp_path / "here" / "x.nii").write_text("wrong")
    monkeypatch.setenv("HOME", str(tmp_path / "far"))
    text = "case,T1,T2,labels\na,link/../x.nii,~/x.nii,away/../x.nii\n"
    (case,), _, _ = read_manifest("c", manifest(tmp_path / "here", text))
    assert case.images["T1"].read_text() == "right" and case.images["T2"] == tmp_path / "far" / "x.nii"
    assert case.labels == tmp_path / "here" / "x.nii"  # of what is no link, detours are taken out


def test_a_code_that_may_be_background_keeps_the_labels_that_a_part_draws(tmp_path: Path) -> None:
    manifest(tmp_path, "case,T1,labels,annotates\na,x.nii,y.nii,gm;wm\nb,x.nii,y.nii,wm\n")
    params = CohortParams(source="table", manifest="m.csv", codes={1: "gm", 2: "wm", 3: ["background", "wm"]})
    cohorts, _ = load_cohorts({"c": params}, None, tmp_path, tmp_path)
    part = cohorts["c.wm"].code_map
    assert part.sets[part.position(3)] == {"background", "wm"} and part.sets[part.position(1)] == {"background", "gm"}
