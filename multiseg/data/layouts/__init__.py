"""Cohorts as their providers hand them out, first the thesis's: one small declaration each, found by one engine."""

from __future__ import annotations

from collections.abc import Mapping

from ..sources.find import find_cases
from ..sources.layout import Found, Layout, Variant
from .acdc import ACDC
from .brainweb import BRAINWEB
from .brats12 import BRATS12
from .btcv import BTCV
from .ibsr import IBSR
from .kits23 import KITS23
from .mrbrains13 import MRBRAINS13
from .mrbrains17 import MRBRAINS17
from .mrbrains18 import MRBRAINS18
from .slices import SLICES
from .tumorsim import TUMORSIM

__all__ = ["LAYOUTS", "Found", "Layout", "Variant", "find_cases"]

LAYOUTS: Mapping[str, Layout] = {
    "ibsr": IBSR,
    "mrbrains13": MRBRAINS13,
    "mrbrains17": MRBRAINS17,
    "mrbrains18": MRBRAINS18,
    "brats12": BRATS12,
    "brainweb": BRAINWEB,
    "tumorsim": TUMORSIM,
    "acdc": ACDC,
    "slices": SLICES,
    "kits23": KITS23,
    "btcv": BTCV,
}
"""The layouts by the name that a params file gives as `source`."""
