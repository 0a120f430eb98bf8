"""Are the differences between models more than chance?

All functions take the tidy rows of a study's ``metrics.csv``: ``scenario, model, seed, cohort, case, label`` and a
column of values. But for the thesis's own test, the case is the unit: its labels are not independent, and neither are
the seeds, which share their test cases. Values are averaged over the labels of a case, then over seeds, then over
cases. NaN (the label is neither in the target nor predicted) is left out: a label that a case does not have drops out
of that case's mean, for all models that are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .effects import ALPHA, POWER, cases_needed, effect_interval, effect_size
from .errors import UserError
from .resampling import CONFIDENCE, RESAMPLES, bootstrap_interval, mean_defined, rank_shares, resampled_means

KEY = ("scenario", "model", "seed", "cohort", "case", "label")


# -- as in the thesis ----------------------------------------------------------------------------------------------


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario and model: one column per label and ``mean`` over labels and cases.

    Undefined values (NaN: the label is neither in the target nor predicted) are left out of the means.
    """
    table = metrics.pivot_table(index=["scenario", "model"], columns="label", values="dice", sort=False)
    table["mean"] = metrics.groupby(["scenario", "model"], sort=False)["dice"].mean()
    return table


def thesis_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of models as the thesis does (6.1).

    Wilcoxon's signed-rank test on the Dice of all (image, label) pairs, Bonferroni-corrected over the pairs of models
    of a scenario; several seeds are averaged first. Labels of one image are not independent, so its n is inflated and
    its p values are too small; see `case_test` for the sound comparison.

    Parameters
    ----------
    metrics
        Tidy rows with ``scenario, model, seed, case, label, dice``. An undefined Dice counts as 0, the thesis's rule.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n, mean_a, mean_b, difference, p, p_corrected, significant``.
    """
    return _compare(metrics.assign(dice=metrics["dice"].fillna(0)), ["cohort", "case", "label"])


def case_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of models with the case as the unit.

    Dice is averaged over labels and seeds of a case first; then Wilcoxon's signed-rank test over cases, Bonferroni-
    corrected, and a 95 % interval of the mean difference (Student's t over cases). With few cases even a difference of
    one sign in every case cannot reach significance after correction; the interval then says more than p. A value that
    is undefined for one of the two models is left out for both.

    Returns
    -------
    pd.DataFrame
        As `thesis_test`, with ``low`` and ``high``.
    """
    return _compare(metrics, ["cohort", "case"], interval=True)


def _compare(metrics: pd.DataFrame, unit: Sequence[str], interval: bool = False) -> pd.DataFrame:
    rows = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        values = part.pivot_table(
            index=["seed", "cohort", "case", "label"], columns="model", values="dice", sort=False, dropna=False
        )
        models = list(dict.fromkeys(part["model"]))
        pairs = list(itertools.combinations(models, 2))
        for a, b in pairs:
            # only pairs with a value for both models count, then each unit weighs the same
            both = values[[a, b]].dropna().groupby(level=list(unit), sort=False).mean()
            difference = (both[a] - both[b]).to_numpy()
            p = wilcoxon_p(difference)
            row = {
                "scenario": scenario,
                "model_a": a,
                "model_b": b,
                "n": len(both),
                "mean_a": both[a].mean(),
                "mean_b": both[b].mean(),
                "difference": difference.mean() if len(difference) else np.nan,
                "p": p,
                "p_corrected": min(p * len(pairs), 1.0),
            }
            row["significant"] = bool(row["p_corrected"] < ALPHA)
            if interval:
                row["low"], row["high"] = t_interval(difference)
            rows.append(row)
    return pd.DataFrame(rows)


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 if there is no difference at all, or nothing to compare."""
    if not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def t_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; NaN for fewer than two values, the value itself if all are equal."""
    if len(values) < 2:
        return float("nan"), float("nan")
    error = stats.sem(values)
    if error == 0:
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=error)
    return float(low), float(high)


# -- with the case as the unit -------------------------------------------------------------------------------------


