import json
from pathlib import Path

import pytest

from multiseg.settings.params_files import json_schema, load_params, params_files
from multiseg_core.errors import UserError
from multiseg_core.networks import UNet, build_network, count_parameters
from multiseg_core.settings import TrainingParams
from tests.conftest import ROOT

MINIMAL = """
cohorts:
  mrbrains13: {source: phantom}
scenarios:
  one: {train: [mrbrains13], test: mrbrains13, modalities: [T1]}
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return load_params(path)


def test_defaults_are_the_thesis_recipe(tmp_path: Path) -> None:
    params = load(tmp_path, MINIMAL)
    t = params.training
    assert (t.batch_size, t.patch_size, t.validation_every, t.validation_patches) == (7, [32, 32, 32], 200, 10)
    assert t.validation_patch_size == [128, 128, 128] and t.validation_fraction == 0.2
    assert params.preprocessing.spacing_mm == 1 and params.preprocessing.outside_value == -4
    p = params.preprocessing
    assert (p.orientation, p.label_interpolation, p.brain_extraction) == ("closest_canonical", "auto", "auto")
    assert p.z_score and p.crop
    assert params.network == {"name": "unet", "base_filters": 32}
    assert params.scenarios["one"].models[2] == "selective_cross_entropy"


def test_null_keeps_the_native_spacing(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "preprocessing: {spacing_mm: null}\n").preprocessing.spacing_mm is None


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    params = load(tmp_path, MINIMAL + "training: {learning_rate: 1e-3, noise_sd: 0}\n")
    assert params.training.learning_rate == 0.001 and params.training.noise_sd == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "language: ess\n", r"language: 'ess' is not one of en, es \(did you mean 'es'\?\)"),
        (MINIMAL + "figure_language: es\n", r"p.yaml: unknown key 'figure_language' \(did you mean 'language'\?\)"),
        (MINIMAL + "sedes: [1]\n", r"p.yaml: unknown key 'sedes' \(did you mean 'seeds'\?\)"),
        (
            MINIMAL + "training: {step: 3}\n",
            r"unknown key 'training.step' \(did you mean 'training.*steps'\?\)|'steps'",
        ),
        (MINIMAL + "training: {steps: many}\n", "training.steps: expected a whole number, got 'many'"),
        (MINIMAL + "training: {steps: 2.5}\n", "training.steps: expected a whole number, got '2.5'"),
        (
            MINIMAL.replace("modalities: [T1]", "modalities: [T1], validation_fraction: 1"),
            "scenarios.one.validation_fraction: must be 0 or lie between 0 and 1",
        ),
        (MINIMAL + "training: {flip: 1}\n", "training.flip: expected true or false, got '1'"),
        (MINIMAL + "training: {steps: 0}\n", "training.steps: must be above 0, got 0"),
        (MINIMAL + "training: {patch_size: [32, 32]}\n", "training.patch_size: must be three positive whole numbers"),
        (MINIMAL + "training: {schedule: cosine}\n", "training.schedule: 'cosine' is not one of constant, one_cycle"),
        (
            MINIMAL + "preprocessing: {orientation: RAS}\n",
            "preprocessing.orientation: 'RAS' is not one of closest_canonical, world, native",
        ),
        (
            MINIMAL + "preprocessing: {orientation: native}\ninference: {mirrored: true}\n",
            "inference.mirrored: needs a preprocessing.orientation other than native",
        ),
        (
            MINIMAL + "preprocessing: {label_interpolation: gausian}\n",
            r"preprocessing.label_interpolation: 'gausian' is not one of .* \(did you mean 'gaussian'\?\)",
        ),
        (
            MINIMAL + "preprocessing: {brain_extraction: bet}\n",
            "preprocessing.brain_extraction: 'bet' is not one of auto, robex, deepbet, none",
        ),
        (MINIMAL + "preprocessing: {outside_value: .nan}\n", "preprocessing.outside_value: must be finite, got nan"),
        (MINIMAL + "preprocessing: {spacing_mm: 0}\n", "preprocessing.spacing_mm: must be above 0, got 0"),
        (MINIMAL + "preprocessing: {spacing_mm: native}\n", "preprocessing.spacing_mm: expected a number, got 'nat"),
        (MINIMAL + "preprocessing: {crop: 4}\n", "preprocessing.crop: expected true or false, got '4'"),
        (MINIMAL + "device: gpu\n", "device: 'gpu' is not one of auto, cpu, cuda"),
        (MINIMAL + "seeds: [1, 1]\n", "seeds: a seed appears twice"),
        (MINIMAL.replace("modalities: [T1]", "models: []"), "missing key 'scenarios.one.modalities'"),
        (
            MINIMAL.replace("train: [mrbrains13]", "train: [mrbrain13]"),
            r"unknown cohort 'mrbrain13' \(did you mean 'mrb",
        ),
        ("cohorts: {}\nscenarios: {}\n", "cohorts: at least one is needed"),
        ("- 1\n", "file: expected a mapping of keys to values"),
        ("", "file: expected a mapping of keys to values, got nothing"),
        ("a: [1\n", "p.yaml: line 2: not valid YAML"),
        (MINIMAL + "seeds: [1]\nseeds: [2]\n", "not valid YAML .*key 'seeds' appears twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_bad_params(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.yaml: no such params file"):
        load_params(tmp_path / "none.yaml")


def test_the_thesis_recipe_is_the_default() -> None:
    """thesis.yaml writes out what params.py says where it is silent, but for the steps and the penalty."""
    thesis = load_params(ROOT / "params" / "thesis.yaml")
    default = TrainingParams()
    assert thesis.training.changed(steps=default.steps, weight_decay=default.weight_decay) == default
    assert thesis.training.weight_decay == 2 * 0.005
    network = build_network(thesis.network, 2, 5)
    assert count_parameters(network) == count_parameters(UNet(2, 5))
    assert (thesis.training.batch_size, thesis.training.patch_size) == (7, [32, 32, 32])


def test_demo_and_thesis_are_the_quick_study_with_other_data_and_budget() -> None:
    """The same scenarios: the demo with all losses and heads, the thesis's recipe with the thesis's models.

    Real data have no complete labels, so no upper bound, and no budget that is shared out.
    """
    quick, demo, thesis = (
        load_params(ROOT / "params" / f"{name}.yaml").scenarios for name in ("quick", "demo", "thesis")
    )
    assert demo.keys() == quick.keys() and len(quick) == 6
    arms = ["selective_focal", "selective_exclusion", "sigmoid", "conditioned"]
    for name, scenario in quick.items():
        models = [*scenario.models, *(arms if name in ("anatomy_wmh", "ibsr_wmh", "anatomy_tumour") else [])]
        assert scenario.changed(models=models) == demo[name]
    beyond = ("oracle", "multi_unet_same_compute", "selective_dice_ce", "any_modalities")
    for name, scenario in thesis.items():
        models = [model for model in quick[name].models if model not in beyond]
        assert quick[name].changed(models=models, replicates=None) == scenario


# -- files that start from others ----------------------------------------------------------------------------------

BASE = MINIMAL.replace("  one:", "  two: {train: [mrbrains13], test: mrbrains13, modalities: [FLAIR]}\n  one:")


def started_from(tmp_path: Path, base: str, text: str):
    (tmp_path / "there").mkdir(exist_ok=True)
    (tmp_path / "there" / "base.yaml").write_text(base)
    return load(tmp_path, "base: there/base.yaml\n" + text)


def test_a_file_says_only_what_differs_from_its_base(tmp_path: Path) -> None:
    base = BASE + "network: {name: unet, base_filters: 4, levels: 2}\ntraining: {steps: 5, batch_size: 3}\n"
    params = started_from(
        tmp_path, base, "training: {steps: 6}\nnetwork: {levels: 3}\nscenarios: {one: {models: [dice]}, two: null}\n"
    )
    assert (params.training.steps, params.training.batch_size) == (6, 3)
    assert params.network == {"name": "unet", "base_filters": 4, "levels": 3}
    assert list(params.scenarios) == ["one"]
    assert (params.scenarios["one"].models, params.scenarios["one"].modalities) == (["dice"], ["T1"])
    assert started_from(tmp_path, base, "training: {patience: null}\n").training.patience is None


def test_another_source_or_network_begins_anew(tmp_path: Path) -> None:
    base = MINIMAL + "network: {name: unet, base_filters: 4}\n"
    params = started_from(tmp_path, base, "network: {name: monai.UNet}\ncohorts: {mrbrains13: {source: mrbrains13}}\n")
    assert params.network == {"name": "monai.UNet"} and params.cohorts["mrbrains13"].source == "mrbrains13"


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path) -> None:
    base = MINIMAL.replace("{source: phantom}", "{source: table, manifest: m.csv}") + "data_dir: ../data\n"
    params = started_from(tmp_path, base, "")
    assert params.cohorts["mrbrains13"].manifest == str(tmp_path / "there" / "m.csv")
    assert Path(params.data_dir or "").resolve() == tmp_path / "data"
    assert params_files(tmp_path / "p.yaml") == [tmp_path / "p.yaml", tmp_path / "there" / "base.yaml"]


def test_merge_keys(tmp_path: Path) -> None:
    models = "models: {a: {training: &short {steps: 5, batch_size: 2}}, b: {training: {<<: *short, steps: 6}}}\n"
    assert load(tmp_path, MINIMAL + models).models["b"].training == {"batch_size": 2, "steps": 6}
    with pytest.raises(UserError, match="key 'steps' appears twice"):
        load(tmp_path, MINIMAL + models.replace("steps: 6", "steps: 6, steps: 7"))


def of_several(tmp_path: Path, own: str, **files: str):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return load(tmp_path, f"base: [{', '.join(f'{name}.yaml' for name in files)}]\n{own}")


OTHER = """
cohorts: {mrbrains17: {source: phantom}}
scenarios: {two: {train: [mrbrains17], test: mrbrains17, modalities: [T1]}}
models: {mine: {training: {steps: 7}}}
"""


def test_a_study_may_be_made_of_several(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text("replicates: 3\npreprocessing: {spacing_mm: 2}\n")
    first, second = (
        "base: shared.yaml\n" + text
        for text in (MINIMAL + "title: one\nlabel_titles: {a: A}\n", OTHER + "title: two\n")
    )
    params = of_several(tmp_path, "title: both\nscenarios: {two: {models: [mine]}}\n", a=first, b=second)
    assert list(params.cohorts) == ["mrbrains13", "mrbrains17"] and list(params.scenarios) == ["one", "two"]
    assert (params.title, params.replicates, params.preprocessing.spacing_mm) == ("both", 3, 2)
    assert params.label_titles == {"a": "A"}
    assert params.scenarios["two"].models == ["mine"] and list(params.models) == ["mine"]
    assert [file.stem for file in params_files(tmp_path / "p.yaml")] == ["p", "a", "shared", "b"]


@pytest.mark.parametrize(
    ("first", "second", "own", "key"),
    [
        ("replicates: 3\n", "", "replicates: 3\n", "replicates"),  # alone, the second has one
        ("training: {steps: 3}\n", "training: {steps: 4}\n", "training: {steps: 4}\n", "training.steps"),
        ("", "training: {steps: 4}\n", "training: {steps: 4}\n", "training.steps"),
        ("models: {mine: {training: {steps: 8}}}\n", "", "models: {mine: null}\n", "models.mine.training.steps"),
    ],
)
def test_studies_that_differ_are_not_made_one_silently(
    tmp_path: Path, first: str, second: str, own: str, key: str
) -> None:
    files = {"a": MINIMAL + first, "b": OTHER + second}
    with pytest.raises(UserError, match=rf"p.yaml: base: b.yaml and those before it differ in {key}; say here what"):
        of_several(tmp_path, "", **files)
    of_several(tmp_path, own, **files)


def test_bad_bases(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p.yaml: base: no such params file: .*none.yaml$"):
        load(tmp_path, "base: none.yaml\n")
    with pytest.raises(UserError, match=r"base.yaml: base: '../p.yaml' starts from this file$"):
        started_from(tmp_path, "base: ../p.yaml\n", "")
    with pytest.raises(UserError, match="unknown key 'sedes'"):
        started_from(tmp_path, MINIMAL + "sedes: 1\n", "")


def test_words_that_yaml_takes_for_truth_values(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    scenario = "scenarios: {s: {train: [a], test: a, modalities: [T1]}}\n"
    for codes, value in (("{1: ON}", True), ("{1: no}", False)):
        file.write_text(f"cohorts: {{a: {{source: table, manifest: m.csv, codes: {codes}}}}}\n{scenario}")
        with pytest.raises(UserError, match=f"got '{value}' .YAML takes .* if it is a name, quote it"):
            load_params(file)


def test_the_schema_for_editors_is_up_to_date() -> None:
    """`make references` writes it."""
    assert json.loads((ROOT / "params" / "schema.json").read_text()) == json_schema()
    for path in (ROOT / "params").glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
