"""What holds for any manifest, label map and geometry, on examples that hypothesis thinks up."""

import os
import string
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiseg.data.cohorts import Case
from multiseg.data.prepare import prepare
from multiseg.data.sources.table import read_manifest
from multiseg.data.target_sets import filled_sets, filled_table
from multiseg.report import notebooks, pages
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg.study import runs
from multiseg.study.check import check_study
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.labels import BACKGROUND, IGNORE, CodeMap, LabelSpace
from multiseg_core.resampling import most_probable_on
from tests.conftest import ROOT, ball, save, toy_case

DETERMINISTIC = settings(
    max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

names = st.text(st.sampled_from(string.ascii_letters + string.digits + "_-. ñ,;\"'"), min_size=1, max_size=12)
cells = st.one_of(
    st.just(""), names, st.sampled_from(["train", "test", "val", "a.nii", "b.nii.gz", "~/c.nii", "../d.nii"])
)
LABELS = ("csf", "gm", "wm", "wmh")


@DETERMINISTIC
@given(
    st.lists(st.sampled_from(["case", "labels", "T1", "FLAIR", "split", "subject", "age", ""]), min_size=1, max_size=7),
    st.lists(st.lists(cells, min_size=1, max_size=7), max_size=6),
)
def test_a_manifest_is_read_or_told_to_be_wrong(columns: list[str], rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [columns, *rows]]
        path.write_text("\n".join(quoted), encoding="utf-8")
        try:
            cases, modalities, others = read_manifest("c", path)
        except UserError as error:
            assert str(error) and all("m.csv" in line for line in str(error).split("\n"))
            return
    assert len({case.name for case in cases}) == len(cases) > 0
    assert not set(modalities) & set(others)
    assert all(case.images and set(case.images) <= set(modalities) and case.labels for case in cases)


values = st.one_of(
    st.sampled_from([BACKGROUND, IGNORE, *LABELS]),
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True),
)


@DETERMINISTIC
@given(
    st.dictionaries(st.one_of(st.integers(-3, 300), st.just("other")), values, max_size=6),
    st.lists(st.sampled_from(LABELS), unique=True, max_size=2),
    st.lists(st.integers(-5, 305), min_size=1, max_size=30),
)
def test_codes_become_what_the_map_says(codes: dict, absent: list[str], found: list[int]) -> None:
    try:
        code_map = CodeMap.build(LABELS, codes, absent)
    except UserError:
        drawn = {n for v in codes.values() for n in ([v] if isinstance(v, str) else v)} - {BACKGROUND, IGNORE}
        assert drawn & set(absent)
        return
    volume = np.array(found)
    known = {0: BACKGROUND, **codes}
    if "other" not in codes and not set(found) <= known.keys():
        with pytest.raises(UserError, match="no mapping"):
            code_map.translate(volume)
        return
    background = {BACKGROUND, *LABELS} - set(code_map.annotates) - set(absent)
    for code, at in zip(found, code_map.translate(volume), strict=True):
        value = known.get(code, codes.get("other"))
        meant = {BACKGROUND: background, IGNORE: {BACKGROUND, *LABELS}}.get(value if isinstance(value, str) else "")
        assert code_map.sets[at] == (meant or {value} if isinstance(value, str) else set(value))
    # every network that learns some of the labels can express every set of the cohort
    for k in range(1, len(LABELS) + 1):
        space = LabelSpace.covering(LABELS[:k], code_map.sets)
        rows = space.lookup(code_map.sets)
        kept = [s & set(space.classes) or set(space.classes) for s in code_map.sets]
        assert [set(space.rows[row]) for row in rows] == kept
        assert space.lookup(code_map.sets, naive=True).max() < space.n_classes


@DETERMINISTIC
@given(st.dictionaries(st.integers(1, 4), st.sampled_from(LABELS), max_size=3), st.permutations([1, 2, 3, 4]))
def test_filling_a_background_never_changes_what_was_drawn(codes: dict[int, str], order: list[int]) -> None:
    drawn = CodeMap.build(LABELS, codes)
    truth = CodeMap.build(LABELS, dict(zip(order, LABELS, strict=True)))
    table, sets = filled_table(drawn.sets, truth.sets), filled_sets(drawn.sets, truth.sets)
    for s, members in enumerate(drawn.sets):
        for t, true in enumerate(truth.sets):
            filled = sets[table[s, t]]
            if s:
                assert filled == members
            else:
                assert filled == (true if true <= members else {BACKGROUND})


