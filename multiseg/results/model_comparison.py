"""Are the differences between models more than chance? The subject is the unit of everything here.

The labels of a case are not independent, neither are the cases of a subject, nor seeds, which share their test cases.
So values are averaged over the labels of a case, then over seeds, then over the cases of a subject, then over subjects.
What happens to undefined values stands in `summaries`. All functions take tidy rows with the columns of `summaries.KEY`
and a column of values.

The question is what these networks would do on other subjects. What other training seeds, or other training cases,
would have made of them is another one, for replicates: see `replicates`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import pandas as pd

from multiseg_core.errors import UserError, suggest

from .bootstrap import RESAMPLES, bootstrap_interval, max_t, mean_defined, rank_shares, resampled_means
from .effect_sizes import ALPHA, cases_needed, effect_interval, effect_size
from .summaries import KEY, with_correct_emptiness
from .thesis_test import wilcoxon_p


def model_means(metrics: pd.DataFrame, value: str = "dice") -> pd.DataFrame:
    """Return the mean of every model over subjects, with a 95 % bootstrap interval over subjects and seeds.

    Each model's mean is over the subjects that it has values for, and over the labels that it has values for in them,
    so means of models with gaps are not to be subtracted; `paired_comparison` takes care of that.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to average.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, n_subjects, n_seeds, mean, low, high``. See `bootstrap.bootstrap_interval` for the
        interval; it does not know that Dice ends at 1, and is NaN for fewer than `LEAST_UNITS` subjects.
    """
    rows = []
    for scenario, part, values, models in _scenarios(metrics, value):
        per_seed = _by_subject(mean_defined(values, axis=-1), part)  # (M, S, U)
        resampled = resampled_means(per_seed)
        for m, model in enumerate(models):
            subjects = mean_defined(per_seed[m], axis=0)
            mean, n = float(mean_defined(subjects, 0)), int((~np.isnan(subjects)).sum())
            interval = bootstrap_interval(mean, resampled[:, m], n)
            rows.append((scenario, model, *_counts(per_seed[m]), mean, *interval))
    return pd.DataFrame(rows, columns=["scenario", "model", "n_subjects", "n_seeds", "mean", "low", "high"])


_PAIR_COLUMNS = (
    "scenario", "model_a", "model_b", "n_subjects", "n_seeds", "mean_a", "mean_b", "difference", "low", "high",
    "effect", "effect_low", "effect_high", "p", "p_holm", "significant",
)  # fmt: skip


def paired_comparison(
    metrics: pd.DataFrame,
    value: str = "dice",
    *,
    contrasts: Sequence[tuple[str, str]] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare pairs of models of each scenario, with the subject as the unit.

    A value counts where both models of the pair have one for the same seed, case and label.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to compare.
    contrasts
        Pairs that were named beforehand; all pairs by default. The fewer, the narrower their intervals.
    resamples, seed
        Of the intervals. Equal seeds give equal intervals, and a scenario's do not depend on other scenarios.

    Returns
    -------
    pd.DataFrame
        One row per pair:

        - ``scenario, model_a, model_b``
        - ``n_subjects, n_seeds``: those with values of both models
        - ``mean_a, mean_b, difference``: means over subjects; a - b
        - ``low, high``: interval of the mean difference. The intervals of a scenario hold together: all of them cover
          the truth at once with a confidence of 95 % (`bootstrap.max_t`). NaN for fewer than `LEAST_UNITS`.
        - ``effect, effect_low, effect_high``: Cohen's d_z over subjects, its interval by noncentral t (`effect_sizes`)
        - ``p, p_holm``: Wilcoxon's signed-rank test over subjects, and corrected over the scenario's pairs by Holm's
          method; for reference
        - ``significant``: the interval excludes 0

        A pair that has no value in common has n_subjects 0 and NaN, and does not count in the correction. No rows where
        every scenario has a single model.

    Raises
    ------
    UserError
        For infinite values, such as Hausdorff distances of empty predictions: their mean says nothing, and leaving them
        out would favour models that predict nothing; and for a contrast of a model that no scenario has.
    """
    known = list(dict.fromkeys(metrics["model"]))
    for name in (name for pair in contrasts or () for name in pair):
        if name not in known:
            raise UserError(f"contrast: no model '{name}'{suggest(name, known)}; the models are {', '.join(known)}")
    tables = []
    for scenario, part, values, models in _scenarios(metrics, value):
        places = {model: m for m, model in enumerate(models)}
        pairs = list(itertools.combinations(range(len(models)), 2))
        if contrasts is not None:
            pairs = [(places[a], places[b]) for a, b in contrasts if a in places and b in places]
        if not pairs:
            continue
        # pair by pair, as the full arrays of all pairs may be large
        per_seed = np.stack([_by_subject(mean_defined((values[a] - values[b])[None], -1), part)[0] for a, b in pairs])
        resampled = resampled_means(per_seed, resamples, seed)
        per_subject = mean_defined(per_seed, axis=1)  # (P, U)
        factor = max_t(per_subject, seed)
        rows = []
        for p, (a, b) in enumerate(pairs):
            # differences that are equal on paper are to be equal here: ties count in the test, and so does "none"
            differences = np.round(per_subject[p][~np.isnan(per_subject[p])], 12)
            both = ~np.isnan(values[a] - values[b])
            n, effect = len(differences), effect_size(differences)
            difference = float(mean_defined(per_subject[p], 0))
            rows.append(
                (
                    *(scenario, models[a], models[b], *_counts(per_seed[p])),
                    *(_mean(values[a], both, part), _mean(values[b], both, part), difference),
                    *bootstrap_interval(difference, resampled[:, p], n, factor),
                    *(effect, *effect_interval(effect, n), wilcoxon_p(differences) if n else np.nan),
                )
            )
        table = pd.DataFrame(rows, columns=list(_PAIR_COLUMNS[:-2]))
        table["p_holm"] = holm(table["p"].to_numpy())
        table["significant"] = (table["low"] > 0) | (table["high"] < 0)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_PAIR_COLUMNS)


