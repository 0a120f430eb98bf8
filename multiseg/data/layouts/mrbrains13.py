"""MRBrainS13: the 5 training subjects, T1, IR and FLAIR, anatomy.

Variant ``testing`` (default) takes LabelsForTesting, where lesions are white matter, cerebellum and brain stem 0;
like the thesis it takes the subjects for healthy, so that WMH are absent. Variant
``training`` takes LabelsForTraining, which draws WMH too, so they are not absent; cerebellum and brain stem are
ignored.
"""

from dataclasses import replace

from ..sources.layout import Layout, Variant

_IMAGES = {"T1": "{at}/T1", "IR": "{at}/T1_IR", "FLAIR": "{at}/T2_FLAIR"}

_TESTING = Variant(
    cases=(r"(?P<id>\d+)",),
    example="folders such as 1",
    files={**_IMAGES, "labels": "{at}/LabelsForTesting"},
    codes={1: "csf", 2: "gm", 3: "wm"},
    absent=("wmh", "oedema", "tumour"),
)

MRBRAINS13 = Layout(
    title="MRBrainS13",
    provider="DataverseNL (doi.org/10.34894/645ZIN; mrbrains13.isi.uu.nl)",
    terms="those shown on its page; cite the challenge",
    n_cases=5,
    tops=("TrainingData", "training"),
    variants={
        "testing": _TESTING,
        "training": replace(
            _TESTING,
            files={**_IMAGES, "labels": "{at}/LabelsForTraining"},
            codes={1: "gm", 2: "gm", 3: "wm", 4: "wmh", 5: "csf", 6: "csf", 7: "ignore", 8: "ignore"},
            absent=("oedema", "tumour"),
        ),
    },
)
