"""The wrapper: the bare loss where labels are complete, brute force on merged probabilities where they are not."""

from collections.abc import Callable

import monai.losses
import pytest
import torch
from torch import Tensor, nn

from multiseg_core.errors import UserError
from multiseg_core.losses import Selective, SelectiveCrossEntropy, build_loss

# classes background, csf, gm, wmh; rows: the classes, then the backgrounds of an anatomy and of a lesion cohort, a
# coarse label and an ignored voxel
MEMBERSHIP = torch.tensor(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]],
    dtype=torch.bool,
)
ANATOMY, LESION, COARSE, IGNORED = 4, 5, 6, 7
M = monai.losses
LOSSES: dict[str, nn.Module | Callable[[int], nn.Module]] = {
    "dice": M.DiceLoss(softmax=True, to_onehot_y=True),
    "batch dice": M.DiceLoss(softmax=True, to_onehot_y=True, batch=True, include_background=False),
    "dice ce": M.DiceCELoss(softmax=True, to_onehot_y=True),
    "dice focal": M.DiceFocalLoss(softmax=True, to_onehot_y=True),
    "focal": M.FocalLoss(use_softmax=True, to_onehot_y=True),
    "tversky": M.TverskyLoss(softmax=True, to_onehot_y=True),
    "generalised dice": M.GeneralizedDiceLoss(softmax=True, to_onehot_y=True),
    "unified focal": lambda n: M.AsymmetricUnifiedFocalLoss(to_onehot_y=True, num_classes=n),
    "cross-entropy": nn.CrossEntropyLoss(),
}


