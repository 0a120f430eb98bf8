"""Expected values are written out on small label maps: C = 3 classes (0 background, 1 tissue, 2 lesion)."""

import math

import pytest
import torch
from monai.losses import DiceLoss, FocalLoss
from torch import Tensor
from torch.nn import functional as F

from multiseg_core.errors import UserError
from multiseg_core.losses import (
    PatchwiseSelectiveCrossEntropy,
    SelectiveCrossEntropy,
    SelectiveDice,
    SelectiveExclusion,
    SelectiveSigmoid,
    SoftDice,
    build_loss,
    by_voxels,
    class_weights,
)
from multiseg_core.losses.cross_entropy import _plain_set_cross_entropy, _SetCrossEntropy

EYE = torch.eye(3, dtype=torch.bool)
# row 3: background of a lesion cohort (tissue may hide in it), row 4: ignored
SETS = torch.cat([EYE, torch.tensor([[True, True, False], [True, True, True]])])
ALL = [
    SelectiveCrossEntropy,
    PatchwiseSelectiveCrossEntropy,
    SoftDice,
    SelectiveDice,
    SelectiveExclusion,
    SelectiveSigmoid,
]


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """Logits (1, C, V) whose softmax is the given probabilities per voxel."""
    return torch.tensor(probabilities, dtype=torch.float64).log().T[None]


def random_batch(shape: tuple[int, ...], n_rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *shape, generator=generator, dtype=dtype)
    return logits, torch.randint(0, n_rows, (2, *shape), generator=generator)


@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 5)])
def test_cross_entropy_equals_torch_on_complete_labels(shape: tuple[int, ...]) -> None:
    logits, target = random_batch(shape, 3)
    expected = F.cross_entropy(logits, target)
    for loss in (SelectiveCrossEntropy(SETS), PatchwiseSelectiveCrossEntropy(SETS)):
        assert torch.allclose(loss(logits, target), expected, atol=1e-6, rtol=0)


def test_selective_cross_entropy_by_hand() -> None:
    p = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]
    # a proper label pays -log of its own p; row 3 pays -log(p0 + p1); the ignored voxel nothing
    expected = (-math.log(0.2) - math.log(0.5 + 0.3) - math.log(0.1 + 0.6) - 0.0) / 4
    value = SelectiveCrossEntropy(SETS)(logits_of(p), torch.tensor([[1, 3, 3, 4]]))
    assert float(value) == pytest.approx(expected, abs=1e-12)


def test_exclusion_by_hand() -> None:
    p = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]
    target = torch.tensor([[1, 3, 3, 4]])
    # known not to be background: voxel 0; not tissue: none; not lesion: voxels 0 (tissue), 1 and 2 (row 3)
    background = 2 * 0.7 / ((0.7 + 0.5 + 0.1 + 0.2) + 1)
    lesion = 2 * (0.1 + 0.2 + 0.3) / ((0.1 + 0.2 + 0.3 + 0.6) + 3)
    selective = float(SelectiveCrossEntropy(SETS)(logits_of(p), target))
    value = SelectiveExclusion(SETS, weight=3.0, epsilon=0.0)(logits_of(p), target)
    assert float(value) == pytest.approx(selective + 3 * (background + 0 + lesion) / 3, abs=1e-12)


def test_a_background_term_for_selective_dice() -> None:
    """Without it, background that is labelled as something absent from the patch costs nothing but its share."""
    p = [[0.1, 0.2, 0.7], [0.1, 0.8, 0.1]]
    target = torch.tensor([[3, 2]])  # background of a lesion cohort, lesion
    lesion = 1 - 2 * 0.1 / (0.7 + 0.1 + 1)
    background = 1 - 2 * 0.3 / (0.3 + 0.9 + 1)  # of row 3, p0 + p1
    assert float(SelectiveDice(SETS, epsilon=0.0)(logits_of(p), target)) == pytest.approx(lesion)
    with_background = SelectiveDice(SETS, epsilon=0.0, background=True)(logits_of(p), target)
    assert float(with_background) == pytest.approx((lesion + background) / 2)
    ignored = SelectiveDice(SETS, background=True)(logits_of(p), torch.tensor([[4, 4]]))
    assert float(ignored) == 0


