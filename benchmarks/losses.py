"""Losses, forward and backward, on 7 patches of 32^3 with 5 classes."""

from __future__ import annotations

import monai.losses
import torch
from monai.losses import DiceLoss
from torch.nn import functional as F

from benchmarks.common import Table, peak_allocated_mb, scaled, time_all
from multiseg_core.losses import Selective, SelectiveCrossEntropy, SelectiveDice, SoftDice

# four tissues and lesions; the last row is the background of a lesion cohort
MEMBERSHIP = torch.cat([torch.eye(5, dtype=torch.bool), torch.tensor([[True, True, True, True, False]])])

WRAPPED = {
    "DiceLoss": {"softmax": True}, "DiceCELoss": {"softmax": True}, "FocalLoss": {"use_softmax": True},
    "TverskyLoss": {"softmax": True},
}  # fmt: skip
"""Losses of MONAI that are timed bare and selective, with their options."""


BACKGROUND = torch.tensor([0, 0, 0, 0, 5, 5, 5])
"""Of each patch of `batch`, as training gives it to a wrapped loss; without it, the loss has to look for it."""


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, complete labels, and labels of which three of seven patches come from a lesion cohort."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, 32, 32, 32, generator=generator)
    complete = torch.randint(0, 5, (7, 32, 32, 32), generator=generator)
    partial = complete.clone()
    partial[4:][partial[4:] < 4] = 5
    return logits, complete, partial


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    logits, complete, partial = batch()
    selective, dice, soft = SelectiveCrossEntropy(MEMBERSHIP), SelectiveDice(MEMBERSHIP), SoftDice(MEMBERSHIP)
    monai_dice = DiceLoss(include_background=False, softmax=True, to_onehot_y=True)
    logits.requires_grad_()

    def both_ways(function) -> None:
        function().backward()
        logits.grad = None

    calls = {
        "F.cross_entropy": lambda: both_ways(lambda: F.cross_entropy(logits, complete)),
        "selective": lambda: both_ways(lambda: selective(logits, partial)),
        "selective, complete labels": lambda: both_ways(lambda: selective(logits, complete)),
        "MONAI DiceLoss": lambda: both_ways(lambda: monai_dice(logits, complete[:, None])),
        "selective Dice": lambda: both_ways(lambda: dice(logits, partial)),
        "soft Dice": lambda: both_ways(lambda: soft(logits, partial)),
    }
    ms = {name: scaled(s, 1000) for name, s in time_all(calls, repeats=21, inner=5).items()}
    for name, peer, what in (
        ("selective", "F.cross_entropy", "cross-entropy on label sets, 3 of 7 patches partly labelled"),
        ("selective, complete labels", "F.cross_entropy", "cross-entropy on label sets, complete labels"),
        ("selective Dice", "MONAI DiceLoss", "selective Dice"),
        ("soft Dice", "MONAI DiceLoss", "Dice"),
    ):
        table.add(what, peer, ms[name], ms[peer], "ms")

    for name, options in WRAPPED.items():
        bare = getattr(monai.losses, name)(to_onehot_y=True, **options)
        wrapped = Selective(bare, MEMBERSHIP)
        took = time_all(
            {
                "bare": lambda bare=bare: both_ways(lambda: bare(logits, complete[:, None])),
                "partial": lambda wrapped=wrapped: both_ways(lambda: wrapped(logits, partial, BACKGROUND)),
                "unasked": lambda wrapped=wrapped: both_ways(lambda: wrapped(logits, partial)),
                "complete": lambda wrapped=wrapped: both_ways(lambda: wrapped(logits, complete)),
            },
            repeats=21,
            inner=3,
        )
        ms = {key: scaled(spread, 1000) for key, spread in took.items()}
        table.add(
            f"Selective({name}), 3 of 7 patches partly labelled", f"MONAI {name}", ms["partial"], ms["bare"], "ms"
        )
        table.add(
            f"Selective({name}), the same, backgrounds not given", f"MONAI {name}", ms["unasked"], ms["bare"], "ms"
        )
        table.add(f"Selective({name}), complete labels", f"MONAI {name}", ms["complete"], ms["bare"], "ms")

    extra = {name: peak_allocated_mb(function) for name, function in calls.items()}
    for name, peer, what in (
        ("selective", "F.cross_entropy", "extra memory, cross-entropy on label sets"),
        ("selective Dice", "MONAI DiceLoss", "extra memory, selective Dice"),
    ):
        table.add(what, peer, extra[name], extra[peer], "MB")
    with torch.no_grad():
        difference = abs(selective(logits, complete).item() - F.cross_entropy(logits, complete).item())
    table.note(f"cross-entropy on label sets: differs by {difference:.1e} from F.cross_entropy on complete labels")