def non_inferiority(comparison: pd.DataFrame, margin: float, higher_is_better: bool = True) -> pd.DataFrame:
    """Judge "the first model is not worse than the second by more than a margin" from `paired_comparison`.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n_subjects, difference, low, high, margin, verdict``: *holds* if the whole
        interval lies on the right side of the margin, *does not hold* if all of it lies on the other, else
        *inconclusive*. The interval is two-sided, so each one-sided error is half of what the interval may err.
    """
    table = comparison[["scenario", "model_a", "model_b", "n_subjects", "difference", "low", "high"]].copy()
    worst, best = (table["low"], table["high"]) if higher_is_better else (-table["high"], -table["low"])
    table["margin"] = margin
    table["verdict"] = np.select([worst > -margin, best <= -margin], ["holds", "does not hold"], "inconclusive")
    return table


def rank_stability(
    metrics: pd.DataFrame, value: str = "dice", higher_is_better: bool = True, *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Return how often each model takes each rank when subjects and seeds are drawn again (bootstrap).

    A ranking that other subjects would turn round is no ranking (Maier-Hein et al. 2018, Nature Communications 9, 5217;
    Wiesenfarth et al. 2021, Scientific Reports 11, 2369, whose bootstrap of ranks this is). Models are ranked by their
    mean over subjects. Only values that all models of the scenario have for the same seed, case and label count.

    Parameters
    ----------
    metrics, value
        Tidy rows (see the module) and the column to rank by.
    higher_is_better
        False for distances.
    resamples
        Of the bootstrap.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, n_subjects, n_seeds, mean`` and ``rank_1, rank_2, ...``, shares that add up to 1 over ranks
        and over models; the best mean first. Models with equal means share their ranks. NaN where the models of a
        scenario have no value in common, and for ranks that a smaller scenario does not have.
    """
    tables = []
    for scenario, part, values, models in _scenarios(metrics, value):
        values = np.where(np.isnan(values).any(axis=0), np.nan, values)
        per_seed = _by_subject(mean_defined(values, axis=-1), part)  # (M, S, U)
        means = mean_defined(mean_defined(per_seed, 1), 1)
        shares = rank_shares((1 if higher_is_better else -1) * resampled_means(per_seed, resamples))
        rows = [(scenario, model, *_counts(per_seed[m]), means[m], *shares[m]) for m, model in enumerate(models)]
        ranks = [f"rank_{rank}" for rank in range(1, len(models) + 1)]
        table = pd.DataFrame(rows, columns=["scenario", "model", "n_subjects", "n_seeds", "mean", *ranks])
        tables.append(table.sort_values("mean", ascending=not higher_is_better, kind="stable"))
    return pd.concat(tables, ignore_index=True)


def subjects_table(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return how many subjects a new study would need to see the differences that this one observed.

    Parameters
    ----------
    comparison
        From `paired_comparison`.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n_subjects, difference, effect``; ``subjects_needed`` for a two-sided paired t
        test of this pair alone with a power of 0.8, and ``subjects_needed_corrected`` for one at alpha over the number
        of the scenario's pairs, the strictest step of Holm's correction. Infinite where there is no difference, NaN
        with fewer than two subjects; see `effect_sizes.cases_needed`.
    """
    table = comparison[["scenario", "model_a", "model_b", "n_subjects", "difference", "effect"]]
    pairs = comparison["p"].notna().groupby(comparison["scenario"]).transform("sum")
    strictest = [cases_needed(e, ALPHA / max(m, 1)) for e, m in zip(table["effect"], pairs, strict=True)]
    return table.assign(subjects_needed=table["effect"].map(cases_needed), subjects_needed_corrected=strictest)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for their number by Holm's step-down method (Holm 1979, Scand. J. Statist. 6, 65-70).

    Valid whatever the dependence of the tests, and never less powerful than Bonferroni's. NaN is left out and stays.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted to the end
    steps = np.asarray(p)[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _scenarios(metrics: pd.DataFrame, value: str) -> Iterator[tuple[Hashable, pd.DataFrame, np.ndarray, list[str]]]:
    """Yield each scenario: name, rows, values (models, seeds, cases, labels), NaN where no row is, and the models."""
    for scenario, rows in metrics.groupby("scenario", sort=False):
        part = with_correct_emptiness(rows, value)
        if np.isinf(part[value].to_numpy(dtype=float)).any():
            raise UserError(
                f"'{value}' has infinite values; give them a finite worst value first (left out, they would favour "
                "models that predict nothing)"
            )
        if part.duplicated(list(KEY)).any():
            row = part.loc[part.duplicated(list(KEY)), list(KEY)].iloc[0]
            raise UserError(f"two rows for {', '.join(f'{name} {cell}' for name, cell in row.items())}")
        codes = tuple(
            part.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
            for names in (["model"], ["replicate", "seed"], ["cohort", "case"], ["label"])
        )
        values = np.full([1 + code.max() for code in codes], np.nan)
        values[codes] = part[value]
        yield scenario, part, values, [str(model) for model in dict.fromkeys(part["model"])]


def _by_subject(values: np.ndarray, part: pd.DataFrame) -> np.ndarray:
    """Average the cases of each subject: (K, S, C) values of the cases of `part`, in their order, to (K, S, U)."""
    cases = part[["cohort", "subject", "case"]].drop_duplicates(["cohort", "case"])
    units = cases.groupby(["cohort", "subject"], sort=False, dropna=False).ngroup().to_numpy()
    if len(np.unique(units)) == len(units):
        return values
    return np.stack([mean_defined(values[..., units == u], -1) for u in range(1 + units.max())], axis=-1)


def _mean(values: np.ndarray, counted: np.ndarray, part: pd.DataFrame) -> float:
    """Return the mean over labels, then seeds, cases and subjects of (S, C, L) values where they count."""
    per_seed = _by_subject(mean_defined(np.where(counted, values, np.nan), 2)[None], part)[0]
    return float(mean_defined(mean_defined(per_seed, 0), 0))


def _counts(per_seed: np.ndarray) -> tuple[int, int]:
    """Return how many subjects and seeds of (S, U) values have any."""
    defined = ~np.isnan(per_seed)
    return int(defined.any(axis=0).sum()), int(defined.any(axis=1).sum())
