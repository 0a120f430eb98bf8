"""TumorSim: tumours simulated in healthy brains, T1, T1c, T2 and FLAIR, anatomy and tumours.

The program has no download of cases: the thesis simulated 20, in the 5 BrainWeb subjects left out of training. How
its output is named and coded is unverified. What stands here is a guess: a folder per case, names like those of the
synthetic BraTS 2012, and codes to match. Say in the params file what yours look like::

    files: {T1: "*_T1.mha", labels: "*_truth.mha"}     # relative to the folder of a case; the others as here
    codes: {1: wm, 2: gm, 3: csf, 4: oedema, 5: tumour}
"""

from ..sources.layout import NIFTI, Layout, Variant

TUMORSIM = Layout(
    title="TumorSim",
    provider="your own simulations with the program TumorSim (www.nitrc.org/projects/tumorsim)",
    terms="those of the program and of the brains simulated in",
    n_cases=20,
    suffixes=(".mha", *NIFTI),
    guess="what its codes mean is a guess",
    variants={
        "default": Variant(
            cases=(r"(?P<id>.{1,100})",),
            example="a folder per case",
            files={
                "T1": "{at}/*_T1",
                "T1c": ("{at}/*_T1C", "{at}/*_T1Gd"),
                "T2": "{at}/*_T2",
                "FLAIR": "{at}/*_FLAIR",
                "labels": "{at}/*_truth",
            },
            codes={1: "wm", 2: "gm", 3: "csf", 4: "oedema", 5: "tumour", 6: "ignore"},
            absent=("wmh",),
        )
    },
)