@settings(DETERMINISTIC, max_examples=12)
@given(
    st.tuples(*(st.floats(0.5, 3.0) for _ in range(3))),
    st.permutations([0, 1, 2]),
    st.tuples(*(st.sampled_from([-1, 1]) for _ in range(3))),
    st.floats(0, 30),
    st.sampled_from([None, 1.0, 1.7]),
    st.sampled_from(["closest_canonical", "world", "native"]),
)
def test_any_geometry_comes_back_to_where_it_was(
    size: tuple[float, ...], order: list[int], signs: tuple[int, ...], degrees: float, spacing: float | None, how: str
) -> None:
    """A ball of labels: its volume and its centre survive the way to the store and back, whatever the affine."""
    shape = tuple(int(np.ceil(30 / size[axis])) for axis in order)
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (rotation @ np.diag(np.multiply(size, signs)))[:, order]
    affine[:3, 3] = [7, -20, 3]
    centre = nib.affines.apply_affine(affine, (np.array(shape) - 1) / 2)
    at = nib.affines.apply_affine(affine, np.stack(np.indices(shape), -1))
    distance = np.linalg.norm(at - centre, axis=-1)
    labels = (distance < 9).astype(np.uint8)
    image = np.where(distance < 12, np.random.default_rng(0).normal(100, 10, shape), 0).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        t1, seg = save(Path(folder) / "t1.nii.gz", image, affine), save(Path(folder) / "seg.nii.gz", labels, affine)
        params = PreprocessingParams(spacing_mm=spacing, orientation=how)  # type: ignore[arg-type]
        prepared = prepare(Case("c", "1", {"T1": t1}, seg), params, CodeMap.build(("gm",), {1: "gm"}))
    assert prepared.target is not None
    stored = np.argwhere(prepared.target == 1)
    moved = nib.affines.apply_affine(prepared.grid.affine, stored).mean(0) - centre
    assert np.abs(moved).max() < 0.35 and len(stored) * np.abs(
        np.linalg.det(prepared.grid.affine)
    ) > 0.9 * labels.sum() * np.prod(size)
    one_hot = np.stack([prepared.target == k for k in range(2)]).astype(np.float32)
    back = most_probable_on(one_hot, prepared.grid, prepared.native_grid)
    dice = 2 * (back & labels).sum() / (back.sum() + labels.sum())
    assert back.shape == shape and dice > 0.85


@pytest.mark.campaign
@settings(DETERMINISTIC, max_examples=int(os.environ.get("CAMPAIGN_STUDIES", "20")))
@given(
    st.lists(
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    st.integers(0, 2**16),
    st.sampled_from(["", "spacing_mm: null", "crop: false", "orientation: native", "clip_percentiles: [1, 99]"]),
    st.sampled_from(["cross_entropy", "selective_cross_entropy", "dice", "selective_dice", "multi_unet"]),
    st.booleans(),
)
def test_whatever_passes_check_trains_and_reports(
    labels: list[str], seed: int, preprocessing: str, model: str, two_cohorts: bool
) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quoted = ["'" + label.replace("'", "''") + "'" for label in labels]
        halves = (
            [quoted[: len(quoted) // 2], quoted[len(quoted) // 2 :]] if two_cohorts and len(quoted) > 1 else [quoted]
        )
        cohorts = []
        for c, part in enumerate(halves):
            rows = ["case,T1,labels,split"]
            for i in range(3):
                drawn = rng.integers(0, 1 + len(part), (14, 14, 14)) * ball((14, 14, 14), (6.5, 6.5, 6.5), 5)
                files = toy_case(folder, f"c{c}_{i}", drawn, seed=i + 10 * c)
                rows.append(f"{i},{files['T1'].name},{files['labels'].name},{'test' if i == 2 else ''}")
            (folder / f"c{c}.csv").write_text("\n".join(rows))
            codes = ", ".join(f"{k}: {label}" for k, label in enumerate(part, start=1))
            cohorts.append(f"  c{c}: {{source: table, manifest: c{c}.csv, codes: {{{codes}}}}}")
        file = folder / "any.yaml"
        settings_ = "{spacing_mm: 1}" if not preprocessing else f"{{spacing_mm: 1, {preprocessing}}}"
        if preprocessing.startswith("spacing"):
            settings_ = f"{{{preprocessing}}}"
        file.write_text(
            "cohorts:\n" + "\n".join(cohorts) + f"\npreprocessing: {settings_}\n"
            "network: {name: unet, base_filters: 2, levels: 2}\n"
            "training: {steps: 2, batch_size: 2, patch_size: [8, 8, 8], validation_every: 1, validation_patches: 1, "
            "validation_patch_size: [8, 8, 8], patience: null}\nprecision: float32\n"
            f"scenarios:\n  s: {{train: [{', '.join(f'c{c}' for c in range(len(halves)))}], test: c0, "
            f"modalities: [T1], models: [{model}]}}\n",
            encoding="utf-8",
        )
        try:
            study = Study(file)
            found = check_study(study)
        except UserError:
            return
        if found.errors:
            return
        plan = notebooks.planned_notebooks(study, ROOT / "notebooks")
        runs.finish_runs(study)
        assert pages.make_pages(study, plan, 1) == {}
        assert (study.folder / "metrics.csv").exists()
