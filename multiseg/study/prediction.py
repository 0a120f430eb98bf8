"""Finished runs at work: `load_model` and `Model.segment`, and what ``multiseg predict`` writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import torch

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.inference import Segmenter, combined, uncertainty_on_grid
from multiseg_core.resampling import reached, resample
from multiseg_core.settings import InferenceParams

from ..base.cores import available_cores
from ..base.files import located
from ..base.workers import progress_bar
from ..data.brain_masks import brain_modality
from ..data.cohorts import Case
from ..data.image_files import like_input
from ..data.prepare import Prepared, prepare
from ..settings.preprocessing import PreprocessingParams

_Result = TypeVar("_Result")


def load_model(run: str | Path | Sequence[str | Path], *, device: str = "auto", precision: str | None = None) -> Model:
    """Load a finished run, or several of one model, whose mean probabilities decide.

    Parameters
    ----------
    run
        Folder of a run, in ``reports/NAME/runs``, or several.
    device
        ``auto``, ``cpu`` or ``cuda``.
    precision
        ``auto``, ``float32`` or ``bf16``; that of the run's params file by default.

    Raises
    ------
    UserError
        If a folder holds no finished run, or the runs do not go together.

    Examples
    --------
    >>> from multiseg import load_model
    >>> model = load_model("reports/quick/runs/RUN")  # doctest: +SKIP
    >>> image = model.segment({"T1": "t1.nii.gz", "FLAIR": "flair.nii.gz"})  # doctest: +SKIP
    >>> image.to_filename("segmentation.nii.gz")  # doctest: +SKIP
    """
    folders = [run] if isinstance(run, str | Path) else list(run)
    if not folders:
        raise UserError("load_model: give a folder of a run at least")
    segmenter = combined([Segmenter.load(located(Path(), str(folder)) / "model.pt") for folder in folders])
    return Model(segmenter, Compute.resolve(device, precision or segmenter.precision))


@dataclass(frozen=True)
class Model:
    """A finished run, ready to segment: its networks, where they compute, and the memory that a prediction may take.

    A volume that needs more is cut into tiles.
    """

    segmenter: Segmenter
    compute: Compute
    memory_gib: float = InferenceParams().memory_gib

    @property
    def labels(self) -> tuple[str, ...]:
        """Its foreground labels: label k is number k + 1 of a segmentation."""
        return self.segmenter.labels

    @property
    def modalities(self) -> tuple[str, ...]:
        """The images that it sees."""
        return self.segmenter.modalities

    @property
    def codes(self) -> dict[str, int]:
        """Label -> code in the label files that it was trained on, if all of these agree; else empty."""
        return self.segmenter.codes

    def segment(
        self, images: Mapping[str, str | Path], *, brain_mask: str | Path | None = None, codes: bool = False
    ) -> nib.Nifti1Image:
        """Segment a case.

        Parameters
        ----------
        images
            Modality -> file, in any orientation and spacing.
        brain_mask
            File, nonzero inside the brain; without it, the brain is found as in training.
        codes
            Use the codes of the label files instead of 1, 2, 3 in the order of `labels`.

        Returns
        -------
        nib.Nifti1Image
            Whole numbers on the grid of the images, with the header of the first.

        Raises
        ------
        UserError
            Naming the modality or file at fault.
        """
        mask = None if brain_mask is None else located(Path(), str(brain_mask))
        return self.predict({m: located(Path(), str(path)) for m, path in images.items()}, mask).segmentation(codes)

    def require_inputs(self, modalities: Sequence[str], option: str = "") -> None:
        """Raise `UserError` for a modality that it does not know, or that is missing.

        `option` is how modalities are given, such as ``--image``, for messages.
        """
        needed = ", ".join(self.modalities)
        for modality in modalities:
            if modality not in (*self.modalities, self.segmenter.brain_from):
                raise UserError(f"{option}{modality}: the run has no such modality (it needs {needed})")
        for modality in self.modalities:
            if modality not in modalities and not all(m.can_see(list(modalities)) for m in self.segmenter.members):
                equals = "=FILE" if option else ""
                raise UserError(f"{option}{modality}{equals} is missing (the run needs {needed})")

    def predict(self, images: Mapping[str, Path], brain_mask: Path | None = None) -> Prediction:
        """Return all that it says of a case, see `segment`. Reads all files before ROBEX may take its minute."""
        self.require_inputs(list(images))
        how = PreprocessingParams(**self.segmenter.preprocessing)
        prepared = prepare(Case("", "", images, brain_mask=brain_mask), how)
        seen = list(images)
        found = self.segmenter.probabilities(prepared.images, seen, self.compute, self.memory_gib, prepared.mask)
        return Prediction(self, prepared, tuple(found), images[brain_modality(images)])

    def names(self, codes: bool = False) -> dict[int, str]:
        """Return what numbers mean in a segmentation, from 1. Raises `UserError` if there are no codes."""
        if not codes:
            return dict(enumerate(self.labels, start=1))
        if not self.codes:
            raise UserError("the cohorts of the run number their labels differently: there are no codes to write")
        return dict(sorted((code, label) for label, code in self.codes.items()))


@dataclass(frozen=True)
class Prediction:
    """What a model says of a case; images lie on the grid of the files and have the header of the file `like`.

    `found` is what each network says of its own classes, (C, X, Y, Z) float32 each, on the grid of `prepared`.
    """

    model: Model
    prepared: Prepared
    found: tuple[np.ndarray, ...]
    like: Path

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """(X, Y, Z) uint8: 0 for background, k for label k."""
        return self.model.segmenter.on_grid(self.found, self.prepared.grid, self.prepared.native_grid)

    def segmentation(self, codes: bool = False) -> nib.Nifti1Image:
        """Return the segmentation, in whole numbers that `Model.names` explains."""
        names = self.model.names(codes)
        volume = self.numbers
        if codes:
            volume = np.array([0, *(self.model.codes[label] for label in self.model.labels)])[volume]
        return self._image(volume, "; ".join(f"{code} {label}" for code, label in names.items()))

    def masks(self) -> dict[str, nib.Nifti1Image]:
        """Return label -> image of 0 and 1; those of sigmoid heads may overlap."""
        found = self.model.segmenter.masks_on_grid(self.found, self.prepared.grid, self.prepared.native_grid)
        return {label: self._image(mask.astype(np.uint8), f"1 {label}") for label, mask in found.items()}

    def uncertainty(self) -> nib.Nifti1Image:
        """Return how uncertain it is, 0 to 1, see `multiseg_core.inference.uncertainty`."""
        found = uncertainty_on_grid(self.found, self.prepared.grid, self.prepared.native_grid)
        return self._image(found, "entropy, 0 to 1")

    def probabilities(self) -> nib.Nifti1Image:
        """Return the probability of each label, a 4-D image with a volume per label in the order of `Model.labels`.

        Of several networks, that counts which wins where they disagree. Interpolated linearly; 0 where nothing was
        predicted. Of sigmoid heads, the probability of the label against the background alone.
        """
        source, native, labels = self.prepared.grid, self.prepared.native_grid, self.model.labels
        window = reached(source, native)
        volumes = np.zeros((*native.shape, len(labels)), dtype=np.float32)
        for k, label in enumerate(labels):
            p = self._of_label(label)
            if p is not None and all(part.stop > part.start for part in window):
                volumes[..., k][window] = resample(p, source, native.cropped(window)).clip(0, 1)
        return self._image(volumes, "probability of " + "; ".join(labels))

    def _of_label(self, label: str) -> np.ndarray | None:
        """Return the probability of a label, (X, Y, Z) on the grid of `prepared`; None if no network paints it."""
        for member, p in reversed(list(zip(self.model.segmenter.members, self.found, strict=True))):
            if label in (member.labels if member.paints is None else member.paints):
                of_label: np.ndarray = p[1 + member.labels.index(label)]
                is_binary = member.spec.get("head") == "sigmoid"
                return of_label / np.maximum(p[0] + of_label, 1e-12) if is_binary else of_label
        return None

    def _image(self, volume: np.ndarray, text: str) -> nib.Nifti1Image:
        image = like_input(volume, self.prepared.native_grid.affine, self.like)
        image.header["descrip"] = text.encode()[:79]
        return image


def for_each_case(
    model: Model, cases: Sequence[Case], do: Callable[[Case], _Result], title: str, workers: int | None = None
) -> tuple[list[tuple[Case, _Result]], list[str]]:
    """Do something with a model and every case, several at a time, in threads that share the model.

    A thread per core (or `workers`), each for a case of its own, keeps the cores busier than all of them on one case,
    of which reading and resampling use one.

    Returns
    -------
    done, errors
        Cases with what `do` returned, in order; and a line for each case that raised a `UserError`.
    """
    for member in (one for m in model.segmenter.members for one in (m, *m.twins)):
        model.compute.place_network(member.ready).eval()  # before several threads use it
    n = min(workers or available_cores(), len(cases)) or 1
    before = torch.get_num_threads()
    if model.compute.device.type == "cpu":
        torch.set_num_threads(max(available_cores() // n, 1))
    try:
        with ThreadPoolExecutor(n) as pool, progress_bar(title, len(cases)) as bar:
            jobs = [pool.submit(do, case) for case in cases]
            try:
                for job in as_completed(jobs):
                    if not isinstance(job.exception(), UserError):
                        job.result()  # raises what else went wrong
                    bar.update(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(before)
    of_cases = list(zip(cases, jobs, strict=True))
    done = [(case, job.result()) for case, job in of_cases if job.exception() is None]
    return done, [f"case {case.name}: {error}" for case, job in of_cases if (error := job.exception()) is not None]
