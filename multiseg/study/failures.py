"""Networks that could not be trained: what is remembered of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from multiseg_core.training import is_trained

from .plan import NetworkPlan, Run, networks_of

FAILED = "failed.json"
"""Lies in the folder of a network that could not be trained, and says why, until a study tries again."""


def failure(network: NetworkPlan) -> str:
    """Return why a network could not be trained the last time; empty if it was not tried, or is trained."""
    try:
        text = (network.folder / FAILED).read_text(encoding="utf-8")
    except OSError:
        return ""
    return "" if is_trained(network.folder) else str(json.loads(text)["error"])


def failed_networks(runs: Iterable[Run]) -> list[str]:
    """Return a line for each network of some runs that could not be trained."""
    found = {n.key: (n.name, failure(n)) for n in networks_of(runs)}
    return [f"{name}: could not be trained: {why}" for name, why in found.values() if why]
