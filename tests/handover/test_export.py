"""What is handed over says the same as `multiseg predict`."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from multiseg import load_model
from multiseg.commands import cli
from multiseg.handover import bundle, network_files
from multiseg.handover.bundle_steps import Evaluator, Networks, Prepare, ToNative, WholeVolume, cases, describe
from multiseg.handover.finished import Finished
from multiseg.handover.nnunet_folder import Completion
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.labels import CodeMap
from multiseg_core.networks import build_network

KINDS = ["multi_unet", "selective_cross_entropy", "any_modalities", "sigmoid", "conditioned"]

RUN = """
import sys
sys.modules["multiseg_core"] = None  # as where it is not installed
sys.path.insert(0, ".")
from monai.bundle import run, verify_net_in_out
config = dict(config_file="configs/inference.json", meta_file="configs/metadata.json")
verify_net_in_out("network_def", device="cpu", **config)
run(image=sys.argv[1:3], output=sys.argv[3], **config)
"""


def finished(study: Study, model: str) -> Finished:
    return Finished.open(study.find_run(f"both/{model}/0").folder)


def volume(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def steps(run: Finished, folder: Path, image: Any) -> np.ndarray:
    """What a bundle's steps say of a case, in this process."""
    config = bundle.inference_config(run)
    how, members = config["preprocessing_params"], config["members"]
    torch.save(run.networks.state_dict(), folder / "model.pt")
    (written,) = Evaluator(
        dataset=cases(image, None, ""),
        preprocessing=Prepare(run.segmenter.modalities, how, config["preprocessing"]["transforms"][0]["needs_all"]),
        network=Networks(members),
        inferer=WholeVolume(how, config["inferer"]["precision"], 4.0),
        postprocessing=ToNative(run.segmenter.labels, members, how, run.segmenter.clip_to_brain),
        device=torch.device("cpu"),
        checkpoint=str(folder / "model.pt"),
        output_dir=str(folder),
        output=None,
    ).run()
    return volume(written)


