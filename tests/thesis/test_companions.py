"""The companions' claims, and what their sources print, as the claims use it."""

import pandas as pd
import pytest

from multiseg.study.study import Study
from multiseg.thesis.companions import CLAIMS, beside, beside_dropouts, places, published
from tests.conftest import ROOT


@pytest.mark.parametrize("notebook", ["06_dropout_and_phases", "09_separable_convolutions"])
def test_what_claims_speak_of_is_in_their_study(notebook: str) -> None:
    study = Study(ROOT / "params" / f"{notebook[3:]}.yaml")
    claims = CLAIMS[notebook]
    assert study.params.notebooks == [notebook] and study.params.replicates >= 3
    numbers = [c.number for c in claims]
    assert len(set(numbers)) == len(numbers)
    for c in claims:
        scenario = study.scenario(c.scenario)
        assert scenario.params.notebook == notebook and set(c.labels) <= set(scenario.tested_labels)
        assert {model for pair in c.pairs for model in pair} <= set(scenario.models)


def test_companions_train_the_same_networks_alone_and_joined() -> None:
    whole = Study(ROOT / "params" / "companions.yaml")
    joined = {run.name: [n.key for n in run.networks] for run in whole.runs}
    alone: dict[str, list[str]] = {}
    for name in whole.params.base or ():
        alone |= {run.name: [n.key for n in run.networks] for run in Study(ROOT / "params" / name).runs}
    assert alone == joined


def test_sources_beside_ours() -> None:
    found = pd.DataFrame({"mean": [0.7, 0.5, 0.6, 0.9, 0.8]}, index=["cnn1_0", "cnn1_2", "cnn1_5", "cnn2_0", "cnn2_5"])
    table = beside_dropouts(published("dropout_and_phases"), found).set_index("what")["ours"]
    assert table["CNN1, Dice at every dropout but 0.2: above"] == 0.6  # the least of .7 and .6
    assert table["CNN2, best dropout"] == 0 and table["CNN2, Dice at every dropout after 50 epochs: above"] == 0.8
    assert pd.isna(table["images per step"])
    ours = pd.DataFrame({"gm": [0.8], "parameters": [7]}, index=["unet_1"])
    both = beside(published("separable_convolutions"), {"ours": ours}, "where", "model", "ours")
    known = both.set_index(["model", "what"])["ours"].dropna()
    assert known.to_dict() == {("unet_1", "parameters"): 7, ("unet_1", "Dice of the myocardium"): 0.8}


def test_means_that_the_source_prints_are_told_apart_from_those_of_its_numbers() -> None:
    """The notes of `separable_convolutions.csv`, by arithmetic."""
    table = published("separable_convolutions").set_index(["model", "what"])
    values = table["published"]
    for model, mean in (("unet_1", 0.748), ("unet_2", 0.772)):
        tissues = values[model][["Dice of the myocardium", "Dice of the blood pool"]].mean()
        assert (
            tissues == pytest.approx(mean, abs=0.0006) and f"{mean:.3f}"[1:] in table.loc[(model, "mean Dice"), "note"]
        )
    first = values["unet_1"][[f"cross-entropy of the {c}" for c in ("background", "myocardium", "blood pool")]].mean()
    assert round(float(first), 3) == 0.046 and values["unet_1", "mean cross-entropy"] == 0.042


def test_printed_differences_of_losses() -> None:
    table = published("losses_and_dimensions")
    dice = table[table["label"] != "background"].pivot_table(index="ours", columns="label", values="Dice")
    mean = dice.mean(axis=1)
    printed = {c.number: c.published for c in CLAIMS["07_losses_and_dimensions"]}
    assert printed["B1"] == pytest.approx(mean["volumes_combined"] - mean["slices_over"], abs=2e-4)
    assert printed["B2"] == pytest.approx(dice["tumour"]["segresnet_weighted"] - dice["tumour"]["segresnet_focal"])
    assert printed["B3"] == pytest.approx(dice["kidney"]["segresnet_focal"] - dice["kidney"]["segresnet_weighted"])
    others = mean[["volumes_combined", "vnet_balanced"]]
    assert printed["B4"] == pytest.approx((mean["segresnet_balanced"] - others).min(), abs=2e-4)
    assert printed["B5"] == pytest.approx(mean["slices_plain"] - mean["slices_over"], abs=2e-4)
    assert printed["B6"] == pytest.approx(mean["slices_plain"] - mean["slices_sub"], abs=2e-4)


def test_oddities_are_marked() -> None:
    table = published("losses_and_dimensions")
    odd = table["IoU"] > table["Dice"]
    assert odd.sum() == 10 and table.loc[odd, "note"].str.contains("cannot be").all()
    assert not table.loc[~odd, "note"].fillna("").str.contains("cannot be").any()
    five, six = (table[table["table"] == n][["IoU", "Dice"]].to_numpy() for n in (5, 6))
    assert (five == six).all() and "same figures" in table[table["table"] == 6]["note"].iloc[0]
    ours = {
        "our IoU": pd.DataFrame({"kidney": {"slices_over": 0.25}}),
        "our Dice": pd.DataFrame({"kidney": {"slices_over": 0.5}}),
    }
    found = beside(table, ours, "note", what="label")
    row = found[(found["table"] == 2) & (found["label"] == "kidney")].iloc[0]
    assert (row["our IoU"], row["our Dice"]) == (0.25, 0.5) and found["our Dice"].notna().sum() == 1


def test_budgets() -> None:
    table = published("transformers_and_pretraining").set_index("ours")["published"]
    printed = {c.number: c.published for c in CLAIMS["08_transformers_and_pretraining"]}
    assert printed["C1"] == pytest.approx(table["unetr_125"] - table["unetr_50"])
    assert printed["C2"] == pytest.approx(table["swin_10_pretrained"] - table["unetr_10"])
    steps, curve = places(("unetr_10", "swin_125_pretrained", "other"))
    assert steps.to_dict() == {"unetr_10": 10, "swin_125_pretrained": 125}
    assert curve.to_dict() == {"unetr_10": "UNETR", "swin_125_pretrained": "SwinUNETR, pretrained"}
