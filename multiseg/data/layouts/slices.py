"""A folder of slices: ``images/NAME.png`` and ``masks/NAME.png`` (or ``NAME_mask``), PNG in grey levels or NIfTI.

What stands before a last number, as ``heart03`` in ``heart03_12.png``, is the subject: its slices, two or more, become
the volume of one case. PNG has no world: a pixel counts as 1 mm. What the codes of the masks mean must be said in the
params file, often ``codes: {255: NAME}``.
"""

from ..sources.layout import NIFTI, Layout, Variant

SLICES = Layout(
    title="a folder of slices",
    provider="whoever made it",
    terms="theirs",
    n_cases=0,
    suffixes=(".png", *NIFTI),
    guess="what its codes mean is a guess",
    of_slices=True,
    variants={
        "default": Variant(
            cases=(r"images/(?P<id>(?P<subject>.+?)(?:_\D*\d+)?)(?:\.nii\.gz|\.nii|\.png)",),
            example="files such as images/heart03_12.png",
            subject="{subject}",
            files={"image": "{at}/{id}", "labels": ("masks/{id}", "masks/{id}_mask")},
            codes={1: "myocardium", 2: "blood_pool"},
            cases_are_files=True,
        )
    },
)