def test_patchwise_takes_the_classes_present_from_the_patch() -> None:
    p = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
    loss = PatchwiseSelectiveCrossEntropy(SETS)
    # a lesion in the patch: the other voxel may be anything but lesion
    with_lesion = (-math.log(0.1) - math.log(0.5 + 0.3)) / 2
    assert float(loss(logits_of(p), torch.tensor([[2, 3]]))) == pytest.approx(with_lesion, abs=1e-12)
    # no lesion in the patch: all classes are possible, nothing is learned
    assert float(loss(logits_of(p), torch.tensor([[3, 3]]))) == pytest.approx(0, abs=1e-12)
    # the set of the cohort would still exclude the lesion
    by_cohort = (-math.log(0.7 + 0.2) - math.log(0.5 + 0.3)) / 2
    assert float(SelectiveCrossEntropy(SETS)(logits_of(p), torch.tensor([[3, 3]]))) == pytest.approx(by_cohort)


def test_patchwise_looks_at_each_patch_alone() -> None:
    p = logits_of([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    both = PatchwiseSelectiveCrossEntropy(SETS)(torch.cat([p, p]), torch.tensor([[2, 3], [3, 3]]))
    assert float(both) == pytest.approx((-math.log(0.1) - math.log(0.8) - 0 - 0) / 4, abs=1e-12)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3)])
def test_dice_equals_monai_on_complete_labels(shape: tuple[int, ...]) -> None:
    logits, target = random_batch(shape, 3)
    monai = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=1e-5)
    assert torch.allclose(SoftDice(SETS)(logits, target), monai(logits, target[:, None]), atol=1e-6, rtol=0)


