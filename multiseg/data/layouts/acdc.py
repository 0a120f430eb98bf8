"""ACDC, cardiac cine MRI of 100 (training) and 50 (testing) patients, each at end-diastole and end-systole.

A case is one frame, ``patient001/patient001_frame01.nii.gz`` with ``..._frame01_gt.nii.gz``; which of the two frames is
which stands in ``Info.cfg`` and is not read. The two frames of a patient are one subject, so that no patient is trained
and tested on. Slices are 5 to 10 mm thick: use patches of slices. For the classes of a blood pool and the muscle around
it, write ``codes: {1: blood_pool, 2: myocardium, 3: blood_pool}``.
"""

from ..sources.layout import Layout, Variant

ACDC = Layout(
    title="ACDC (MICCAI 2017)",
    provider="the University of Lyon (CREATIS), Automated Cardiac Diagnosis Challenge",
    terms="those shown on its page; cite the challenge",
    n_cases=200,
    tops=("training", "database/training", "ACDC/database/training"),
    variants={
        "default": Variant(
            cases=(r"patient\d+/patient(?P<id>\d+)_frame(?P<frame>\d+)_gt\.nii(\.gz)?",),
            example="files such as patient001/patient001_frame01_gt.nii.gz",
            name="patient{id}_frame{frame}",
            subject="patient{id}",
            files={"MR": "{at}/patient{id}_frame{frame}", "labels": "{at}/patient{id}_frame{frame}_gt"},
            codes={1: "right_ventricle", 2: "myocardium", 3: "left_ventricle"},
            cases_are_files=True,
        )
    },
)