def model_means(
    metrics: pd.DataFrame,
    value: str = "dice",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the mean of every model over cases, with a bootstrap interval over cases and seeds.

    Each model's mean is over the cases that it has values for, and over the labels that it has values for in them, so
    means of models with gaps are not to be subtracted; `paired_comparison` takes care of that.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to average.
    confidence, resamples, seed
        Of the interval; equal seeds give equal intervals.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, n_cases, n_seeds, mean, low, high``. See `resampling.bootstrap_interval` for the
        interval; it does not know that Dice ends at 1.
    """
    rows = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        values, models = _cube(part, value)
        per_seed = mean_defined(values, axis=-1)  # (M, S, C)
        resampled = resampled_means(per_seed, resamples, seed)
        for m, model in enumerate(models):
            cases = mean_defined(per_seed[m], axis=0)
            mean, n = float(mean_defined(cases, 0)), int((~np.isnan(cases)).sum())
            low, high = bootstrap_interval(mean, resampled[:, m], n, confidence)
            rows.append(
                {
                    "scenario": scenario, "model": model, **_counts(per_seed[m]), "mean": mean,
                    "low": low, "high": high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


_PAIR_COLUMNS = (
    "scenario", "model_a", "model_b", "n_cases", "n_seeds", "mean_a", "mean_b", "difference", "low", "high",
    "effect", "effect_low", "effect_high", "p", "p_holm", "significant",
)  # fmt: skip


def paired_comparison(
    metrics: pd.DataFrame,
    value: str = "dice",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare all pairs of models of each scenario, with the case as the unit.

    A value counts where both models of the pair have one for the same seed, case and label. The differences are
    averaged over the labels of a case, then over seeds, then over cases.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to compare.
    confidence, resamples, seed
        Of the intervals. Equal seeds give equal intervals, and a scenario's do not depend on other scenarios.

    Returns
    -------
    pd.DataFrame
        One row per pair:

        - ``scenario, model_a, model_b``
        - ``n_cases, n_seeds``: those with values of both models
        - ``mean_a, mean_b, difference``: means over cases; a - b
        - ``low, high``: interval of the mean difference by a bootstrap of cases and seeds (`resampling`)
        - ``effect, effect_low, effect_high``: Cohen's d_z over cases, its interval by noncentral t (`effects`)
        - ``p, p_holm, significant``: Wilcoxon's signed-rank test over cases, corrected over the scenario's pairs by
          Holm's method, and p_holm < 0.05. It asks about these networks on other cases: chance between seeds is in the
          interval of the difference, not in p.

        A pair that has no value in common has n_cases 0 and NaN, and does not count in the correction. No rows where every
        scenario has a single model.

    Raises
    ------
    UserError
        For infinite values, such as Hausdorff distances of empty predictions: their mean says nothing, and leaving them
        out would favour models that predict nothing.

    Notes
    -----
    The smallest p that n cases can reach is 2 / 2^n: five cases never get below 0.0625, whatever the difference.
    """
    tables = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        values, models = _cube(part, value)
        pairs = list(itertools.combinations(range(len(models)), 2))
        if not pairs:
            continue
        # pair by pair, as the full arrays of all pairs may be large
        per_seed = np.stack([mean_defined(values[a] - values[b], axis=-1) for a, b in pairs])  # (P, S, C)
        resampled = resampled_means(per_seed, resamples, seed)
        rows = []
        for p, (a, b) in enumerate(pairs):
            cases = mean_defined(per_seed[p], axis=0)
            # differences that are equal on paper are to be equal here: ties count in the test, and so does "none"
            differences = np.round(cases[~np.isnan(cases)], 12)
            both = ~np.isnan(values[a] - values[b])
            n = len(differences)
            effect = effect_size(differences)
            difference = float(mean_defined(cases, 0))
            low, high = bootstrap_interval(difference, resampled[:, p], n, confidence)
            effect_low, effect_high = effect_interval(effect, n, confidence)
            rows.append(
                {
                    "scenario": scenario, "model_a": models[a], "model_b": models[b], **_counts(per_seed[p]),
                    "mean_a": _mean(values[a], both), "mean_b": _mean(values[b], both),
                    "difference": difference, "low": low, "high": high,
                    "effect": effect, "effect_low": effect_low, "effect_high": effect_high,
                    "p": wilcoxon_p(differences) if n else np.nan,
                }
            )  # fmt: skip
        table = pd.DataFrame(rows)
        table["p_holm"] = holm(table["p"].to_numpy())
        table["significant"] = table["p_holm"] < ALPHA
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_PAIR_COLUMNS)


