"""Formats other than NIfTI, on tiny files with a known grid."""

import gzip
import importlib.util
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy.io import netcdf_file

from multiseg.data.image_files import read_image, read_volume, require_same_grid
from multiseg_core.errors import UserError
from multiseg_core.grids import voxel_sizes
from multiseg_core.labels import CodeMap
from tests.conftest import save

CODES = np.array([[[0, 1, 2, 3], [8, 9, 10, 11], [3, 2, 1, 0]], [[1] * 4, [2] * 4, [3] * 4]])  # (Z, Y, X) = (2, 3, 4)


def write_minc1(path: Path, volume: np.ndarray, start: tuple[float, ...], step: tuple[float, ...]) -> Path:
    """Write (Z, Y, X) codes as MINC1 does: stored bytes 0 to 255 stand for real values 0 to 11."""
    with netcdf_file(path, "w") as file:
        axes = ("zspace", "yspace", "xspace")
        for number, (axis, n) in enumerate(zip(axes, volume.shape, strict=True)):
            file.createDimension(axis, n)
            variable = file.createVariable(axis, "i", ())
            variable.spacing, variable.start, variable.step = b"regular__", start[number], step[number]
            variable.direction_cosines = np.eye(3)[2 - number]
        for name, value in (("image-max", 11.0), ("image-min", 0.0)):
            file.createVariable(name, "d", ("zspace",))[:] = value
        image = file.createVariable("image", "b", axes)
        image.signtype, image.valid_range = b"unsigned", np.array([0.0, 255.0])
        image[:] = np.rint(volume * 255 / 11).astype(np.uint8).view(np.int8)
    return path


@pytest.mark.parametrize("suffix", [".mnc", ".mnc.gz"])
def test_minc1(tmp_path: Path, suffix: str) -> None:
    # multiples of 11/255 only: 0 and 11 are exact, the others come back as the nearest stored value
    path = write_minc1(tmp_path / "a.mnc", np.where(CODES == 11, 11, 0), (-72, -126, -90), (1, 2, 0.5))
    if suffix == ".mnc.gz":
        path = tmp_path / "a.mnc.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.mnc").read_bytes()))
    image = read_image(path)
    assert image.shape == (2, 3, 4)
    # voxel (z, y, x) lies at x = -90 + 0.5 i, y = -126 + 2 j, z = -72 + k
    assert image.affine.tolist() == [[0, 0, 0.5, -90], [0, 2, 0, -126], [1, 0, 0, -72], [0, 0, 0, 1]]
    volume = read_volume(path, image, np.float64)
    assert np.allclose(volume, np.where(CODES == 11, 11, 0))
    assert nib.aff2axcodes(nib.as_closest_canonical(image).affine) == ("R", "A", "S")


def test_codes_of_scaled_files_need_not_be_exact() -> None:
    code_map = CodeMap.build(("csf", "gm"), {1: "csf", 2: "gm"})
    assert code_map.translate(np.array([0.0, 0.9999998, 2.0000004])).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"holds 1 values that are no codes, such as 1.01"):
        code_map.translate(np.array([1.01]))


def test_minc2_names_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.mnc").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match="a.mnc: is MINC2, which needs the package h5py .* or convert it to NIfTI"):
        read_image(tmp_path / "a.mnc")
    (tmp_path / "a.mnc.gz").write_bytes(gzip.compress(b"\x89HDF\r\n\x1a\n"))
    with pytest.raises(UserError, match="a.mnc.gz: is MINC2, which cannot be read compressed; unpack it with gunzip"):
        read_image(tmp_path / "a.mnc.gz")


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int64])
def test_metaimage(tmp_path: Path, suffix: str, dtype: type) -> None:
    source = SimpleITK.GetImageFromArray(CODES.astype(dtype))  # (Z, Y, X)
    source.SetSpacing((1, 2, 3))
    source.SetOrigin((5, 6, 7))
    source.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))  # the first axis runs along -y, the second along x (LPS)
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(source, str(path))
    image = read_image(path)
    assert image.shape == (4, 3, 2)
    # LPS: x = 5 + 2 j, y = 6 - i, z = 7 + 3 k; RAS: the first two change sign
    assert image.affine.tolist() == [[0, -2, 0, -5], [1, 0, 0, -6], [0, 0, 3, 7], [0, 0, 0, 1]]
    assert np.array_equal(read_volume(path, image), CODES.T)


