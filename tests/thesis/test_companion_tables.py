"""What two companions' sources print, as the claims use it."""

import pandas as pd
import pytest

from multiseg.thesis import claims, losses_and_dimensions, transformers_and_pretraining


def test_printed_differences_of_losses() -> None:
    table = claims.published("losses_and_dimensions")
    dice = table[table["label"] != "background"].pivot_table(index="ours", columns="label", values="Dice")
    mean = dice.mean(axis=1)
    printed = {c.number: c.published for c in losses_and_dimensions.CLAIMS}
    assert printed["B1"] == pytest.approx(mean["volumes_combined"] - mean["slices_over"], abs=2e-4)
    assert printed["B2"] == pytest.approx(dice["tumour"]["segresnet_weighted"] - dice["tumour"]["segresnet_focal"])
    assert printed["B3"] == pytest.approx(dice["kidney"]["segresnet_focal"] - dice["kidney"]["segresnet_weighted"])
    others = mean[["volumes_combined", "vnet_balanced"]]
    assert printed["B4"] == pytest.approx((mean["segresnet_balanced"] - others).min(), abs=2e-4)
    assert printed["B5"] == pytest.approx(mean["slices_plain"] - mean["slices_over"], abs=2e-4)
    assert printed["B6"] == pytest.approx(mean["slices_plain"] - mean["slices_sub"], abs=2e-4)


def test_oddities_are_marked() -> None:
    table = claims.published("losses_and_dimensions")
    odd = table["IoU"] > table["Dice"]
    assert odd.sum() == 10 and table.loc[odd, "note"].str.contains("cannot be").all()
    assert not table.loc[~odd, "note"].fillna("").str.contains("cannot be").any()
    five, six = (table[table["table"] == n][["IoU", "Dice"]].to_numpy() for n in (5, 6))
    assert (five == six).all() and "same figures" in table[table["table"] == 6]["note"].iloc[0]
    found = losses_and_dimensions.beside(
        table, pd.DataFrame({"kidney": {"slices_over": 0.5}}), pd.DataFrame({"kidney": {"slices_over": 0.25}})
    )
    row = found[(found["table"] == 2) & (found["label"] == "kidney")].iloc[0]
    assert (row["our IoU"], row["our Dice"]) == (0.25, 0.5) and found["our Dice"].notna().sum() == 1


def test_budgets() -> None:
    table = claims.published("transformers_and_pretraining").set_index("ours")["published"]
    printed = {c.number: c.published for c in transformers_and_pretraining.CLAIMS}
    assert printed["C1"] == pytest.approx(table["unetr_125"] - table["unetr_50"])
    assert printed["C2"] == pytest.approx(table["swin_10_pretrained"] - table["unetr_10"])
    steps, curve = transformers_and_pretraining.places(("unetr_10", "swin_125_pretrained", "other"))
    assert steps.to_dict() == {"unetr_10": 10, "swin_125_pretrained": 125}
    assert curve.to_dict() == {"unetr_10": "UNETR", "swin_125_pretrained": "SwinUNETR, pretrained"}
