"""IBSR v2: 18 healthy subjects, T1, anatomy.

Variants: ``segTRI`` (default) and ``segTRI_fill``, whose label files differ in the zeros inside the brain mask: the
second calls them CSF. Both take the brain-extracted image with the brain mask that comes along;
``segTRI_whole_head`` and ``segTRI_fill_whole_head`` take the whole head and no mask. Arrays are 4-D with a last axis of
length 1, which reading drops.
"""

from ..sources.layout import Layout, Variant


def _variant(labels: str, whole_head: bool) -> Variant:
    if whole_head:
        files = {"T1": "{at}/{id}_ana"}
    else:
        files = {"T1": "{at}/{id}_ana_strip", "brain_mask": "{at}/{id}_ana_brainmask"}
    return Variant(
        cases=(r"(?P<id>IBSR_\d+)",),
        example="folders such as IBSR_01",
        files={**files, "labels": "{at}/{id}_" + labels + "_ana"},
        codes={1: "csf", 2: "gm", 3: "wm"},
        absent=("wmh", "oedema", "tumour"),
    )


IBSR = Layout(
    title="IBSR v2",
    provider="NITRC (www.nitrc.org/projects/ibsr, the skull-stripped NIfTI files)",
    terms="acknowledge the source; not for anatomical studies, and no image may be published, without permission",
    n_cases=18,
    tops=("IBSR_nifti_stripped", "IBSR_V2.0_nifti_stripped", "IBSR_V2.0_nifti_stripped/IBSR_nifti_stripped"),
    variants={
        "segTRI": _variant("segTRI", whole_head=False),
        "segTRI_fill": _variant("segTRI_fill", whole_head=False),
        "segTRI_whole_head": _variant("segTRI", whole_head=True),
        "segTRI_fill_whole_head": _variant("segTRI_fill", whole_head=True),
    },
)
