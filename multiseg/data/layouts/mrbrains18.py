"""MRBrainS18: the 7 training subjects, T1, IR and FLAIR, anatomy and lesions.

Cerebellum, brain stem, infarction and other (codes 7 to 10) are ignored, as in the thesis. T1 and IR are the files that
are registered to the FLAIR.
"""

from ..sources.layout import Layout, Variant

MRBRAINS18 = Layout(
    title="MRBrainS18",
    provider="DataverseNL (mrbrains18.isi.uu.nl)",
    terms="those shown on its page; cite the challenge",
    n_cases=7,
    tops=("training",),
    variants={
        "default": Variant(
            cases=(r"(?P<id>\d+)",),
            example="folders such as 070",
            files={
                "T1": "{at}/pre/reg_T1",
                "IR": "{at}/pre/reg_IR",
                "FLAIR": "{at}/pre/FLAIR",
                "labels": "{at}/segm",
            },
            codes={
                1: "gm", 2: "gm", 3: "wm", 4: "wmh", 5: "csf", 6: "csf",
                7: "ignore", 8: "ignore", 9: "ignore", 10: "ignore",
            },
            absent=("oedema", "tumour"),
        )
    },
)  # fmt: skip
