"""Bad input: each of these gets one clear line from ``multiseg check``, which names what is at fault."""

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.commands import cli
from tests.conftest import save

Damage = Callable[[Path], object]
"""Spoils the toy study whose params file it is given."""

IMAGE = "anatomy1_T1.nii.gz"
LABELS = "lesion1_labels.nii.gz"


def data(file: Path, name: str) -> Path:
    return file.parent / "data" / name


def content(name: str, new: bytes) -> Damage:
    return lambda file: data(file, name).write_bytes(new)


def renamed(suffix: str, new: bytes | None = None) -> Damage:
    """Give an image another ending, in its name and in the manifest."""

    def damage(file: Path) -> None:
        path = data(file, IMAGE)
        other = path.with_name(f"other{suffix}")
        other.write_bytes(path.read_bytes() if new is None else new)
        manifest(lambda text: text.replace(IMAGE, other.name))(file)

    return damage


def voxels(name: str, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> Damage:
    def damage(file: Path) -> None:
        image = nib.load(data(file, name))
        save(data(file, name), change(np.asarray(image.dataobj)), image.affine if affine is None else affine)

    return damage


def manifest(change: Callable[[str], str], cohort: str = "anatomy") -> Damage:
    def damage(file: Path) -> None:
        path = data(file, f"{cohort}.csv")
        path.write_text(change(path.read_text()))

    return damage


def params(old: str, new: str) -> Damage:
    def damage(file: Path) -> None:
        text = file.read_text()
        assert old in text, old
        file.write_text(text.replace(old, new, 1))

    return damage


def both(*damages: Damage) -> Damage:
    return lambda file: [damage(file) for damage in damages]


def mask(make: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Give the second case of anatomy a mask made from its image."""

    def damage(file: Path) -> None:
        image = np.asarray(nib.load(data(file, IMAGE)).dataobj)
        save(data(file, "mask.nii.gz"), make(image != 0).astype(np.uint8))
        lines = data(file, "anatomy.csv").read_text().splitlines()
        marked = [line + (",brain_mask", ",", ",mask.nii.gz", ",", ",")[i] for i, line in enumerate(lines)]
        data(file, "anatomy.csv").write_text("\n".join(marked))

    return damage


def in_metres(file: Path) -> None:
    image = nib.load(data(file, IMAGE))
    image.header.set_xyzt_units("meter")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), data(file, IMAGE))


def rgb(file: Path) -> None:
    image = nib.load(data(file, IMAGE))
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.zeros(image.shape, kind), image.affine), data(file, IMAGE))


def crc(file: Path) -> None:
    spoilt = bytearray(data(file, IMAGE).read_bytes())
    spoilt[-6] ^= 255
    data(file, IMAGE).write_bytes(spoilt)


def turned(file: Path) -> None:
    image = nib.load(data(file, LABELS))
    nib.save(image.as_reoriented(np.array([[1, 1], [0, 1], [2, 1]])), data(file, LABELS))


def same_subject(file: Path) -> None:
    for kind in ("T1", "FLAIR", "labels"):
        data(file, f"anatomy3_{kind}.nii.gz").write_bytes(data(file, f"anatomy0_{kind}.nii.gz").read_bytes())


def singular(file: Path) -> None:
    image = nib.load(data(file, IMAGE))
    header = image.header.copy()
    header["srow_x"], header["srow_y"] = [1, 0, 0, 0], [1, 0, 0, 0]
    header["sform_code"], header["qform_code"] = 1, 0
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, header), data(file, IMAGE))


def hidden(file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    data(file, IMAGE).chmod(0)


PLACE = f"cohort anatomy, case anatomy1: .*{IMAGE}: "
BAD: dict[str, tuple[Damage, str]] = {
    # images
    "missing image": (lambda f: data(f, IMAGE).unlink(), f"case anatomy1: no such file: .*{IMAGE}"),
    "empty file": (content(IMAGE, b""), PLACE + "not a readable image .the file is empty"),
    "text": (content(IMAGE, b"no image"), PLACE + "not a readable image .it ends in .gz but is not compressed"),
    "LFS pointer": (content(IMAGE, b"version https://git-lfs.github.com/spec/v1"), PLACE + ".*git lfs pull"),
    "annex pointer": (content(IMAGE, b"/annex/objects/MD5E-s9--0.nii.gz"), PLACE + ".*git-annex pointer"),
    "web page": (content(IMAGE, b"<html><body>404</body></html>"), PLACE + ".*it is a web page"),
    "packed text": (content(IMAGE, gzip.compress(b"no image" * 99)), PLACE + "not a readable image .the file may be"),
    "compressed without .gz": (renamed(".nii"), "other.nii: .*it is compressed but does not end in .gz"),
    "DICOM": (renamed(".dcm", b"\0" * 128 + b"DICM"), "other.dcm: .*it is DICOM; convert the series"),
    "picture": (renamed(".png", b"\x89PNG"), "other.png: .*it is a picture without a world"),
    "arrays": (renamed(".npz", b"PK"), "other.npz: .*it holds bare arrays without a world"),
    "damaged NRRD": (renamed(".nrrd", b"NRRD0004\n"), "other.nrrd: not a readable image"),
    "cut off": (
        lambda f: content(IMAGE, data(f, IMAGE).read_bytes()[:900])(f),
        PLACE + ".*damaged and cannot be unpacked",
    ),
    "wrong checksum": (crc, PLACE + ".*damaged and cannot be unpacked to its end: CRC check failed"),
    "NaN": (voxels(IMAGE, lambda v: v * np.nan), PLACE + "holds NaN or infinite values"),
    "infinite": (voxels(IMAGE, lambda v: np.where(v == 0, np.inf, v)), PLACE + "holds NaN or infinite values"),
    "complex": (voxels(IMAGE, lambda v: v.astype(np.complex64)), PLACE + "its voxels are not plain numbers .complex64"),
    "colours": (rgb, PLACE + "its voxels are not plain numbers"),
    "four axes": (
        voxels(IMAGE, lambda v: np.stack([v, v], -1)),
        PLACE + "expected a 3-D volume, got shape .20, 22, 18, 2",
    ),
    "one slice": (voxels(IMAGE, lambda v: v[:, :, :1]), PLACE + "expected a 3-D volume, got shape .20, 22, 1"),
    "constant image": (voxels(IMAGE, lambda v: v * 0 + 7), PLACE + "the image is constant"),
    "unreadable": (hidden, PLACE + "cannot be read .permission denied"),
    # geometry
    "another shape": (
        voxels(LABELS, lambda v: v[1:]),
        f"{LABELS}: shape .19, 22, 18. differs from that of lesion1_T1.nii.gz",
    ),
    "another place": (
        voxels(LABELS, lambda v: v, np.diag([1, 1, 2, 1])),
        f"{LABELS}: affine differs .* up to 17 mm from theirs",
    ),
    "turned axes": (
        turned,
        f"{LABELS}: shape .* .only the order or direction of the axes is another.; preprocessing: .resample_to",
    ),
    "no affine": (singular, PLACE + "its affine is not invertible"),
    "metres": (
        in_metres,
        PLACE + "its voxels would be 1e.03 x 1e.03 x 1e.03 mm; mend its header, which counts in meters",
    ),
    # labels and masks
    "unknown codes": (
        voxels(LABELS, lambda v: np.where(v == 1, 5, v) + 7 * (np.arange(20) == 0)[:, None, None].astype(np.uint8)),
        f"{LABELS}: codes 5 .93 voxels., 7 .396 voxels. have no mapping .mapped: .0, 1.; 'other: ignore'",
    ),
    "interpolated labels": (
        voxels(LABELS, lambda v: v * np.float32(0.5)),
        f"{LABELS}: holds 1 values that are no codes, such as 0.5",
    ),
    "NaN labels": (voxels(LABELS, lambda v: v * np.float32(np.nan)), f"{LABELS}: holds NaN"),
    "no label anywhere": (
        both(*(voxels(f"lesion{i}_labels.nii.gz", lambda v: v * 0) for i in range(3))),
        "cohort lesion: none of its training cases carries a label .000, 001.; change the split",
    ),
    "empty mask": (mask(lambda m: m & False), "mask.nii.gz: the brain mask is empty"),
    "inverted mask": (mask(np.logical_not), PLACE + "the image is constant inside the brain; is mask.nii.gz inverted"),
    "mask of another shape": (mask(lambda m: m[:-1]), "mask.nii.gz: shape .19, 22, 18. differs"),
    "a subject in training and test": (
        same_subject,
        "test case anatomy/anatomy3 is also used for training, as anatomy/anatomy0",
    ),
    # manifests
    "no manifest": (lambda f: data(f, "anatomy.csv").unlink(), "cohort anatomy: .*anatomy.csv: no such file"),
    "semicolons": (manifest(lambda t: t.replace(",", ";")), "anatomy.csv: its values must be separated by commas"),
    "no column of cases": (manifest(lambda t: t.replace("case,", "name,")), "anatomy.csv: no column 'case'"),
    "an empty manifest": (manifest(lambda t: ""), "anatomy.csv: no column 'case' .found: none"),
    "a header alone": (manifest(lambda t: t.splitlines()[0]), "cohort anatomy: .*anatomy.csv lists no case"),
    "a case twice": (
        manifest(lambda t: t.replace("anatomy1,", "anatomy0,")),
        "anatomy.csv line 3: case 'anatomy0' appears twice",
    ),
    "no label file": (
        manifest(lambda t: t.replace("anatomy1_labels.nii.gz", "")),
        "anatomy.csv line 3: no value for 'labels'",
    ),
    "a short line": (
        manifest(lambda t: t.replace(",anatomy1_labels.nii.gz", "")),
        "anatomy.csv line 3: 4 values for 5 columns",
    ),
    "a comma too many": (
        manifest(lambda t: t.replace("split\n", "split,\n")),
        "line 1: a column has no name .the line ends with a comma",
    ),
    "a comma in a line": (
        manifest(lambda t: t.replace(",test", ",test,")),
        "line 5: 6 values for 5 columns; the line ends with a comma",
    ),
    "an unknown split": (
        manifest(lambda t: t.replace(",validation", ",val")),
        "split 'val' .* .did you mean 'validation'",
    ),
    "a column twice": (manifest(lambda t: t.replace("FLAIR", "T1", 1)), "anatomy.csv: column names must be distinct"),
    "a role by another name": (
        manifest(lambda t: t.replace("split", "Split", 1)),
        "column 'Split' .did you mean 'split'",
    ),
    "a slash in a name": (
        manifest(lambda t: t.replace("anatomy1,", "a/1,")),
        "line 3: case name 'a/1' must not hold '/'",
    ),
    "not text": (lambda f: data(f, "anatomy.csv").write_bytes(b"\xff\xfe\0c"), "anatomy.csv: not a text file in UTF-8"),
    # params
    "a key that is not known": (params("steps: 4", "step: 4"), "unknown key 'training.step' .did you mean 'steps'"),
    "a key twice": (
        params("precision: float32", "precision: float32\nprecision: bf16"),
        "toy.yaml: line \\d+: .*key 'precision' appears twice",
    ),
    "no YAML": (params("precision: float32", "precision: [float32"), "toy.yaml: line \\d+: not valid YAML"),
    "a missing base": (
        params("cohorts:", "base: none.yaml\ncohorts:"),
        "toy.yaml: base: no such params file: .*none.yaml",
    ),
    "its own base": (params("cohorts:", "base: toy.yaml\ncohorts:"), "base: 'toy.yaml' starts from this file"),
    "an unknown cohort": (params("test: anatomy", "test: anatomi"), "unknown cohort 'anatomi' .did you mean 'anatomy'"),
    "an unknown model": (
        params("models: [cross_entropy", "models: [crossentropy"),
        "unknown model 'crossentropy' .did you mean",
    ),
    "an unknown modality": (
        params("modalities: [T1, FLAIR]", "modalities: [T1, T2]"),
        "cohort anatomy has no modality 'T2'",
    ),
    "an unknown label": (
        params("absent: [wmh]", "absent: [wmhh]"),
        "cohorts.anatomy.absent: unknown label 'wmhh' .did you mean 'wmh'",
    ),
    "drawn and absent": (
        params("absent: [wmh]", "absent: [csf]"),
        "'csf' is both mapped by a code and listed as absent",
    ),
    "a truth value": (params("{1: wmh}", "{1: ON}"), "got 'True' .YAML takes true, yes or on for a truth value"),
    "a text for a number": (params("steps: 4", "steps: many"), "training.steps: expected a whole number, got 'many'"),
    "a number below 0": (params("steps: 4", "steps: -4"), "training.steps: must be above 0, got -4"),
    "percentiles turned": (
        params("spacing_mm: 1}", "spacing_mm: 1, clip_percentiles: [99, 1]}"),
        "must be two percentiles, low and high",
    ),
    "a pair of one": (params("steps: 4", "steps: 4\n  flip: {swap: [[csf]]}"), "training.flip.*: must be pairs"),
    "a pair of strangers": (
        params("steps: 4", "steps: 4\n  flip: {swap: [[csf, left]]}"),
        "training.flip.swap: unknown label 'left'",
    ),
    "an unknown network": (params("name: unet", "name: uned"), "toy.yaml: network.*'uned'"),
    "an argument that a network lacks": (params("levels: 2", "level: 2"), "toy.yaml: network.*level"),
    "a patch that a network cannot take": (
        params("  patch_size: [8, 8, 8]", "  patch_size: [8, 8, 7]"),
        "toy.yaml: .*patch",
    ),
    "any inputs of several networks": (
        both(
            params("precision:", "models: {x: {inputs: any, networks: per_task}}\nprecision:"),
            params("[cross_entropy,", "[x,"),
        ),
        "models.x.inputs: 'any' needs one network for all tasks",
    ),
    "an unknown device": (
        params("precision:", "device: gpu\nprecision:"),
        "device: 'gpu' is not one of auto, cpu, cuda",
    ),
    "an unknown source": (
        params("source: table", "source: tables"),
        "cohorts.anatomy.source: unknown source 'tables' .did you mean 'table'",
    ),
    "controls without a word": (
        params("codes: {1: wmh}", "codes: {}"),
        "cohorts.lesion.codes: names no code; of controls, say",
    ),
    "an unknown notebook": (
        params("scenarios:", "notebooks: [05_other]\nscenarios:"),
        "toy.yaml: no notebook '05_other'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_one_clear_line(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str], name: str) -> None:
    damage, message = BAD[name]
    file = toy_study()
    damage(file)
    assert cli.main(["check", str(file)]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("multiseg: error: ")]
    assert any(re.search(message, line) for line in told), told
    assert not any("--debug" in line or len(line) > 500 for line in told), told  # an error that nobody foresaw
    assert not (file.parent / "reports" / "toy" / "networks").exists()


def test_there_are_sixty_of_them() -> None:
    assert len(BAD) >= 60
