"""Reading images: files to arrays in native orientation, with clear errors."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np

from ..utils.errors import UserError

FloatArray = np.ndarray


METAIMAGE = (".mha", ".mhd")
MINC = (".mnc", ".mnc.gz")


def read_image(path: Path) -> nib.Nifti1Image:
    """Open a NIfTI, MINC or MetaImage file as a 3-D image; trailing axes of length 1 are dropped.

    Voxels are read on demand, those of MetaImage at once. World coordinates are RAS+ in mm whatever the format.

    Raises
    ------
    UserError
        If the file is missing, unreadable, not 3-D or has a singular affine.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    name = path.name.lower()
    try:
        if name.endswith(METAIMAGE):
            image = _open_metaimage(path)
        elif name.endswith(MINC):
            image = _open_minc(path)
        else:
            image = cast(nib.Nifti1Image, nib.load(path))
    except UserError:
        raise
    except Exception:  # the libraries raise many kinds on broken headers
        raise UserError(f"{path}: not a readable image") from None
    shape = image.shape
    if len(shape) > 3 and all(n == 1 for n in shape[3:]):
        image = nib.funcs.squeeze_image(image) if len(shape) == 4 else image.slicer[..., *([0] * (len(shape) - 3))]
    if len(image.shape) != 3 or min(image.shape) < 2:
        raise UserError(f"{path}: expected a 3-D volume, got shape {shape}")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: its affine is not invertible")
    return image


def _open_minc(path: Path) -> nib.Nifti1Image:
    """Open a MINC file, whose first axis is often z; its affine says so."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        minc2 = file.read(4) == b"\x89HDF"
    if minc2 and opener is gzip.open:
        raise UserError(f"{path}: is MINC2, which cannot be read compressed; unpack it with gunzip")
    if minc2 and importlib.util.find_spec("h5py") is None:
        raise UserError(f"{path}: is MINC2, which needs the package h5py (pip install h5py), or convert it to NIfTI")
    image = cast(nib.Nifti1Image, nib.load(path))
    return nib.Nifti1Image(image.dataobj, image.affine)


def _open_metaimage(path: Path) -> nib.Nifti1Image:
    """Read a MetaImage file; its world is LPS+, so x and y change sign."""
    import SimpleITK  # slow to import, and only this format needs it

    source = SimpleITK.ReadImage(str(path))
    n = source.GetDimension()
    if n < 3 or source.GetNumberOfComponentsPerPixel() != 1:
        shape = (*source.GetSize(), *([source.GetNumberOfComponentsPerPixel()] if n >= 3 else []))
        raise UserError(f"{path}: expected a 3-D volume, got shape {shape}")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(source.GetDirection(), (n, n))[:3, :3] * source.GetSpacing()[:3]
    affine[:3, 3] = source.GetOrigin()[:3]
    volume = SimpleITK.GetArrayFromImage(source).T  # (X, Y, Z)
    if volume.dtype.itemsize == 8:  # NIfTI readers seldom take 64-bit integers
        volume = volume.astype(np.float64)
    return nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def read_volume(path: Path, image: nib.Nifti1Image | None = None, dtype: type = np.float32) -> FloatArray:
    """Read all voxels as float32 (labels better as float64), (X, Y, Z).

    Raises `UserError` if the data cannot be read, is not plain numbers, or holds NaN or infinity.
    """
    image = read_image(path) if image is None else image
    if not np.issubdtype(image.get_data_dtype(), np.number) or np.issubdtype(
        image.get_data_dtype(), np.complexfloating
    ):
        raise UserError(f"{path}: its voxels are not plain numbers ({image.get_data_dtype()})")
    try:
        volume: np.ndarray = np.asarray(image.dataobj, dtype=dtype)
    except Exception as error:  # truncated or corrupt compressed data raise many kinds
        raise UserError(
            f"{path}: its voxels cannot be read, the file may be damaged ({type(error).__name__})"
        ) from None
    if not np.isfinite(volume).all():
        raise UserError(f"{path}: holds NaN or infinite values")
    return volume


def require_same_grid(files: Mapping[str, Path], apart: Collection[str] = ()) -> dict[str, nib.Nifti1Image]:
    """Open all files of a case and check that they share shape and affine (to 1e-3 mm).

    Parameters
    ----------
    files
        Role -> path; the first is the reference.
    apart
        Roles that may have a grid of their own.

    Raises
    ------
    UserError
        Naming both files.
    """
    images = {role: read_image(path) for role, path in files.items()}
    (first_role, first), *others = images.items()
    for role, image in others:
        if role in apart:
            continue
        if image.shape != first.shape:
            raise UserError(
                f"{files[role]}: shape {image.shape} differs from that of {files[first_role].name}, {first.shape}"
            )
        if not np.allclose(image.affine, first.affine, atol=1e-3):
            raise UserError(f"{files[role]}: affine differs from that of {files[first_role].name}")
    return images