def test_unreadable_files(tmp_path: Path) -> None:
    for name in ("a.mha", "a.mhd", "a.mnc", "a.mnc.gz", "a.nii.gz", "a.txt"):
        (tmp_path / name).write_text("not an image")
        with pytest.raises(UserError, match=f"{name}: not a readable image"):
            read_image(tmp_path / name)
    flat = SimpleITK.GetImageFromArray(np.zeros((4, 4), np.uint8))
    SimpleITK.WriteImage(flat, str(tmp_path / "flat.mha"))
    with pytest.raises(UserError, match=r"flat.mha: expected a 3-D volume, got shape \(4, 4\)"):
        read_image(tmp_path / "flat.mha")
    colours = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(colours, str(tmp_path / "colours.mha"))
    with pytest.raises(UserError, match=r"colours.mha: expected a 3-D volume, got shape \(4, 4, 4, 3\)"):
        read_image(tmp_path / "colours.mha")


def test_why_a_file_is_no_image(tmp_path: Path) -> None:
    good = save(tmp_path / "good.nii.gz", np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32))
    raw = good.read_bytes()
    wrong = bytearray(raw)
    wrong[-5] ^= 1  # in the checksum; every voxel is as it was
    for name, content, why in (
        ("a.nii", b"", "the file is empty"),
        ("a.nii.gz", b"", "the file is empty"),
        ("b.nii.gz", gzip.decompress(raw), "it ends in .gz but is not compressed"),
        ("b.nii", raw, "it is compressed but does not end in .gz"),
        ("c.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "it is a Git LFS pointer; fetch"),
        ("d.nii.gz", b"/annex/objects/MD5E-s1--1.nii.gz\n", "it is a git-annex pointer"),
        ("e.nii.gz", b"<!DOCTYPE html><html>", "it is a web page"),
        ("f.dcm", b"\0" * 128 + b"DICM", "it is DICOM"),
        ("g.xyz", b"text", "formats: .nii, .nii.gz"),
        ("h.nii.gz", bytes(wrong), "it is damaged and cannot be unpacked to its end: CRC check failed"),
        ("i.nii.gz", raw[:-20], "it is damaged and cannot be unpacked to its end: Compressed file ended"),
        ("j.nii", b"x" * 400, "the file may be damaged"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=re.escape(f"{name}: not a readable image ({why}")):
            read_image(path)
    with pytest.raises(UserError, match="a.nii: not a readable(?s:.*)b.nii: not a readable"):  # all at once
        require_same_grid({"T1": good, "T2": tmp_path / "a.nii", "labels": tmp_path / "b.nii"})


@pytest.mark.parametrize(("unit", "scale"), [("meter", 0.001), ("mm", 1.0), ("micron", 1000.0), ("unknown", 1.0)])
def test_units_of_the_header_are_brought_to_mm(tmp_path: Path, unit: str, scale: float) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.diag([2 * scale, 2 * scale, 3 * scale, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "x.nii.gz")
    assert voxel_sizes(read_image(tmp_path / "x.nii.gz").affine) == pytest.approx([2, 2, 3])


def test_voxels_of_an_impossible_size_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
    image.header.set_xyzt_units("meter")  # but the sizes are in mm
    nib.save(image, tmp_path / "x.nii.gz")
    with pytest.raises(UserError, match="x.nii.gz: its voxels would be 1e.03 x 1e.03 x 1e.03 mm; .* counts in meters"):
        read_image(tmp_path / "x.nii.gz")


def test_grids_that_differ_by_less_than_a_hundredth_of_a_voxel_are_one(tmp_path: Path) -> None:
    a = save(tmp_path / "a.nii.gz", np.zeros((10, 10, 10), np.float32), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 0.009
    b = save(tmp_path / "b.nii.gz", np.zeros((10, 10, 10), np.float32), shifted)
    assert len(require_same_grid({"T1": a, "T2": b})) == 2
    shifted[0, 3] = 0.02
    c = save(tmp_path / "c.nii.gz", np.zeros((10, 10, 10), np.float32), shifted)
    with pytest.raises(UserError, match="c.nii.gz: affine differs from that of a.nii.gz, its voxels lie up to 0.02 mm"):
        require_same_grid({"T1": a, "T2": c})
