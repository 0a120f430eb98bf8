"""`load_model`, and what `multiseg predict` writes beside a segmentation, of one case and of many."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import multiseg
from multiseg import load_model
from multiseg.commands import cli
from multiseg.data.cohorts import Case
from multiseg.handover import sidecars
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from tests.conftest import save


def data(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def run_of(study: Study, model: str) -> str:
    return str(study.find_run(f"both/{model}/0").folder)


def case_of(study: Study) -> Case:
    return study.cohorts["anatomy"].cases[3]


def given(case: Case) -> list[str]:
    return [word for m in ("T1", "FLAIR") for word in ("--image", f"{m}={case.images[m]}")]


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, multiseg; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert multiseg.__all__ == ["Model", "load_model"]
    with pytest.raises(AttributeError, match="no attribute 'load_modell'"):
        multiseg.load_modell  # noqa: B018


def test_load_model_gives_what_the_command_writes(toy_runs: Study, tmp_path: Path) -> None:
    run, case = run_of(toy_runs, "multi_unet"), case_of(toy_runs)
    assert cli.main(["predict", run, *given(case), "-o", str(tmp_path / "a.nii.gz")]) == 0
    model = load_model(run)
    assert model.labels == ("csf", "gm", "wm", "wmh") and model.modalities == ("T1", "FLAIR") and model.codes == {}
    found = model.segment({m: str(path) for m, path in case.images.items()})
    assert np.array_equal(np.asarray(found.dataobj), data(tmp_path / "a.nii.gz")) and found.get_data_dtype() == np.uint8
    assert np.asarray(found.dataobj).any()
    both = load_model([run, run]).segment(case.images)
    assert (np.asarray(both.dataobj) == np.asarray(found.dataobj)).mean() > 0.999


def test_load_model_names_what_is_wrong(toy_runs: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model; is the run finished"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="a folder of a run at least"):
        load_model([])
    model = load_model(run_of(toy_runs, "sigmoid"))
    with pytest.raises(UserError, match=r"^FLAIR is missing \(the run needs T1, FLAIR\)$"):
        model.segment({"T1": "a.nii.gz"})
    with pytest.raises(UserError, match=r"^T2: the run has no such modality \(it needs T1, FLAIR\)$"):
        model.segment({"T1": "a.nii.gz", "FLAIR": "b.nii.gz", "T2": "c.nii.gz"})
    with pytest.raises(UserError, match="number their labels differently"):
        model.segment(case_of(toy_runs).images, codes=True)


@pytest.mark.parametrize("kind", ["selective_cross_entropy", "multi_unet", "sigmoid"])
def test_probabilities(toy_runs: Study, kind: str) -> None:
    model = load_model(run_of(toy_runs, kind))
    found = model.predict(dict(case_of(toy_runs).images))
    image = found.probabilities()
    p = np.asarray(image.dataobj)
    assert p.shape == (*found.numbers.shape, 4) and p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1
    assert image.header["descrip"].item().decode() == "probability of csf; gm; wm; wmh"
    if kind == "selective_cross_entropy":  # on 1 mm the grids agree: nothing is interpolated
        background = 1 - p.sum(-1)
        winner = np.concatenate([background[..., None], p], axis=-1).argmax(-1)
        inside = p.sum(-1) > 0
        assert (winner == found.numbers)[inside].mean() > 0.999 and (found.numbers[~inside] == 0).all()
    elif kind == "sigmoid":
        for k, mask in enumerate(found.masks().values()):
            assert ((p[..., k] > 0.5) == np.asarray(mask.dataobj)).mean() > 0.999
    else:  # the lesion network's word counts for lesions
        assert np.array_equal(found.numbers == 4, p[..., 3] > 0.5)


def test_sidecars_say_what_numbers_mean(toy_runs: Study, tmp_path: Path) -> None:
    case = case_of(toy_runs)
    out = tmp_path / "seg.nii.gz"
    arguments = ["predict", run_of(toy_runs, "sigmoid"), *given(case), "-o", str(out), "--sidecars", "--probabilities"]
    assert cli.main(arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "seg.ctbl", "seg.json", "seg.nii.gz", "seg.tsv", "seg_labels.txt", "seg_probabilities.nii.gz",
    ]  # fmt: skip
    facts = json.loads((tmp_path / "seg.json").read_text())
    assert facts["LabelMap"] == {"1": "csf", "2": "gm", "3": "wm", "4": "wmh"} and facts["Manual"] is False
    assert facts["Sources"] == [str(case.images["T1"]), str(case.images["FLAIR"])]
    assert (tmp_path / "seg.tsv").read_text().splitlines()[:2] == ["index\tname\tcolor", "1\tcsf\t#2ca02c"]


def test_colour_tables() -> None:
    names = {1: "csf", 7: 'left "kidney"'}
    _, (red, green, blue) = sidecars.colours([*names.values()])
    snap = sidecars.itk_snap(names).splitlines()
    assert [line.split(None, 7) for line in snap if not line.startswith("#")] == [
        ["0", "0", "0", "0", "0", "0", "0", '"Clear Label"'],
        ["1", "44", "160", "44", "1", "1", "1", '"csf"'],
        ["7", str(red), str(green), str(blue), "1", "1", "1", "\"left 'kidney'\""],
    ]
    table = sidecars.slicer_table(names).splitlines()
    assert table[1:3] == ["0 background 0 0 0 0", "1 csf 44 160 44 255"]
    assert table[3] == f'7 left_"kidney" {red} {green} {blue} 255'
    assert len(set(sidecars.colours([f"l{k}" for k in range(20)]))) == 20


def test_many_cases_at_once(toy_runs: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, cases = run_of(toy_runs, "selective_cross_entropy"), toy_runs.cohorts["anatomy"].cases
    rows = [f"{case.name},{case.images['T1']},{case.images['FLAIR']},{40 + i}" for i, case in enumerate(cases)]
    manifest = tmp_path / "cases.csv"
    manifest.write_text("case,T1,FLAIR,age\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out"
    assert cli.main(["predict", run, "--cases", str(manifest), "-o", str(out), "--sidecars"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{out}: 4 cases, 1 csf; 2 gm; 3 wm; 4 wmh\n") and "cases/min" in text
    model = load_model(run)
    for case in cases:
        assert np.array_equal(data(out / f"{case.name}.nii.gz"), np.asarray(model.segment(case.images).dataobj))
        assert (out / f"{case.name}.ctbl").exists()
    # one that fails does not hold up the others
    manifest.write_text(
        "case,T1,FLAIR\n"
        + "\n".join(row.rpartition(",")[0] for row in rows[:2])
        + f"\nbad,none.nii,{rows[0].split(',')[2]}\n"
    )
    assert cli.main(["predict", run, "--cases", str(manifest), "-o", str(tmp_path / "again")]) == 1
    captured = capsys.readouterr()
    assert f"error: case bad: {tmp_path / 'none.nii'}: no such file" in captured.err and "2 cases" in captured.out
    assert len(list((tmp_path / "again").glob("*.nii.gz"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.nii.gz"], "x.nii.gz: with --cases, -o names a folder"),
        (["-o", "x", "--brain-mask", "m.nii"], "--brain-mask: with --cases, it is a column of the manifest"),
        (["-o", "x", "--uncertainty", "u.nii"], "--uncertainty: with --cases, it is for one case"),
        (["-o", "."], "a.nii.gz: the output would overwrite an input"),
        (["-o", "x", "--codes"], "--codes: the cohorts of .* number their labels differently"),
        (["-o", "x"], "case a: FLAIR is missing"),
    ],
)
def test_bad_arguments_of_many_cases(
    toy_runs: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.float32))
    (tmp_path / "m.csv").write_text("case,T1\na,a.nii.gz\n")
    assert cli.main(["predict", run_of(toy_runs, "sigmoid"), "--cases", "m.csv", *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_headers_of_nifti_are_kept(toy_runs: Study, tmp_path: Path) -> None:
    case = case_of(toy_runs)
    files = {}
    for m, path in case.images.items():
        image = nib.load(path)
        copy = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
        copy.set_sform(image.affine, 4)
        copy.set_qform(image.affine, 2)
        nib.save(copy, tmp_path / f"{m}.nii.gz")
        files[m] = tmp_path / f"{m}.nii.gz"
    found = load_model(run_of(toy_runs, "sigmoid")).predict(files)
    for image in (found.segmentation(), found.probabilities(), found.uncertainty(), *found.masks().values()):
        assert np.array_equal(image.affine, nib.load(files["T1"]).affine)
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (4, 2)
