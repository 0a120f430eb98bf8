import dataclasses
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from multiseg.base import files
from multiseg.commands import cli, studies
from multiseg.data.target_sets import native_codes
from multiseg.study import finished_runs, runs
from multiseg.study.study import Study
from multiseg_core.inference import Segmenter
from multiseg_core.settings import InferenceParams
from tests.conftest import ROOT, RobexStandIn, ball, save


@pytest.mark.parametrize("command", ["", "init", "study", "check", "prepare", "train", "predict", "export", "compare"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0 and "usage: multiseg" in capsys.readouterr().out


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"multiseg {project['version']}\n"


def test_help_says_how_much_memory_a_prediction_may_take(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["predict", "--help"])
    assert f"cut into tiles (default: {InferenceParams().memory_gib:g})" in " ".join(capsys.readouterr().out.split())


def test_every_command_has_a_module() -> None:
    for name in yaml.safe_load((ROOT / "multiseg" / "commands" / "commands.yaml").read_text()):
        assert callable(importlib.import_module(f"multiseg.commands.{name}").run)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, multiseg.commands.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_errors_are_one_line_and_exit_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(tmp_path / "none.yaml")]) == 1
    assert capsys.readouterr().err == f"multiseg: error: {tmp_path / 'none.yaml'}: no such params file\n"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from multiseg_core.errors import UserError

    with pytest.raises(UserError):
        cli.main(["check", str(tmp_path / "none.yaml"), "--debug"])


