"""BrainWeb: 20 simulated healthy subjects, T1, anatomy.

The labels are the crisp anatomical models, on a grid of 0.5 mm, while the simulated images have 1 mm: the labels share
the world of the images, not their voxels. Vessels count as CSF, all else outside the brain as background (thesis 5).
The thesis trains on 15 subjects and simulates tumours in the other 5: name those under ``exclude``. Which 5 it took is
unverified.

Files may be MINC or NIfTI. The raw download (16 bits without a header, the code in the upper 12) is not read: convert
it first.
"""

from ..sources.layout import NIFTI, Layout, Variant

BRAINWEB = Layout(
    title="BrainWeb (20 normal models)",
    provider="the McConnell Brain Imaging Centre, McGill (brainweb.bic.mni.mcgill.ca, crisp models and T1 as MINC)",
    terms="those shown on its page; cite its papers",
    n_cases=20,
    suffixes=(".mnc", ".mnc.gz", *NIFTI),
    labels_on_own_grid=True,
    variants={
        "default": Variant(
            cases=(r"(?P<id>subject\d+)_(crisp_v|t1w_p4)\..*",),
            cases_are_files=True,
            example="files such as subject04_t1w_p4.mnc",
            files={"T1": "{at}/{id}_t1w_p4", "labels": "{at}/{id}_crisp_v"},
            codes={
                1: "csf", 2: "gm", 3: "wm", 8: "csf",
                **dict.fromkeys((4, 5, 6, 7, 9, 10, 11), "background"),
            },
            absent=("wmh", "oedema", "tumour"),
        )
    },
)  # fmt: skip
