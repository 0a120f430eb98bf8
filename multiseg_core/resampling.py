"""Bootstrap of a mean over cases and seeds, with missing values. Arrays in, arrays out; see `statistics` for tables.

Every seed is a network that is tested on every case, so cases and seeds are *crossed*: a lucky seed is lucky on all cases
at once. Resampling seeds within each case on its own would average that luck away over the cases, and the intervals would
be too narrow. So each resample draws cases, and draws seeds for all of them together (the pigeonhole bootstrap: Owen 2007,
Annals of Applied Statistics 1, 386-411; for one seed, the ordinary bootstrap of cases: Davison & Hinkley 1997, ch. 2 and
3.8). Labels of a case are never resampled on their own, as they are not independent: a case is drawn with all of them
(the cluster bootstrap: Field & Welsh 2007, J. R. Statist. Soc. B 69, 369-390).

How often a 95 % interval held the truth in 400 simulations of 12 cases and 3 seeds, normal, noise of .3: where seeds vary as
much as cases, .89 (seeds within cases .72, cases only .67); where they vary .3 as much, .95 (.93, .92); where they do not
vary, .96 (.95, .95). Where noise outweighs all else, the crossed bootstrap is too careful: .99 (.99, .95).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

RESAMPLES = 2000
CONFIDENCE = 0.95
_CHUNK = 4_000_000  # numbers that are in memory at once


def mean_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean over an axis of the values that are not NaN; NaN, without a warning, where there is none."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0).sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def resampled_means(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return the mean over cases of the mean over seeds, in bootstrap resamples of cases and seeds.

    Parameters
    ----------
    values
        (K, S, C): K quantities (models, or pairs of models), S seeds, C cases. NaN is left out of the means; a case
        without any value among the seeds drawn drops out of that resample.
    resamples
        Number of resamples B.
    seed
        Of the random generator. All K quantities see the same resamples.

    Returns
    -------
    np.ndarray
        (B, K); NaN where a resample holds no value at all.
    """
    _, seeds, cases = values.shape
    generator = np.random.default_rng(seed)
    # how often each case and each seed is drawn says everything about a resample
    case_counts = generator.multinomial(cases, np.full(cases, 1 / cases), resamples).astype(float)  # (B, C)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples).astype(float)  # (B, S)
    defined = (~np.isnan(values)).astype(float)
    filled = np.where(np.isnan(values), 0, values)
    parts = []
    for part in np.array_split(np.arange(resamples), -(-resamples * len(values) * cases // _CHUNK)):
        count = np.einsum("bs,ksc->bkc", seed_counts[part], defined, optimize=True)
        total = np.einsum("bs,ksc->bkc", seed_counts[part], filled, optimize=True)
        case_means = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        weight = case_counts[part][:, None, :] * (count > 0)  # (B, K, C)
        weights = weight.sum(axis=-1)
        sums = (weight * case_means).sum(axis=-1)
        parts.append(np.divide(sums, weights, out=np.full(sums.shape, np.nan), where=weights > 0))
    return np.concatenate(parts)


def expanded_interval(means: np.ndarray, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return an interval from resampled means: percentiles, moved outwards for few cases.

    The spread of resampled means is too small by sqrt((n - 1) / n), and percentiles lack the width that Student's t has
    over the normal distribution. With ten cases a plain 95 % percentile interval holds the truth about 90 % of the time;
    the expanded one takes the percentiles that make up for both (Hesterberg 2015, The American Statistician 69, 371-386).
    In the simulations that the module speaks of, it held the truth .91, .94 and .94 of the time for 5, 10 and 20 cases.
    Seeds have the first fault too, and nothing is done about it: with three seeds, the share of the variance that is due
    to them is understated by a third; with one, it is not seen at all.

    Parameters
    ----------
    means
        (B,) resampled means; NaN is left out.
    n
        Number of cases. NaN is returned for fewer than two. For fewer than about five, the interval is that from the
        smallest to the largest resampled mean, and holds the truth less often than it says.
    """
    means = means[~np.isnan(means)]
    if n < 2 or not len(means):
        return float("nan"), float("nan")
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - confidence) / 2, n - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def rank_shares(means: np.ndarray) -> np.ndarray:
    """Return the share of resamples in which each quantity takes each rank, the largest mean first.

    Quantities with equal means share the ranks that they take together: two winners have half a rank 1 each.

    Parameters
    ----------
    means
        (B, K); resamples with NaN are left out.

    Returns
    -------
    np.ndarray
        (K, K): quantity, rank. All rows and columns add up to 1; NaN if no resample is left.
    """
    # equal means may differ in the last digits by the order of summation
    means = np.round(means[~np.isnan(means).any(axis=1)], 12)
    size = means.shape[1]
    if not len(means):
        return np.full((size, size), np.nan)
    above = (means[:, None, :] > means[:, :, None]).sum(axis=2)[..., None]  # (B, K, 1)
    equal = (means[:, None, :] == means[:, :, None]).sum(axis=2)[..., None]  # with itself
    rank = np.arange(size)
    return (((above <= rank) & (rank < above + equal)) / equal).mean(axis=0)