def test_check_prints_cohorts_and_warnings(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = toy_study()
    assert cli.main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "anatomy" in out and out.endswith("no errors\n") and "warning: scenario both: label 'wmh'" in err
    (file.parent / "data" / "lesion0_T1.nii.gz").unlink()
    assert cli.main(["check", str(file)]) == 1
    assert "lesion0_T1.nii.gz" in capsys.readouterr().err


def test_prepare_then_train_one_run(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = toy_study()
    assert cli.main(["prepare", str(file)]) == 0
    # four of anatomy, and of lesion those that are not test cases
    out = capsys.readouterr().out
    assert out.startswith("7 cases prepared, 0 were there")
    folder = Study(file).store.folder
    stored = sum(path.stat().st_size for cohort in ("anatomy", "lesion") for path in folder.glob(f"{cohort}/*/*")) / 1e6
    assert re.fullmatch(rf"{stored:.1f} MB written in \d+\.\d min, \d+\.\d cases/min", out.splitlines()[1])
    assert cli.main(["prepare", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 cases prepared, 7 were there") and len(out.splitlines()) == 1
    assert cli.main(["train", str(file), "--run", "both/cross_entropy/0"]) == 0
    study = Study(file)
    folder = study.find_run("both/cross_entropy/0").folder
    assert {p.name for p in folder.iterdir()} >= {"run.json", "history.csv", "metrics.csv", "model.pt", "predictions"}
    metrics = pd.read_csv(study.folder / "metrics.csv")
    names = "scenario model replicate seed cohort subject case label grid dice"
    assert list(metrics.columns[:10]) == names.split()
    assert metrics["label"].tolist() == ["csf", "gm", "wm", "wmh"]  # these subjects are known to have no WMH
    capsys.readouterr()
    assert cli.main(["train", str(file), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines] == [str(run.folder) for run in study.runs]  # what predict takes
    assert [line.split()[1:3] for line in lines] == [
        ["both/cross_entropy/0", "finished"],
        ["both/selective_cross_entropy/0", "missing"],
    ]
    text = file.read_text()
    file.write_text(text.replace("modalities:", "notebook: 02_anatomy_whm\n    modalities:"))
    assert cli.main(["check", str(file)]) == 1
    assert "no notebook '02_anatomy_whm'" in capsys.readouterr().err
    file.write_text(text)
    assert cli.main(["train", str(file), "--run", "both/cross_entropi/0"]) == 1
    assert "did you mean 'both/cross_entropy/0'?" in capsys.readouterr().err


def test_case_names_that_look_like_numbers(toy_study: Callable[..., Path]) -> None:
    from multiseg.report import tables

    study = Study(toy_study({"test: anatomy": "test: lesion"}))
    runs.finish_runs(study)
    assert set(finished_runs.metrics(study)["case"]) == {"003"}
    table = finished_runs.metrics(study).assign(case="NA")
    files.write_table(study.folder / "x.csv", table)
    assert finished_runs.read_metrics(study.folder / "x.csv").equals(table)
    case, predictions = tables.example_predictions(study, "both")
    assert case.name == "003" and len(predictions) == 2


def test_predict_returns_to_the_grid_of_the_input(smoke: Study, tmp_path: Path) -> None:
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    case = smoke.scenario("anatomy_wmh").test_cases[0]
    # the same head, stored with other axes, an oblique affine and other voxel sizes
    images = []
    for modality in ("T1", "FLAIR"):
        image = nib.load(case.images[modality])
        volume = np.asarray(image.dataobj)[::-1].transpose(2, 0, 1)[:, ::2]
        affine = image.affine @ np.array(
            [[0, -2, 0, volume.shape[1] * 2 - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]
        )
        images.append(f"{modality}={save(tmp_path / f'{modality}.nii.gz', volume, affine)}")
    out = tmp_path / "seg.nii.gz"
    arguments = ["predict", str(run.folder), "--image", images[0], "--image", images[1], "-o", str(out)]
    assert cli.main(arguments) == 0
    segmentation, source = nib.load(out), nib.load(tmp_path / "T1.nii.gz")
    assert segmentation.shape == source.shape and np.allclose(segmentation.affine, source.affine)
    assert segmentation.get_data_dtype() == np.uint8 and np.asarray(segmentation.dataobj).max() <= 4
    assert segmentation.header["descrip"].item().decode() == "1 csf; 2 gm; 3 wm; 4 wmh"


def test_predict_on_the_case_itself_agrees_with_the_evaluation(smoke: Study, tmp_path: Path) -> None:
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    case = smoke.scenario("anatomy_wmh").test_cases[0]
    out = tmp_path / "seg.nii.gz"
    images = [word for m in ("FLAIR", "T1") for word in ("--image", f"{m}={case.images[m]}")]
    mask = ["--brain-mask", str(case.brain_mask), "--device", "cpu", "--precision", "float32"]
    assert cli.main(["predict", str(run.folder), *images, *mask, "-o", str(out)]) == 0
    ours = np.asarray(nib.load(out).dataobj)
    evaluated = finished_runs.prediction(run, case)
    # the grids have the same spacing and axes; the store is cropped to the brain
    assert np.array_equal(np.bincount(ours.ravel(), minlength=5)[1:], np.bincount(evaluated.ravel(), minlength=5)[1:])
    assert (ours > 0).any()


def test_what_predict_delivers_is_what_the_study_scores(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    """Native labels were never looked at: predictions were compared with resampled labels, on the grid of the store."""
    file = toy_study({"spacing_mm: 1": "spacing_mm: 2", "steps: 4": "steps: 40"})
    study = Study(file)
    runs.finish_runs(study)
    run = study.find_run("both/cross_entropy/0")
    case = run.test_cases[0]
    out = tmp_path / "out.nii.gz"
    images = [part for m in ("T1", "FLAIR") for part in ("--image", f"{m}={case.images[m]}")]
    assert cli.main(["predict", str(run.folder), *images, "--out", str(out), "--precision", "float32"]) == 0
    prediction, drawn = (np.asarray(nib.load(path).dataobj) for path in (out, case.labels))
    rows = finished_runs.metrics(study).query("model == 'cross_entropy'").set_index("label")
    assert set(rows["grid"]) == {"native"}
    for k, label in enumerate(("csf", "gm", "wm"), start=1):
        ours, theirs = prediction == k, drawn == k
        assert rows.loc[label, "dice"] == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
        assert rows.loc[label, "volume_true_ml"] == pytest.approx(theirs.sum() / 1000)
    # and the grid of the store, where it is asked for
    file.write_text(file.read_text() + "inference: {scored_on: store}\n")
    runs.finish_runs(Study(file))
    on_store = finished_runs.metrics(Study(file))
    assert set(on_store["grid"]) == {"store"}
    stored = study.open(case)
    volume = (stored.target == 1).sum() * stored.voxel_ml
    assert on_store["volume_true_ml"].iloc[0] == pytest.approx(volume)


def test_predict_keeps_the_header_and_writes_native_codes(
    toy_study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = toy_study({"codes: {1: wmh}": "codes: {9: wmh}"})
    data = tmp_path / "data"
    for i in range(4):
        labels = nib.load(data / f"lesion{i}_labels.nii.gz")
        save(data / f"lesion{i}_labels.nii.gz", np.asarray(labels.dataobj) * 9)
    study = Study(file)
    run = study.find_run("both/selective_cross_entropy/0")
    runs.finish_runs(study, [run])
    case = study.cohorts["anatomy"].cases[3]
    source = nib.load(case.images["T1"])
    image = nib.Nifti1Image(np.asarray(source.dataobj), source.affine)
    image.set_sform(source.affine, 4)
    image.set_qform(source.affine @ np.diag([-1.0, -1.0, 1.0, 1.0]), 1)  # the two forms need not agree
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "t1.nii.gz")
    given = ["--image", f"T1={tmp_path / 't1.nii.gz'}", "--image", f"FLAIR={case.images['FLAIR']}"]
    for extra, name in (([], "plain"), (["--codes"], "codes")):
        assert cli.main(["predict", str(run.folder), *given, "-o", str(tmp_path / f"{name}.nii.gz"), *extra]) == 0
    plain, codes = (nib.load(tmp_path / f"{name}.nii.gz") for name in ("plain", "codes"))
    for found in (plain, codes):
        assert [int(found.header[key]) for key in ("sform_code", "qform_code")] == [4, 1]
        assert np.allclose(found.get_qform(), image.get_qform()) and np.allclose(found.get_sform(), source.affine)
        assert found.header.get_xyzt_units() == ("mm", "sec") and found.get_data_dtype() == np.uint8
    assert np.array_equal(np.array([0, 1, 2, 3, 9])[np.asarray(plain.dataobj)], np.asarray(codes.dataobj))
    assert b"9 wmh" in bytes(codes.header["descrip"])
    # labels that two cohorts number alike have no code of their own
    file.write_text(file.read_text().replace("9: wmh", "1: wmh, 9: ignore"))
    study = Study(file)
    other = study.find_run("both/selective_cross_entropy/0")
    assert other.key != run.key
    assert native_codes([c.code_map for c in other.cohorts.values()], other.labels) == {}
    segmenter = dataclasses.replace(Segmenter.load(run.folder / "model.pt"), codes={})
    segmenter.save(tmp_path / "model.pt")
    assert cli.main(["predict", str(tmp_path), *given, "-o", str(tmp_path / "x.nii.gz"), "--codes"]) == 1
    assert "number their labels differently" in capsys.readouterr().err


def test_predict_finds_the_brain_where_the_run_found_it(
    toy_study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that sees FLAIR, whose brain is tighter than that of T1, on which the run found it."""
    file = toy_study({"modalities: [T1, FLAIR]": "modalities: [FLAIR]"})
    for path in (tmp_path / "data").glob("*_FLAIR.nii.gz"):
        image = nib.load(path)
        tight = ball(image.shape, tuple((n - 1) / 2 for n in image.shape), min(image.shape) / 2 - 3)
        save(path, np.where(tight, np.asarray(image.dataobj), 0).astype(np.float32))
    study = Study(file)
    run = study.find_run("both/selective_cross_entropy/0")
    runs.finish_runs(study, [run])
    case = study.cohorts["anatomy"].cases[3]
    stored = study.open(case)
    flair = ["--image", f"FLAIR={case.images['FLAIR']}"]
    out = tmp_path / "seg.nii.gz"
    assert cli.main(["predict", str(run.folder), *flair, "--image", f"T1={case.images['T1']}", "-o", str(out)]) == 0
    prediction = np.asarray(nib.load(out).dataobj)
    corner = np.rint(stored.affine[:3, 3]).astype(int)
    inside = prediction[tuple(slice(c, c + n) for c, n in zip(corner, stored.shape, strict=True))]
    assert np.array_equal(inside, finished_runs.prediction(run, case))
    assert "warning" not in capsys.readouterr().err
    assert cli.main(["predict", str(run.folder), *flair, "-o", str(out)]) == 0
    assert "warning: the run found brains on T1, which is not given; with --image T1=FILE" in capsys.readouterr().err


def test_predict_finds_the_brain_of_whole_heads_with_robex(smoke: Study, tmp_path: Path, robex: RobexStandIn) -> None:
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    case = smoke.scenario("anatomy_wmh").test_cases[0]
    images = []
    for modality in ("T1", "FLAIR"):
        image = nib.load(case.images[modality])
        brain = np.asarray(image.dataobj, np.float32)
        head = brain + brain.max() * np.random.default_rng(0).normal(0.1, 0.03, image.shape)
        images += [
            "--image",
            f"{modality}={save(tmp_path / f'{modality}.nii.gz', head.astype(np.float32), image.affine)}",
        ]
    out = tmp_path / "seg.nii.gz"
    assert cli.main(["predict", str(run.folder), *images, "-o", str(out)]) == 0
    assert nib.load(out).shape == nib.load(tmp_path / "T1.nii.gz").shape
    assert len(robex.images) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "T1=a.nii"], r"--image FLAIR=FILE is missing \(the run needs T1, FLAIR\)"),
        (["--image", "T1=a.nii", "--image", "T2=b.nii"], "--image T2: the run has no such modality"),
        (
            ["--image", "T1=a.nii", "--image", "FLAIR=b.nii", "--device", "gpu"],
            "device: 'gpu' is not a device of torch",
        ),
        (["--image", "T1=x.nii.gz", "--image", "FLAIR=b.nii"], "x.nii.gz: the output would overwrite an input"),
        (["--image", "T1"], "--image T1: expected MODALITY=FILE"),
        (["--image", "T1=a.nii", "--image", "FLAIR=b.nii"], "a.nii: no such file"),
        (["--image", "T1=a.nii", "-o", "x.png"], "x.png: the output must end in .nii or .nii.gz"),
    ],
)
def test_bad_predict_arguments(
    smoke: Study, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = smoke.find_run("anatomy_wmh/dice/0").folder
    assert cli.main(["predict", str(folder), "-o", "x.nii.gz", *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_installed_command_is_this_one() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'multiseg = "multiseg.commands.cli:entry"' in text


def test_an_interrupt_that_python_drops_comes_again(tmp_path: Path) -> None:
    """Raised in the callback of a weak reference, it is printed and forgotten, and the study went on."""
    script = tmp_path / "script.py"
    script.write_text("""
import signal, sys, time, weakref
from multiseg.commands import check, cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Thing: pass

def interrupted(_):
    signal.raise_signal(signal.SIGINT)

def work(options):
    thing = Thing()
    kept = weakref.ref(thing, interrupted)
    del thing
    time.sleep(20)
    print("went on")

check.run = work
sys.argv = ["multiseg", "check", "x.yaml"]
cli.entry()
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130 and "went on" not in done.stdout
    assert done.stderr.startswith("multiseg: interrupted") and "Traceback" not in done.stderr


def test_an_interrupted_study_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "load", interrupt)
    assert cli.main(["study", "params/my own.yaml"]) == 130
    assert capsys.readouterr().err == (
        "multiseg: interrupted; finished work is kept. To go on: make study PARAMS='params/my own.yaml'\n"
    )
    monkeypatch.setattr(sys, "argv", ["multiseg", "prepare", "params/quick.yaml"])
    assert cli.main(sys.argv[1:]) == 130
    assert capsys.readouterr().err.endswith("To go on: multiseg prepare params/quick.yaml\n")
