"""How large is a difference, and how many cases would show it?"""

from __future__ import annotations

import bisect
import math

import numpy as np
from scipy import optimize, stats

from .bootstrap import CONFIDENCE

ALPHA = 0.05
POWER = 0.8
_LARGE = 100_000  # cases from which the normal approximation is exact to a case in a thousand


def effect_size(differences: np.ndarray) -> float:
    """Return Cohen's d_z: the mean of paired differences over their standard deviation (Cohen 1988, 2.3.5).

    Of (n,) differences, one per case, without NaN; NaN for fewer than two. If all are equal, d_z is infinite, or 0 if
    all are 0.
    """
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:  # the standard deviation of equal numbers need not be exactly 0
        return math.copysign(math.inf, differences[0]) if differences[0] else 0.0
    return float(np.mean(differences) / np.std(differences, ddof=1))


def effect_interval(effect: float, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of d_z of n cases, from the noncentral t distribution.

    The bounds are the effects under which a d_z as large, or as small, as this has a probability of 0.025 (Cumming &
    Finch 2001, Educational and Psychological Measurement 61, 532-574). Differences are taken for normal. NaN for fewer
    than two cases and for an effect that is not finite.
    """
    if n < 2 or not math.isfinite(effect):
        return float("nan"), float("nan")
    if effect < 0:  # scipy's noncentral t is the more exact in the upper tail
        low, high = effect_interval(-effect, n)
        return -high, -low
    t, tail = effect * math.sqrt(n), (1 - CONFIDENCE) / 2

    def bound(probability: float, low: float, high: float) -> float:
        found = optimize.brentq(lambda shift: stats.nct.cdf(t, n - 1, shift) - probability, low, high)
        return float(found) / math.sqrt(n)

    # T = (Z + noncentrality) / X, with X**2 a mean square; brackets from what Z alone, or Z and X apart, can do
    furthest = t * math.sqrt(stats.chi2.isf(tail / 2, n - 1) / (n - 1)) + stats.norm.isf(tail / 2)
    return bound(1 - tail, -stats.norm.isf(tail) - 0.1, t), bound(tail, t, furthest)


def power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """Return the power of the two-sided paired t test for an effect d_z with n cases.

    By the noncentral F distribution of t squared: one term instead of two tails, and scipy's noncentral t gives NaN for
    some large effects.
    """
    return float(stats.ncf.sf(stats.f.isf(alpha, 1, n - 1), 1, n - 1, effect**2 * n))


def cases_needed(effect: float, alpha: float = ALPHA, power_wanted: float = POWER) -> float:
    """Return the smallest number of cases with which a two-sided paired t test sees an effect d_z.

    The observed effect is uncertain itself, so this is a guide for planning (Cohen 1988, 2.4), not a statement about
    the comparison that the effect was taken from. Wilcoxon's test needs about 5 % more cases where differences are
    normal (its efficiency is 3 / pi), and fewer where they have long tails.

    Parameters
    ----------
    effect
        d_z, of either sign.
    alpha, power_wanted
        Level of the test, and the probability to find the effect. For the strictest of m tests under Holm's
        correction, give alpha / m.

    The number is infinite for no effect, NaN for NaN. An infinite effect (all differences equal) needs the two cases
    that a t test needs at least.
    """
    if math.isnan(effect):
        return float("nan")
    if effect == 0:
        return math.inf
    if math.isinf(effect):
        return 2.0
    normal = ((stats.norm.isf(alpha / 2) + stats.norm.isf(1 - power_wanted)) / effect) ** 2
    if normal > _LARGE:
        return float(math.ceil(normal))
    # power grows with n, and t needs somewhat more cases than the normal approximation, many more where they are few
    high = 2
    while power(effect, high, alpha) < power_wanted:
        high *= 2
    enough = bisect.bisect_left(
        range(high), True, lo=high // 2 + 1, key=lambda n: power(effect, n, alpha) >= power_wanted
    )
    return float(enough)
