"""KiTS23: 489 abdominal CT of kidney tumours; a folder per case, of which a hundred numbers are not given out.

The numbers run from 0 to 299 and from 400 to 588. Tumours and cysts have codes of their own: the kidney
is what is left of it.
"""

from ..sources.layout import Layout, Variant

KITS23 = Layout(
    title="KiTS23",
    provider="its organisers (kits-challenge.org/kits23, whose program fetches the images)",
    terms="CC BY-NC-SA 4.0; cite the challenge",
    n_cases=489,
    tops=("dataset",),
    variants={
        "default": Variant(
            cases=(r"(?P<id>case_\d{5})",),
            example="folders such as case_00000",
            files={"CT": "{at}/imaging", "labels": "{at}/segmentation"},
            codes={1: "kidney", 2: "tumour", 3: "cyst"},
        )
    },
)
