"""The anatomical atlas behind the phantoms: the MNI ICBM152 2009a templates that nilearn ships."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import FloatArray, column, interpolate


@dataclass(frozen=True)
class Atlas:
    """Maps on the 1 mm atlas grid, all of shape (X, Y, Z)."""

    gm: FloatArray
    wm: FloatArray
    csf: FloatArray
    """Tissue probabilities, float32; they sum to `brain`."""
    brain: FloatArray
    """Soft brain mask, float32 in [0, 1]."""
    ventricle_distance_mm: FloatArray
    """Signed distance to the surface of the ventricles, negative inside, float32."""
    affine: FloatArray
    """(4, 4) voxel to world (mm), RAS."""

    @property
    def bounds_mm(self) -> tuple[FloatArray, FloatArray]:
        """World coordinates of the two corners of the brain's bounding box, (3,) each."""
        found = np.argwhere(self.brain > 0.5)
        corners = np.stack([found.min(0), found.max(0)])
        world = corners @ self.affine[:3, :3].T + self.affine[:3, 3]
        return world.min(0), world.max(0)

    def sample(self, world: FloatArray) -> FloatArray:
        """Interpolate CSF, GM, WM (0 beyond the atlas) and the ventricle distance at positions (3, X, Y, Z) in mm.

        Returns (4, X, Y, Z) float32.
        """
        to_voxel = np.linalg.inv(self.affine).astype(np.float32)
        at = np.einsum("ij,jxyz->ixyz", to_voxel[:3, :3], world) + column(to_voxel[:3, 3])
        tissues = interpolate(np.stack([self.csf, self.gm, self.wm]), at)
        return np.concatenate([tissues, interpolate(self.ventricle_distance_mm[None], at, "border")])


@functools.lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Load the templates and derive what they lack: CSF = mask - GM - WM, and the ventricles.

    The lateral ventricles are the two largest connected regions of CSF that lie deeper than 20 mm below the brain's
    surface and off the midline, which is cut so that the fissure and the third ventricle do not join them.
    """
    from nilearn import datasets  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes of nilearn that are of no use to the reader of a study
        gm_image = datasets.load_mni152_gm_template(resolution=1)
        wm = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
        mask = datasets.load_mni152_brain_mask(resolution=1).get_fdata(dtype=np.float32) > 0
    gm = gm_image.get_fdata(dtype=np.float32)
    brain = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    gm, wm = np.clip(gm, 0, 1) * brain, np.clip(wm, 0, 1) * brain
    excess = np.maximum((gm + wm) / np.maximum(brain, 1e-6), 1)
    gm, wm = gm / excess, wm / excess
    csf = np.maximum(brain - gm - wm, 0)

    depth = ndimage.distance_transform_edt(mask).astype(np.float32)
    world_x = gm_image.affine[0, 3] + gm_image.affine[0, 0] * np.arange(mask.shape[0])
    off_midline = (np.abs(world_x) > 2)[:, None, None]
    deep_csf, _ = ndimage.label((csf > 0.5) & (depth > 20) & off_midline)
    sizes = np.bincount(deep_csf.ravel())
    ventricles = np.isin(deep_csf, 1 + np.argsort(sizes[1:])[-2:])
    distance = ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles)
    return Atlas(gm, wm, csf, brain, distance.astype(np.float32), gm_image.affine)