def test_a_bundle_runs_without_this_package(toy_runs: Study, tmp_path: Path) -> None:
    run = toy_runs.find_run("both/multi_unet/0")
    case = toy_runs.cohorts["anatomy"].cases[3]
    folder = tmp_path / "bundle"
    assert cli.main(["export", str(run.folder), "--to", "bundle", "-o", str(folder)]) == 0
    images = [str(case.images[m]) for m in ("T1", "FLAIR")]
    command = [sys.executable, "-c", RUN, *images, str(tmp_path / "seg.nii.gz")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = load_model(run.folder).segment(case.images)
    theirs = nib.load(tmp_path / "seg.nii.gz")
    assert (
        np.array_equal(np.asarray(ours.dataobj), volume(tmp_path / "seg.nii.gz"))
        and volume(tmp_path / "seg.nii.gz").any()
    )
    assert np.array_equal(ours.affine, theirs.affine) and ours.header["sform_code"] == theirs.header["sform_code"]


def test_what_a_bundle_says_of_itself(toy_runs: Study, tmp_path: Path) -> None:
    run = finished(toy_runs, "selective_cross_entropy")
    bundle.write_bundle(run, tmp_path / "b")
    metadata = json.loads((tmp_path / "b/configs/metadata.json").read_text())
    needed = "version monai_version pytorch_version numpy_version required_packages_version task description authors"
    assert set(needed.split()) | {"copyright", "network_data_format"} <= metadata.keys()
    assert set(metadata["required_packages_version"]) == {"nibabel", "pydantic", "scipy"}
    tensors = metadata["network_data_format"]
    image, pred = tensors["inputs"]["image"], tensors["outputs"]["pred"]
    asked = ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def"]
    assert set(asked) <= image.keys() and set(asked) <= pred.keys() and "modality" in image
    assert image["channel_def"] == {"0": "T1", "1": "FLAIR"} and image["spatial_shape"] == ["2*n"] * 3
    assert pred["channel_def"] == {"0": "background", "1": "csf", "2": "gm", "3": "wm", "4": "wmh"}
    assert pred["num_channels"] == 5 and "note" not in pred
    config = json.loads((tmp_path / "b/configs/inference.json").read_text())
    wanted = {"bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer", "preprocessing"}
    assert wanted | {"postprocessing", "run"} <= config.keys()
    card = (tmp_path / "b/docs/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "monai" and "csf" in front["tags"]
    dice = run.results().set_index("label")["dice"]["gm"]
    assert f"| anatomy | gm | 1 | {dice:.3f} |" in card and "csf (1), gm (2), wm (3), wmh (4)" in card
    assert max(map(len, card.splitlines())) < 400
    code = [path.read_text() for path in (tmp_path / "b/scripts").rglob("*.py")]
    assert len(code) > 15 and not any("multiseg_core import" in text or "from multiseg_core" in text for text in code)


@pytest.mark.parametrize("kind", KINDS)
def test_its_steps_say_what_predict_says(toy_runs: Study, tmp_path: Path, kind: str) -> None:
    run, case = finished(toy_runs, kind), toy_runs.cohorts["anatomy"].cases[3]
    images = [str(case.images[m]) for m in run.segmenter.modalities]
    model = load_model(run.folder)
    assert np.array_equal(steps(run, tmp_path, images), np.asarray(model.segment(case.images).dataobj))
    if kind == "any_modalities":
        alone = np.asarray(model.segment({"FLAIR": case.images["FLAIR"]}).dataobj)
        assert np.array_equal(steps(run, tmp_path, [None, str(case.images["FLAIR"])]), alone)


def test_its_steps_look_as_often_as_predict(toy_runs: Study, tmp_path: Path) -> None:
    """Mirror images were once forgotten in a bundle."""
    run = finished(toy_runs, "selective_cross_entropy")
    model, (m,) = load_model(run.folder), run.segmenter.members
    more = replace(m, mirror=tuple(range(1 + len(m.labels))), views=2, at_least=(20, 20, 20))
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 9)).astype(np.float32)
    (once,), model.segmenter.members[0] = model.segmenter.probabilities(images, m.modalities, model.compute), more
    (expected,) = model.segmenter.probabilities(images, m.modalities, model.compute)
    assert not np.allclose(once, expected, atol=1e-2)
    run.segmenter.members[0] = more
    networks = Networks(json.loads(json.dumps(describe(run.segmenter))))
    networks.load_state_dict(run.networks.state_dict())
    inferer = WholeVolume(run.segmenter.preprocessing, run.segmenter.precision, 4.0)
    assert np.allclose(inferer(torch.from_numpy(images)[None], networks)[0], expected, atol=1e-5)
    after = network_files.facts(run)["after"]
    assert after[0] == "average 2 views: view k of 0 to 1 lacks the first k / 2 of 2 x 2 x 2 planes"
    assert after[1].startswith("average with the mirror image")


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_torchscript_of_images_without_an_outside_takes_any_size(toy_runs: Study, tmp_path: Path) -> None:
    """Of four levels: what was traced had windows with a rest at the first level only."""
    run = finished(toy_runs, "selective_cross_entropy")
    run.segmenter.preprocessing = {**run.segmenter.preprocessing, "brain_extraction": "none"}
    (m,), spec = run.segmenter.members, {"name": "unet", "base_filters": 2, "levels": 4}
    run.segmenter.members[0] = replace(m, spec=spec, network=build_network(spec, 2, 1 + len(m.labels)).eval())
    network_files.write_network(run, tmp_path / "ts", "torchscript")
    loaded = torch.jit.load(tmp_path / "ts" / "model.ts")
    for size in ((16, 8, 24), (5, 8, 11), (35, 50, 37), (12, 20, 9)):
        x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            assert torch.allclose(loaded(x), run.networks(x), atol=1e-4), size
    facts = json.loads((tmp_path / "ts" / "preprocessing.json").read_text())
    assert facts["pad"]["multiple"] == [1, 1, 1] and facts["pad"]["at_least"] == list(m.at_least)
    assert "whose sizes are\nas you like" in (tmp_path / "ts" / "README.md").read_text()