def test_dice_pools_counts_over_the_batch() -> None:
    a = logits_of([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    b = logits_of([[0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    value = SoftDice(SETS, epsilon=0)(torch.cat([a, b]), torch.tensor([[1, 1], [2, 0]]))
    tissue = 2 * (0.3 + 0.5) / ((0.3 + 0.5 + 0.1 + 0.3) + 2)
    lesion = 2 * 0.8 / ((0.1 + 0.3 + 0.8 + 0.4) + 1)
    assert float(value) == pytest.approx(1 - (tissue + lesion) / 2, abs=1e-12)


def test_dice_leaves_open_voxels_out_of_a_class() -> None:
    p = logits_of([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    value = SoftDice(SETS, epsilon=0)(p, torch.tensor([[1, 3]]))
    # voxel 2 may be tissue or background: it counts for lesion (as outside), not for tissue
    tissue = 2 * 0.3 / (0.3 + 1)
    lesion = 0 / (0.1 + 0.3 + 0)
    assert float(value) == pytest.approx(1 - (tissue + lesion) / 2, abs=1e-12)


def test_dice_of_a_coarse_label() -> None:
    sets = torch.cat([EYE, torch.tensor([[False, True, True]])])  # row 3: tissue or lesion
    p = logits_of([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    value = SoftDice(sets, epsilon=0)(p, torch.tensor([[0, 3]]))
    # single classes: voxel 2 is open for both; the union: voxel 1 outside, voxel 2 inside
    union = 2 * (0.5 + 0.3) / ((0.3 + 0.1 + 0.5 + 0.3) + 1)
    assert float(value) == pytest.approx(1 - (0 + 0 + union) / 3, abs=1e-12)


def test_selective_dice_by_hand() -> None:
    a = logits_of([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    b = logits_of([[0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    value = SelectiveDice(SETS, epsilon=0)(torch.cat([a, b]), torch.tensor([[1, 0], [2, 1]]))
    first = 1 - 2 * 0.3 / ((0.3 + 0.5) + 1)  # only tissue is present
    tissue = 2 * 0.3 / ((0.1 + 0.3) + 1)
    lesion = 2 * 0.8 / ((0.8 + 0.4) + 1)
    assert float(value) == pytest.approx((first + 1 - (tissue + lesion) / 2) / 2, abs=1e-12)


def test_selective_dice_of_a_patch_without_labels_costs_nothing() -> None:
    logits = logits_of([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]).requires_grad_()
    value = SelectiveDice(SETS)(logits, torch.tensor([[0, 3]]))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss_class", ALL)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2)])
def test_gradients(loss_class: type, shape: tuple[int, ...]) -> None:
    logits, target = random_batch(shape, 5, torch.float64)
    loss = loss_class(SETS)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize("spread", [1, 20, 60, 200])  # at 60 a float32 probability is tiny, at 200 it is 0
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_fast_cross_entropy_is_the_plain_one(spread: float, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(3, 4, 5, 6, 7, generator=generator)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last_3d)
    # overlapping sets, a different matrix for each sample, and every row somewhere
    eye = torch.eye(4, dtype=torch.bool)
    more = torch.rand(3, 5, 4, generator=generator) < 0.6
    members = torch.cat([eye.expand(3, -1, -1), more | eye[:1]], dim=1)
    target = torch.randint(0, 9, (3, 5, 6, 7), generator=generator)
    results = []
    for function in (_plain_set_cross_entropy, _SetCrossEntropy.apply):
        z = logits.clone().requires_grad_()
        value = function(z, target, members)
        (gradient,) = torch.autograd.grad(3 * value, z)  # a factor, as of a loss that is one term of several
        results.append((value.item(), gradient))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-8, rtol=1e-4)


def test_gradient_of_the_plain_cross_entropy() -> None:
    logits, target = random_batch((3, 2), 5, torch.float64)
    members = SETS.expand(2, -1, -1)
    assert torch.autograd.gradcheck(
        lambda x: _plain_set_cross_entropy(x, target, members), logits.requires_grad_(), check_grad_dtypes=True
    )


@pytest.mark.parametrize("loss_class", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_logits_stay_finite(loss_class: type, dtype: torch.dtype) -> None:
    signs = torch.randint(0, 2, (2, 3, 4, 4, 4), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    logits = (1e4 * signs).to(dtype).requires_grad_()
    target = torch.randint(0, 5, (2, 4, 4, 4), generator=torch.Generator().manual_seed(2))
    value = loss_class(SETS)(logits, target)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


def test_gradient_of_the_merged_background_does_not_vanish() -> None:
    """The original clips the summed probability at 0.1, which stops the gradient where it is needed most."""
    logits = logits_of([[0.001, 0.001, 0.998]]).requires_grad_()
    SelectiveCrossEntropy(SETS)(logits, torch.tensor([[3]])).backward()
    # d/dz_c of -log(p0 + p1) is p_c - p_c / (p0 + p1) inside the set and p_c outside
    expected = torch.tensor([0.001 - 0.5, 0.001 - 0.5, 0.998], dtype=torch.float64)
    assert torch.allclose(logits.grad[0, :, 0], expected, atol=1e-9)


@pytest.mark.parametrize("loss_class", ALL)
def test_training_converges(loss_class: type) -> None:
    """Free logits, two patches: each loss drives the labelled voxels to their labels."""
    target = torch.tensor([[[1, 1, 2, 2]] * 4, [[0, 1, 0, 2]] * 4])
    logits = torch.zeros(2, 3, 4, 4, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(150):
        optimiser.zero_grad()
        loss_class(SETS)(logits, target).backward()
        optimiser.step()
    foreground = target > 0
    assert (logits.argmax(1) == target)[foreground].all()


@pytest.mark.parametrize("loss_class", ALL)
def test_bad_arguments(loss_class: type) -> None:
    loss = loss_class(SETS)
    with pytest.raises(ValueError, match=r"logits must be \(N, 3, \*spatial\)"):
        loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="does not fit logits"):
        loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="must be int64"):
        loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="identity"):
        loss_class(EYE[[1, 0, 2]])
    with pytest.raises(ValueError, match="bool tensor"):
        loss_class(EYE.float())
    with pytest.raises(ValueError, match="holds no class"):
        loss_class(torch.cat([EYE, torch.zeros(1, 3, dtype=torch.bool)]))


def test_binary_losses_by_hand() -> None:
    """Background, a, b; a cohort that draws a leaves b open in its background, but not where it drew a."""
    membership = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]], dtype=torch.bool)
    logits = torch.tensor([[0.0, 0.0], [2.0, -1.0], [0.5, 3.0]]).view(1, 3, 1, 2)
    target = torch.tensor([[[1, 3]]])  # a; background or b
    log = F.logsigmoid
    known = [log(torch.tensor(2.0)), log(torch.tensor(-0.5)), log(torch.tensor(1.0))]  # a yes, b no; a no
    entropy = -sum(known) / 3
    assert float(SelectiveSigmoid(membership, dice=0)(logits, target)) == pytest.approx(float(entropy), abs=1e-6)
    p = torch.sigmoid(torch.tensor([2.0, -1.0]))
    dice_a = 2 * p[0] / (p[0] + p[1] + 1)  # of b nothing is there, and nothing can overlap
    both = SelectiveSigmoid(membership, epsilon=0)(logits, target)
    assert float(both) == pytest.approx(float(entropy + 1 - dice_a / 2), abs=1e-6)


def test_binary_losses_equal_those_of_others_on_complete_labels() -> None:
    logits, target = random_batch((6, 5, 4), 3)
    logits[:, 0] = 0
    yes = F.one_hot(target, 3).movedim(-1, 1)[:, 1:].float()
    entropy = torch.nn.BCEWithLogitsLoss()(logits[:, 1:], yes)
    dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=0)(logits[:, 1:], yes)
    ours = SelectiveSigmoid(EYE)(logits, target)
    assert float(ours) == pytest.approx(float(entropy + dice), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_and_smoothing_are_those_of_torch_on_complete_labels(smoothing: float) -> None:
    logits, target = random_batch((6, 5, 4), 3)
    weights = torch.tensor([0.2, 1.0, 3.0])
    theirs = torch.nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(logits, target)
    ours = SelectiveCrossEntropy(EYE, weights, smoothing)(logits, target)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_weights_and_smoothing_of_sets_by_hand() -> None:
    """Background or tissue counts as background; a voxel that may be anything teaches nothing."""
    logits = logits_of([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    target = torch.tensor([[3, 2]])
    plain = -(2 * math.log(0.8) + 1 * math.log(0.8)) / 3
    assert float(SelectiveCrossEntropy(SETS, [2, 4, 1])(logits, target)) == pytest.approx(plain)
    smooth = [-(2 * math.log(a) + 4 * math.log(b) + math.log(c)) / 3 for a, b, c in ((0.5, 0.3, 0.2), (0.1, 0.1, 0.8))]
    expected = 0.9 * plain + 0.1 * sum(smooth) / 3
    assert float(SelectiveCrossEntropy(SETS, [2, 4, 1], 0.1)(logits, target)) == pytest.approx(expected)
    logits = logits.requires_grad_()
    SelectiveCrossEntropy(SETS, label_smoothing=0.1)(logits, torch.tensor([[4, 4]])).backward()
    assert logits.grad.abs().max() < 1e-15


def test_weights_by_the_number_of_voxels() -> None:
    assert class_weights("frequency", [900, 90, 10, 0]) == pytest.approx(
        [3 / (1 / 900 + 1 / 90 + 1 / 10) / n for n in (900, 90, 10)] + [1]
    )
    total = 1000
    raw = [(1 / total) / (1 - ((total - 1) / total) ** n) for n in (900, 90, 10)]
    assert class_weights("effective_number", [900, 90, 10]) == pytest.approx([3 * r / sum(raw) for r in raw])
    built = build_loss("SelectiveCrossEntropy", EYE, {"weights": "frequency"}, [4, 2, 1])
    assert built.weights.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    raw = [0.1 / (1 - 0.9**n) for n in (900, 90, 10)]
    assert class_weights({"effective_number": 0.9}, [900, 90, 10]) == pytest.approx([3 * r / sum(raw) for r in raw])
    for options, message in (
        ({"weights": {"frequency": 0.9}}, r"only effective_number takes a number, in \[0, 1\), got frequency: 0.9"),
        ({"weights": {"effective_number": 1}}, "got effective_number: 1"),
        ({"weights": "rare"}, "weights must be frequency or effective_number, or numbers, got 'rare'"),
        ({"weights": [1, 2]}, "weights must be 3 numbers above 0, one per class"),
        ({"label_smoothing": 1}, r"label_smoothing must lie in \[0, 1\), got 1"),
    ):
        with pytest.raises(UserError, match=message):
            build_loss("SelectiveCrossEntropy", EYE, options)


def test_losses_of_others_take_weights_by_voxels_too() -> None:
    """Class-balanced focal loss (Cui et al. 2019): MONAI's focal loss with these weights."""
    logits, target = random_batch((6, 5, 4), 3)
    weights = class_weights({"effective_number": 0.99}, [400, 20, 5])
    theirs = FocalLoss(gamma=2, weight=weights, use_softmax=True, to_onehot_y=True)(logits, target[:, None])
    options = {"gamma": 2, "weight": {"effective_number": 0.99}}
    ours = build_loss("monai.FocalLoss", EYE, options, [400, 20, 5])
    assert float(ours(logits, target)) == pytest.approx(float(theirs), rel=1e-6)
    plain = build_loss("torch.CrossEntropyLoss", EYE, {"weight": "frequency"}, [4, 2, 1])
    expected = torch.nn.CrossEntropyLoss(torch.tensor([3 / 7, 6 / 7, 12 / 7]))(logits, target)
    assert float(plain(logits, target)) == pytest.approx(float(expected), rel=1e-6)
    assert by_voxels(options) and not by_voxels({"weight": [1, 2, 3]}) and not by_voxels({})
    with pytest.raises(UserError, match="a weight per class needs cohorts that draw all labels"):
        build_loss("monai.FocalLoss", SETS, options)
