"""BraTS 2012, the synthetic half: 25 high-grade and 25 low-grade tumours, T1, T1c, T2 and FLAIR.

Two distributions are about, told apart by their folders: ``SimBRATS`` (folders Images and Truth, codes 5 tumour and 4
oedema) and ``VSD`` (folders HG and LG, codes 1 oedema and 2 tumour). In SimBRATS the codes 1, 2, 3 and 6 are
healthy tissues; which is which is unverified, so all count as background, which may hide anatomy.
"""

from ..sources.layout import NIFTI, Layout, Variant

_ABSENT = ("wmh",)


def _vsd(modality: str) -> tuple[str, ...]:
    """The folder of an image is called after its modality, with or without a number behind."""
    return tuple("{at}/VSD.Brain*.MR_" + modality + number + "/*" for number in ("", ".*"))


BRATS12 = Layout(
    title="BraTS 2012 (synthetic)",
    provider="the MIDAS archive of Kitware (www.smir.ch for the VSD folders); whether it is still online is unverified",
    terms="those shown on its page; cite the challenge",
    n_cases=50,
    tops=("Synthetic_Data",),
    suffixes=(".mha", *NIFTI),
    detect=True,
    variants={
        "SimBRATS": Variant(
            cases=(r"Images/SimBRATS_(?P<id>[HL]G\d+)",),
            example="folders such as Images/SimBRATS_HG0001",
            files={
                "T1": "{at}/*_T1",
                "T1c": "{at}/*_T1C",
                "T2": "{at}/*_T2",
                "FLAIR": "{at}/*_FLAIR",
                "labels": "Truth/SimBRATS_{id}_complete_truth",
            },
            codes={4: "oedema", 5: "tumour", **dict.fromkeys((1, 2, 3, 6), "background")},
            absent=_ABSENT,
        ),
        "VSD": Variant(
            cases=(r"(?P<grade>[HL]G)/(?P<id>\d+)",),
            example="folders such as HG/0001",
            name="{grade}{id}",
            files={
                "T1": _vsd("T1"),
                "T1c": _vsd("T1c"),
                "T2": _vsd("T2"),
                "FLAIR": _vsd("Flair"),
                "labels": "{at}/VSD.Brain_*more*/*",
            },
            codes={1: "oedema", 2: "tumour"},
            absent=_ABSENT,
        ),
    },
)