def test_one_file_with_all_modalities(toy_runs: Study, tmp_path: Path) -> None:
    run, case = finished(toy_runs, "selective_cross_entropy"), toy_runs.cohorts["anatomy"].cases[3]
    both = np.stack([volume(case.images[m]) for m in ("T1", "FLAIR")], axis=-1)
    nib.save(nib.Nifti1Image(both, nib.load(case.images["T1"]).affine), tmp_path / "both.nii.gz")
    expected = np.asarray(load_model(run.folder).segment(case.images).dataobj)
    assert np.array_equal(steps(run, tmp_path, str(tmp_path / "both.nii.gz")), expected)
    with pytest.raises(UserError, match="expected 2 volumes in one 4-D file, or a list of 2 files"):
        steps(run, tmp_path, str(case.images["T1"]))
    with pytest.raises(UserError, match="every modality is needed: T1, FLAIR"):
        steps(run, tmp_path, [str(case.images["T1"]), None])
    with pytest.raises(UserError, match="1 files for 2 modalities"):
        steps(run, tmp_path, [str(case.images["T1"])])
    with pytest.raises(UserError, match="no images; give --image FILE"):
        cases(None, None, str(tmp_path / "none"))


@pytest.mark.parametrize("kind", KINDS)
def test_networks_as_one_give_the_probabilities_of_each(toy_runs: Study, kind: str) -> None:
    run = finished(toy_runs, kind)
    x = torch.randn(2, 2, 8, 6, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = run.networks(x)
    assert found.shape == (2, run.n_channels, 8, 6, 4)
    at = 0
    for m in run.segmenter.members:
        inputs = m.inputs(x[1].numpy(), ("T1", "FLAIR"))
        with torch.inference_mode():
            expected = torch.softmax(m.ready(torch.from_numpy(inputs)[None]), 1)[0]
        assert torch.allclose(found[1, at : at + len(expected)], expected, atol=1e-5)
        at += len(expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_torchscript(toy_runs: Study, tmp_path: Path, kind: str) -> None:
    run = finished(toy_runs, kind)
    network_files.write_network(run, tmp_path / "ts", "torchscript")
    loaded = torch.jit.load(tmp_path / "ts" / "model.ts")
    x = torch.randn(1, 2, 4, 8, 10, generator=torch.Generator().manual_seed(1))
    x[0, 1] = torch.nan if kind == "any_modalities" else 0
    with torch.inference_mode():
        assert torch.allclose(loaded(x), run.networks(x), atol=1e-4)
    facts = json.loads((tmp_path / "ts" / "preprocessing.json").read_text())
    assert facts["labels"] == ["csf", "gm", "wm", "wmh"] and facts["pad"]["multiple"] == [2, 2, 2]
    assert "multiples of 2 x 2 x 2" in (tmp_path / "ts" / "README.md").read_text()


def test_what_cannot_be_exported(toy_runs: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run = toy_runs.find_run("both/sigmoid/0").folder
    monkeypatch.setattr(network_files.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["export", str(run), "--to", "onnx", "-o", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err == (
        "multiseg: error: --to onnx needs the packages onnx and onnxscript (pip install)\n"
    )
    assert cli.main(["export", str(run), "--to", "bundle", "-o", str(tmp_path)]) == 1
    assert "is there already; give another folder by -o" in capsys.readouterr().err
    assert cli.main(["export", str(run), "--to", "nnunet", "-o", str(tmp_path / "x")]) == 1
    assert "--params PARAMS: needed by --to nnunet, and only by it" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path), "--to", "bundle", "-o", str(tmp_path / "x")]) == 1
    assert "no such model; is the run finished?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# -- nnU-Net ---------------------------------------------------------------------------------------------------------


def test_completion_by_hand() -> None:
    labels = ["csf", "gm", "wmh"]
    codes = {1: "wmh", 2: "ignore", 3: ["csf", "gm"]}
    code_map = CodeMap.build([*labels, "other"], codes)
    how = Completion.of(code_map.sets, labels)
    rows = {code: how.table[at].tolist() for code, at in code_map.code_to_set.items()}
    # by prediction: background, csf, gm, wmh
    assert rows[0] == [0, 0, 0, 0]  # csf and gm are drawn in this cohort, if not one by one
    assert rows[1] == [3, 3, 3, 3] and rows[2] == [4, 4, 4, 4] and rows[3] == [4, 1, 2, 4]
    assert [bool(how.drawn[at]) for at in code_map.code_to_set.values()] == [False, True, False, False]
    hidden = Completion.of(CodeMap.build(labels, {1: "wmh"}).sets, labels)
    assert hidden.table[0].tolist() == [0, 1, 2, 0]
    controls = Completion.of(CodeMap.build(labels, {}, ["wmh"]).sets, labels)
    assert controls.table[0].tolist() == [0, 1, 2, 0]
    nothing = Completion.of(CodeMap.build(labels, {}).sets, labels)
    assert nothing.table[0].tolist() == [0, 1, 2, 3]


def test_a_study_becomes_an_nnunet_folder(toy_runs: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = toy_runs.find_run("both/multi_unet/0"), tmp_path / "Dataset001_Toy"
    words = ["export", str(run.folder), "--to", "nnunet", "--params", str(toy_runs.params_file), "-o", str(out)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("6 cases of anatomy, lesion\n")
    described = json.loads((out / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "T1", "1": "FLAIR"} and described["numTraining"] == 6
    assert described["labels"] == {"background": 0, "csf": 1, "gm": 2, "wm": 3, "wmh": 4, "ignore": 5}
    files = sorted(path.name for path in (out / "labelsTr").iterdir())
    assert len(files) == 6 and len(list((out / "imagesTr").iterdir())) == 12
    (split,) = json.loads((out / "splits_final.json").read_text())
    assert split == {
        "train": ["anatomy_anatomy0", "anatomy_anatomy1", "lesion_000", "lesion_001"],
        "val": ["anatomy_anatomy2", "lesion_002"],
    }
    model = load_model(run.folder)
    for cohort, drawn in (("anatomy", (1, 2, 3)), ("lesion", (4,))):
        case = toy_runs.cohorts[cohort].cases[0]
        name = f"{cohort}_{case.name}"
        written, codes = volume(out / "labelsTr" / f"{name}.nii.gz"), volume(Path(str(case.labels)))
        predicted = np.asarray(model.segment(case.images).dataobj)
        translated = np.where(codes > 0, codes if cohort == "anatomy" else 4, 0)
        # these subjects of anatomy are known to have no wmh
        filled = np.where(np.isin(predicted, drawn), 0, predicted) if cohort == "lesion" else 0
        assert np.array_equal(written, np.where(translated > 0, translated, filled))
        for k, m in enumerate(("T1", "FLAIR")):
            assert (out / "imagesTr" / f"{name}_{k:04d}.nii.gz").read_bytes() == case.images[m].read_bytes()
    verify = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    verify.verify_dataset_integrity(str(out), 1)
    # and back: what was written is a source
    from multiseg.data.loading import load_cohorts
    from multiseg.settings.params import CohortParams

    cohorts, labels = load_cohorts(
        {"c": CohortParams(source="nnunet", folder=str(out))}, None, tmp_path, tmp_path / "w"
    )
    assert labels == ("csf", "gm", "wm", "wmh") and len(cohorts["c"].cases) == 6


def test_a_run_of_another_study_is_refused(
    toy_runs: Study, tmp_path: Path, toy_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = toy_runs.find_run("both/multi_unet/0")
    words = ["export", str(run.folder), "--to", "nnunet", "--params", str(toy_study()), "-o", str(tmp_path / "x")]
    assert cli.main(words) == 1
    assert f"no run '{run.key}'" in capsys.readouterr().err


def test_what_networks_are_made_of_is_plain(toy_runs: Study) -> None:
    for kind in KINDS:
        described = describe(finished(toy_runs, kind).segmenter)
        assert json.loads(json.dumps(described)) == described
