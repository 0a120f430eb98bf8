"""Reading images: files to arrays in native orientation, with clear errors."""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import locale
import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np

from multiseg_core.errors import UserError, one_line
from multiseg_core.grids import FloatArray, Grid, transformed, voxel_sizes

SITK = (".mha", ".mhd", ".nrrd", ".nhdr")
MINC = (".mnc", ".mnc.gz")
SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".mgh", ".mgz", ".par", *MINC, *SITK)
"""How files of images end, of the formats that are read."""

SAME_MM = 0.01
"""Two grids are one if no voxel lies further (mm) from its place in the other, or than a hundredth of its size."""

VOXEL_MM = (0.005, 50.0)
"""Sizes of voxels that scans may have."""

_NOT_IMAGES = {
    ".dcm": "it is DICOM; convert the series to NIfTI first, with dcm2niix for example",
    ".png": "it is a picture without a world; NIfTI is expected",
    ".jpg": "it is a picture without a world; NIfTI is expected",
    ".npy": "it is a bare array without a world; NIfTI is expected",
    ".npz": "it holds bare arrays without a world; NIfTI is expected",
    ".zip": "it is an archive; unpack it first",
    ".tar": "it is an archive; unpack it first",
}


def read_image(path: Path) -> nib.Nifti1Image:
    """Open an image file as a 3-D image; trailing axes of length 1 are dropped.

    World coordinates are RAS+ in mm whatever the format and the units of its header. Of uncompressed files, voxels are
    read on demand; compressed ones are unpacked here, to their end, so that their checksum is tested. Raises
    `UserError` if the file is missing, unreadable, not 3-D or has a singular affine or voxels of an impossible size.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        image = _open(path)
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path}: cannot be read (permission denied)") from None
    except Exception as error:  # the libraries raise many kinds on broken headers
        raise UserError(f"{path}: not a readable image ({_why_not(path, error)})") from None
    shape = image.shape
    if len(shape) > 3 and all(n == 1 for n in shape[3:]):
        image = nib.funcs.squeeze_image(image) if len(shape) == 4 else image.slicer[..., *([0] * (len(shape) - 3))]
    if len(image.shape) != 3 or min(image.shape) < 2:
        raise UserError(f"{path}: expected a 3-D volume, got shape {shape}")
    image, unit = _in_mm(image)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: its affine is not invertible")
    sizes = voxel_sizes(image.affine)
    if sizes.min() < VOXEL_MM[0] or sizes.max() > VOXEL_MM[1]:
        size = " x ".join(f"{mm:.3g}" for mm in sizes)
        says = f", which counts in {unit}" if unit else ""
        raise UserError(f"{path}: its voxels would be {size} mm; mend its header{says}")
    return image


def _open(path: Path) -> nib.Nifti1Image:
    name = path.name.lower()
    if name.endswith(SITK):
        return read_with_sitk(path)
    if name.endswith(MINC):
        return _open_minc(path)
    with _named_notes(path):
        if not name.endswith((".gz", ".mgz")):
            return cast(nib.Nifti1Image, nib.load(path))
        packed = path.read_bytes()
        if packed[:2] != b"\x1f\x8b":
            raise ValueError("not compressed")
        raw = gzip.decompress(packed)  # to the end, where the checksum is
        if not name.endswith(".nii.gz"):
            return cast(nib.Nifti1Image, nib.load(path))
        kind = next(k for k in (nib.Nifti1Image, nib.Nifti2Image) if k.header_class.may_contain_header(raw[:1024]))
        holder = nib.FileHolder(fileobj=BytesIO(raw))
        return cast(nib.Nifti1Image, kind.from_file_map({"header": holder, "image": holder}))


@contextlib.contextmanager
def _named_notes(path: Path) -> Iterator[None]:
    """Let nibabel's notes on a header, which do not say whose it is, be preceded by the file's name."""

    def name(record: logging.LogRecord) -> bool:
        record.msg, record.args = f"{path}: {record.getMessage()}", None
        return True

    nib.imageglobals.logger.addFilter(name)
    try:
        yield
    finally:
        nib.imageglobals.logger.removeFilter(name)


def _why_not(path: Path, error: Exception) -> str:
    """Guess why a file is no image."""
    with open(path, "rb") as file:
        start = file.read(64)
    name = path.name.lower()
    packed = start[:2] == b"\x1f\x8b"
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the data with git lfs pull"
    if b"/annex/objects/" in start:
        return "it is a git-annex pointer; fetch the data with datalad get or git annex get"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page; the download went wrong"
    for suffix, what in _NOT_IMAGES.items():
        if name.endswith((suffix, f"{suffix}.gz")):
            return what
    if name.endswith(".gz") != packed and not name.endswith(".mgz"):
        return "it is compressed but does not end in .gz" if packed else "it ends in .gz but is not compressed"
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return f"it is damaged and cannot be unpacked to its end: {one_line(error)[:80]}"
    return "the file may be damaged" if name.endswith(SUFFIXES) else f"formats: {', '.join(SUFFIXES)}"


def _in_mm(image: nib.Nifti1Image) -> tuple[nib.Nifti1Image, str]:
    """Bring an image whose header counts in other units to mm; return it, and the other unit's name or ''."""
    unit = ""
    with contextlib.suppress(AttributeError, KeyError):  # other formats have none; NIfTI's may hold a number too many
        unit = image.header.get_xyzt_units()[0]
    scale = {"meter": 1000.0, "micron": 0.001}.get(unit)
    if scale is None:
        return image, ""
    affine = image.affine.copy()
    affine[:3] *= scale
    return type(image)(image.dataobj, affine), f"{unit}s"


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


