"""BTCV, "Beyond the cranial vault": 30 abdominal CT with 13 organs, images and labels in two folders.

Variants: ``MSD`` (imagesTr and labelsTr, as tutorials rearrange it) and ``Synapse`` (img and label, as handed out).
"""

from ..sources.layout import Layout, Variant

_ORGANS = (
    "spleen", "right_kidney", "left_kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta", "vena_cava",
    "portal_and_splenic_veins", "pancreas", "right_adrenal", "left_adrenal",
)  # fmt: skip


def _variant(images: str, labels: str) -> Variant:
    return Variant(
        cases=(images + r"/img(?P<id>\d{4})\.nii(\.gz)?",),
        example=f"files such as {images}/img0001.nii.gz",
        files={"CT": images + "/img{id}", "labels": labels + "/label{id}"},
        codes=dict(enumerate(_ORGANS, start=1)),
        cases_are_files=True,
    )


BTCV = Layout(
    title="BTCV",
    provider="Synapse (www.synapse.org, project syn3193805, after registration)",
    terms="those of the project's page; cite the workshop",
    n_cases=30,
    tops=("RawData/Training", "Training"),
    detect=True,
    variants={"MSD": _variant("imagesTr", "labelsTr"), "Synapse": _variant("img", "label")},
)
