"""MRBrainS17, which is the WMH challenge of 2017: 60 training subjects of three sites, T1 and FLAIR, lesions.

Code 2 is other pathology. The challenge leaves it out of its scores; the thesis counts it as background, and so does
this layout. Write ``codes: {1: wmh, 2: ignore}`` to leave it out. Images are those of ``pre/``, on the grid of the
FLAIR.
"""

from ..sources.layout import Layout, Variant

MRBRAINS17 = Layout(
    title="MRBrainS17 (WMH challenge 2017)",
    provider="DataverseNL (wmh.isi.uu.nl)",
    terms="those shown on its page; cite the challenge",
    n_cases=60,
    tops=("training", "public"),
    variants={
        "default": Variant(
            cases=(r"(?P<site>Utrecht|Singapore)/(?P<id>\d+)", r"(?P<site>Amsterdam)/GE3T/(?P<id>\d+)"),
            example="folders such as Utrecht/0, Singapore/50 and Amsterdam/GE3T/100",
            name="{site}_{id}",
            files={"T1": "{at}/pre/T1", "FLAIR": "{at}/pre/FLAIR", "labels": "{at}/wmh"},
            codes={1: "wmh", 2: "background"},
            absent=("oedema", "tumour"),
        )
    },
)