_LOCALE = locale.setlocale(locale.LC_CTYPE)
"""That of the program when it started; several threads read at a time."""


def read_with_sitk(path: Path, may_have_components: bool = False) -> nib.Nifti1Image:
    """Read an image that nibabel cannot read; its world is LPS+, so x and y change sign.

    Several components become a last axis. Raises `UserError` if it is no 3-D volume, unless it may have components.
    """
    import SimpleITK  # slow to import, and only these formats need it

    try:
        source = SimpleITK.ReadImage(str(path))
    finally:  # some of its readers leave the process with the locale C, in which text files are ASCII
        locale.setlocale(locale.LC_CTYPE, _LOCALE)
    n, components = source.GetDimension(), source.GetNumberOfComponentsPerPixel()
    if not may_have_components and (n < 3 or components != 1):
        shape = (*source.GetSize(), *([components] if n >= 3 else []))
        raise UserError(f"{path}: expected a 3-D volume, got shape {shape}")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(source.GetDirection(), (n, n))[:3, :3] * source.GetSpacing()[:3]
    affine[:3, 3] = source.GetOrigin()[:3]
    volume = SimpleITK.GetArrayFromImage(source).T  # (X, Y, Z); components come first
    if components > 1:
        volume = np.moveaxis(volume, 0, -1)
    if volume.dtype.itemsize == 8:  # NIfTI readers seldom take 64-bit integers
        volume = volume.astype(np.float64)
    return nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def read_volume(path: Path, image: nib.Nifti1Image | None = None, dtype: type | None = np.float32) -> np.ndarray:
    """Read all voxels, (X, Y, Z), as float32 or as another type; as the file has them for None.

    Raises `UserError` if the data cannot be read, is not plain numbers, or holds NaN or infinity.
    """
    image = read_image(path) if image is None else image
    kind = image.get_data_dtype()
    if not np.issubdtype(kind, np.number) or np.issubdtype(kind, np.complexfloating):
        raise UserError(f"{path}: its voxels are not plain numbers ({kind})")
    try:
        volume: np.ndarray = np.asarray(image.dataobj, dtype=dtype, order="C")  # which all else takes less time with
    except Exception as error:  # truncated or corrupt compressed data raise many kinds
        why = f"its voxels cannot be read, the file may be damaged ({type(error).__name__})"
        raise UserError(f"{path}: {why}") from None
    if not np.isfinite(volume).all():
        raise UserError(f"{path}: holds NaN or infinite values")
    return volume


def read_codes(path: Path, image: nib.Nifti1Image | None = None) -> np.ndarray:
    """Read labels, (X, Y, Z), as small whole numbers if the file has such, else as float64; errors of `read_volume`."""
    volume = read_volume(path, image, None)
    return volume if volume.dtype.kind in "iu" and volume.dtype.itemsize < 8 else volume.astype(np.float64)