def rank_stability(
    metrics: pd.DataFrame,
    value: str = "dice",
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how often each model takes each rank when cases and seeds are drawn again (bootstrap).

    A ranking that other cases would turn round is no ranking (Maier-Hein et al. 2018, Nature Communications 9, 5217;
    Wiesenfarth et al. 2021, Scientific Reports 11, 2369, whose bootstrap of ranks this is). Models are ranked by their
    mean over cases. Only values that all models of the scenario have for the same seed, case and label count.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to rank by.
    higher_is_better
        False for distances.
    resamples, seed
        Of the bootstrap.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, n_cases, n_seeds, mean`` and ``rank_1, rank_2, ...``, shares that add up to 1 over ranks and
        over models; the best mean first. Models with equal means share their ranks. NaN where the models of a scenario
        have no value in common, and for ranks that a smaller scenario does not have.
    """
    tables = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        values, models = _cube(part, value)
        values = np.where(np.isnan(values).any(axis=0), np.nan, values)
        per_seed = mean_defined(values, axis=-1)  # (M, S, C)
        sign = 1 if higher_is_better else -1
        shares = rank_shares(sign * resampled_means(per_seed, resamples, seed))
        rows = [
            {
                "scenario": scenario, "model": model, **_counts(per_seed[m]),
                "mean": float(mean_defined(mean_defined(per_seed[m], 0), 0)),
                **{f"rank_{r}": share for r, share in enumerate(shares[m], start=1)},
            }
            for m, model in enumerate(models)
        ]  # fmt: skip
        tables.append(pd.DataFrame(rows).sort_values("mean", ascending=not higher_is_better, kind="stable"))
    return pd.concat(tables, ignore_index=True)


def cases_table(comparison: pd.DataFrame, alpha: float = ALPHA, power: float = POWER) -> pd.DataFrame:
    """Return how many cases a new study would need to see the differences that this one observed.

    Parameters
    ----------
    comparison
        From `paired_comparison`.
    alpha, power
        Level and power of the two-sided paired t test.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n_cases, difference, effect``; ``cases_needed`` for a test of this pair alone,
        and ``cases_needed_corrected`` for one at alpha over the number of the scenario's pairs, the strictest step of
        Holm's correction. Infinite where there is no difference, NaN with fewer than two cases; see
        `effects.cases_needed`.
    """
    columns = ["scenario", "model_a", "model_b", "n_cases", "difference", "effect"]
    if comparison.empty:
        return pd.DataFrame(columns=[*columns, "cases_needed", "cases_needed_corrected"])
    pairs = comparison["p"].notna().groupby(comparison["scenario"]).transform("sum")
    return comparison[columns].assign(
        cases_needed=[cases_needed(e, alpha, power) for e in comparison["effect"]],
        cases_needed_corrected=[
            cases_needed(e, alpha / max(m, 1), power) for e, m in zip(comparison["effect"], pairs, strict=True)
        ],
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for their number by Holm's step-down method (Holm 1979, Scand. J. Statist. 6, 65-70).

    Valid whatever the dependence of the tests, and never less powerful than Bonferroni's. NaN is left out and stays.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted to the end
    steps = np.asarray(p)[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _cube(part: pd.DataFrame, value: str) -> tuple[np.ndarray, list[str]]:
    """Return the values of one scenario as (models, seeds, cases, labels), NaN where no row is, and the models."""
    if np.isinf(part[value].to_numpy(dtype=float)).any():
        raise UserError(
            f"'{value}' has infinite values; give them a finite worst value first (left out, they would favour models "
            "that predict nothing)"
        )
    if part.duplicated(list(KEY)).any():
        row = part.loc[part.duplicated(list(KEY)), list(KEY)].iloc[0]
        raise UserError(f"two rows for {', '.join(f'{name} {cell}' for name, cell in row.items())}")
    codes = [
        part.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
        for names in (["model"], ["seed"], ["cohort", "case"], ["label"])
    ]
    values = np.full([1 + code.max() for code in codes], np.nan)
    values[tuple(codes)] = part[value]
    return values, [str(model) for model in dict.fromkeys(part["model"])]


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    """Return the mean over labels, then seeds, then cases of (S, C, L) values where they count."""
    kept = np.where(counted, values, np.nan)
    return float(mean_defined(mean_defined(mean_defined(kept, 2), 0), 0))


def _counts(per_seed: np.ndarray) -> dict[str, int]:
    """Return how many cases and seeds of (S, C) values have any."""
    defined = ~np.isnan(per_seed)
    return {"n_cases": int(defined.any(axis=0).sum()), "n_seeds": int(defined.any(axis=1).sum())}