def patches(spatial: tuple[int, ...], rows: list[list[int]], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random logits and a target for each list of rows that may occur in a patch."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(len(rows), 4, *spatial, generator=generator, dtype=torch.float64)
    target = torch.stack([
        torch.tensor(own)[torch.randint(len(own), spatial, generator=generator)] for own in rows
    ])  # fmt: skip
    return logits, target


def selective(name: str) -> Selective:
    return Selective(LOSSES[name], MEMBERSHIP, probabilities=name == "unified focal")


def call(name: str, logits: Tensor, target: Tensor) -> Tensor:
    """The bare loss."""
    loss = LOSSES[name]
    if not isinstance(loss, nn.Module):
        loss, logits = loss(logits.shape[1]), logits.softmax(1)
    value: Tensor = loss(logits, target if isinstance(loss, nn.CrossEntropyLoss) else target.unsqueeze(1))
    return value


def by_probabilities(name: str, logits: Tensor, target: Tensor, merged: list[int]) -> Tensor:
    """Add up probabilities, and give the loss logits that softmax turns into the sums."""
    p = logits.softmax(1)
    others = [c for c in range(4) if c not in merged]
    summed = torch.stack([p[:, merged].sum(1), *(p[:, c] for c in others)], dim=1)
    number = {c: 1 + i for i, c in enumerate(others)} | dict.fromkeys([*merged, ANATOMY, LESION], 0)
    return call(name, summed.log() + logits.logsumexp(1, keepdim=True), target.clone().apply_(lambda row: number[row]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("spatial", [(6, 5, 4), (7, 6)], ids=["3-D", "2-D"])
def test_it_is_the_bare_loss_where_labels_are_complete(name: str, spatial: tuple[int, ...]) -> None:
    logits, target = patches(spatial, [[0, 1, 2, 3]] * 3)
    ours = selective(name)(logits, target)
    assert float(ours) == pytest.approx(float(call(name, logits, target)), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("spatial", [(6, 5, 4), (7, 6)], ids=["3-D", "2-D"])
def test_it_is_brute_force_on_merged_probabilities(name: str, spatial: tuple[int, ...]) -> None:
    """A batch that mixes two cohorts: each is merged on its own."""
    rows = [[ANATOMY, 1, 2], [LESION, 3], [ANATOMY, 1, 2]]
    logits, target = patches(spatial, rows)
    anatomy = by_probabilities(name, logits[[0, 2]], target[[0, 2]], [0, 3])
    lesion = by_probabilities(name, logits[[1]], target[[1]], [0, 1, 2])
    ours = selective(name)(logits, target)
    assert float(ours) == pytest.approx(float(2 / 3 * anatomy + 1 / 3 * lesion), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_patch_without_background_is_merged_as_its_cohort_is_if_that_is_told(name: str) -> None:
    logits, target = patches((4, 4, 4), [[3], [ANATOMY, 1]])
    told = selective(name)(logits, target, background=torch.tensor([LESION, ANATOMY]))
    lesion = by_probabilities(name, logits[[0]], target[[0]], [0, 1, 2])
    anatomy = by_probabilities(name, logits[[1]], target[[1]], [0, 3])
    assert float(told) == pytest.approx(float(lesion + anatomy) / 2, abs=1e-6)
    guessed = selective(name)(logits, target)
    assert float(guessed) == pytest.approx(float(call(name, logits[[0]], target[[0]]) + anatomy) / 2, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_and_extreme_logits(name: str) -> None:
    loss = selective(name)
    logits, target = patches((3, 2, 2), [[ANATOMY, 1, 2], [LESION, 3, IGNORED]])
    logits.requires_grad_()
    if "focal" not in name:  # MONAI's focal losses compute in float32, too coarse for numerical gradients
        assert torch.autograd.gradcheck(lambda z: loss(z, target), logits, atol=1e-6)
    (ours,) = torch.autograd.grad(loss(logits[:1], target[:1]), logits)
    (brute,) = torch.autograd.grad(by_probabilities(name, logits[:1], target[:1], [0, 3]), logits)
    assert torch.allclose(ours, brute, atol=1e-6)
    for scale in (1e4, -1e4):
        extreme = (torch.sign(logits.detach()) * scale).float().requires_grad_()
        value = loss(extreme, target)
        value.backward()
        assert torch.isfinite(value) and extreme.grad is not None and torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_open_voxels_are_left_out(name: str) -> None:
    """What a network says where nobody knows changes nothing."""
    logits, target = patches((4, 4, 4), [[ANATOMY, 1, 2, COARSE], [IGNORED], [LESION, 3]])
    loss = selective(name)
    other = torch.where(((target == COARSE) | (target == IGNORED)).unsqueeze(1), -logits + 1, logits)
    assert float(loss(logits, target)) == pytest.approx(float(loss(other, target)), abs=1e-12)
    assert float(loss(logits[1:2], target[1:2])) == 0


def test_cross_entropy_through_the_wrapper_is_selective_cross_entropy() -> None:
    logits, target = patches((6, 5, 4), [[ANATOMY, 1, 2, IGNORED], [LESION, 3], [0, 1, 2, 3], [3], [IGNORED]])
    ours = Selective(nn.CrossEntropyLoss(), MEMBERSHIP)(logits, target)
    assert float(ours) == pytest.approx(float(SelectiveCrossEntropy(MEMBERSHIP)(logits, target)), abs=1e-10)


def test_losses_of_others_by_name() -> None:
    logits, target = patches((6, 5, 4), [[ANATOMY, 1, 2], [LESION, 3]])
    for name, options, by_hand in (
        ("monai.DiceCELoss", {"batch": True}, M.DiceCELoss(softmax=True, to_onehot_y=True, batch=True)),
        ("monai.FocalLoss", {"gamma": 3.0}, M.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=3.0)),
        ("torch.CrossEntropyLoss", {"label_smoothing": 0.1}, nn.CrossEntropyLoss(label_smoothing=0.1)),
    ):
        ours = build_loss(name, MEMBERSHIP, options)(logits, target)
        assert float(ours) == float(Selective(by_hand, MEMBERSHIP)(logits, target))
    unified = build_loss("monai.AsymmetricUnifiedFocalLoss", MEMBERSHIP, {})(logits, target)
    assert float(unified) == float(selective("unified focal")(logits, target))
    for name, options, message in (
        ("monai.DiceLos", {}, r"loss: unknown name 'monai.DiceLos' \(did you mean 'monai.DiceLoss'\?\)"),
        ("monai.DiceLoss", {"bach": True}, r"loss: monai.DiceLoss has no option 'bach' \(did you mean 'batch'\?\)"),
        ("monai.TverskyLoss", {"sigmoid": True}, "loss: monai.TverskyLoss: Incompatible values"),
        ("torch.Linear", {}, "loss: unknown name 'torch.Linear'"),
        ("keras.Loss", {}, "loss: unknown name 'keras.Loss'"),
    ):
        with pytest.raises(UserError, match=message):
            build_loss(name, MEMBERSHIP, options)