def require_same_grid(files: Mapping[str, Path], own_grids: Collection[str] = ()) -> dict[str, nib.Nifti1Image]:
    """Open all files of a case, role -> path, and check that they share shape and affine, see `SAME_MM`.

    Those of the roles `own_grids` may have others. Raises `UserError` with a line for every file that cannot be opened;
    or else for every one on another grid than the first, saying how it differs.
    """
    images, errors = {}, []
    for role, path in files.items():
        try:
            images[role] = read_image(path)
        except UserError as error:
            errors.append(str(error))
    if not errors:
        (first_role, first), *others = images.items()
        name = files[first_role].name
        errors = [
            f"{files[role]}: {difference}; preprocessing: {{resample_to: first}} would resample it"
            for role, image in others
            if role not in own_grids and (difference := _difference(Grid.of(image), Grid.of(first), name))
        ]
    if errors:
        raise UserError("\n".join(errors))
    return images


def _difference(grid: Grid, first: Grid, name: str) -> str:
    """Say how a grid differs from another, that of a file called `name`; '' if it does not."""
    if grid.shape != first.shape:
        text = f"shape {grid.shape} differs from that of {name}, {first.shape}"
    else:
        apart = most_apart_mm(grid.affine, first.affine, first.shape)
        if apart <= max(SAME_MM, 0.01 * voxel_sizes(first.affine).min()):
            return ""
        text = f"affine differs from that of {name}, its voxels lie up to {apart:.3g} mm from theirs"
    a, b = canonical(grid), canonical(first)
    same = a.shape == b.shape and np.allclose(a.affine, b.affine, atol=SAME_MM)
    return f"{text} (only the order or direction of the axes is another)" if same else text


def most_apart_mm(affine: FloatArray, other: FloatArray, shape: tuple[int, ...]) -> float:
    """Return how far apart (mm) two affines put a voxel of an image at most."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    return float(np.linalg.norm(transformed(affine, corners) - transformed(other, corners), axis=1).max())


@functools.lru_cache(maxsize=64)
def _turns(affine: bytes) -> np.ndarray:
    return nib.io_orientation(np.frombuffer(affine).reshape(4, 4))


def canonical(grid: Grid) -> Grid:
    """Return a grid with its axes reordered and turned to be nearest to RAS+."""
    turns = _turns(grid.affine.tobytes())
    x, y, z = (grid.shape[axis] for axis in np.argsort(turns[:, 0]))
    return Grid((x, y, z), grid.affine @ nib.orientations.inv_ornt_aff(turns, grid.shape))


def turned_as(volume: np.ndarray, affine: FloatArray) -> np.ndarray:
    """Return a volume of a (4, 4) affine with its axes reordered and turned to be nearest to RAS+."""
    turns = _turns(np.asarray(affine, dtype=np.float64).tobytes())
    if np.array_equal(turns, [[0, 1], [1, 1], [2, 1]]):
        return volume
    return np.ascontiguousarray(nib.orientations.apply_orientation(volume, turns))


def like_input(volume: np.ndarray, affine: FloatArray, path: Path) -> nib.Nifti1Image:
    """Return a volume as an image that lies where an image file does, as that file says it.

    Whole numbers are stored as the smallest integers that hold them, others as float32. Of NIfTI files, qform, sform,
    their codes and the units are kept; of others, `affine` is the (4, 4) voxel to world (mm).
    """
    kinds: tuple[type[np.generic], ...] = (np.uint8, np.int16, np.int32)
    kind: type[np.generic] = np.float32
    if not np.issubdtype(volume.dtype, np.floating):
        kind = next(k for k in kinds if volume.max(initial=0) <= np.iinfo(k).max)  # type: ignore[type-var]
    volume = volume.astype(kind)
    source = nib.load(path) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if not isinstance(source, nib.Nifti1Image):
        image = nib.Nifti1Image(volume, affine)
        image.header.set_xyzt_units("mm")
        return image
    header = source.header.copy()
    header.set_data_dtype(kind)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    return type(source)(volume, source.affine, header)  # its own affine: the header stays as it is
