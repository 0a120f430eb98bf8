import pytest
from pydantic import ValidationError

from multiseg.settings.models import (
    MODELS,
    NAIVE,
    SELECTIVE,
    SEPARATE,
    SEPARATE_SHARED,
    SINGLE_TASK,
    NamedModel,
    merged,
)
from multiseg_core.models import Loss


def test_the_thesis_models_come_first() -> None:
    assert list(MODELS)[:5] == ["multi_unet", "cross_entropy", "selective_cross_entropy", "dice", "selective_dice"]
    assert SINGLE_TASK not in MODELS


def test_models_differ_in_what_their_names_say() -> None:
    def choices(name: str) -> dict[str, object]:
        return MODELS[name].model_dump(exclude={"title", "spanish", "colour", "hatch", "marker"})

    assert choices(NAIVE) == {**choices(SELECTIVE), "targets": "naive"}
    assert choices(SEPARATE) == {**choices(NAIVE), "networks": "per_task", "inputs": "own"}
    assert choices(SEPARATE_SHARED) == {**choices(SEPARATE), "inputs": "shared"}
    assert choices("oracle") == {**choices(SELECTIVE), "targets": "complete"}
    assert choices("pseudo_labels") == {**choices(SELECTIVE), "targets": "pseudo"}
    uniform = {"name": "uniform", "cohorts": {}, "labels": {}}
    assert choices("selective_cross_entropy_uniform") == {**choices(SELECTIVE), "sampling": uniform}
    for name, loss in (("dice", "SoftDice"), ("selective_dice", "SelectiveDice")):
        assert choices(name) == {**choices(NAIVE), "loss": {"name": loss, "options": {}}}
    patchwise = {**choices(SELECTIVE), "loss": {"name": "PatchwiseSelectiveCrossEntropy", "options": {}}}
    assert choices("patchwise_selective_cross_entropy") == patchwise
    assert choices("patchwise_selective_cross_entropy_uniform") == {**patchwise, "sampling": uniform}


def test_no_two_models_are_the_same() -> None:
    models = list(MODELS.values())
    for same in (
        ("targets", "loss", "sampling", "networks", "inputs", "head"),
        ("title",),
        ("spanish",),
        ("colour", "hatch"),
    ):
        assert len({repr([getattr(model, key) for key in same]) for model in models}) == len(models)


def test_a_bare_name_is_a_loss_without_options() -> None:
    assert NamedModel.model_validate({"loss": "SoftDice"}).loss == Loss(name="SoftDice")
    model = NamedModel.model_validate({"loss": {"name": "SoftDice", "options": {"epsilon": 1}}})
    assert model.loss.options == {"epsilon": 1}


@pytest.mark.parametrize("bad", [{"loss": {"nam": "SoftDice"}}, {"targets": "some"}, {"colour": "red"}, {"los": "x"}])
def test_wrong_choices_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NamedModel.model_validate(bad)


def test_own_entries_join_the_built_in_ones() -> None:
    assert merged({}) == MODELS
    own = {f"mine_{i}": NamedModel() for i in range(20)}
    models = merged({**own, "shy": NamedModel(title="Shy", colour="#000000")})
    assert list(models) == [*MODELS, *own, "shy"]
    assert models["mine_0"].title == models["mine_0"].spanish == "mine 0"
    assert (models["shy"].title, models["shy"].spanish, models["shy"].colour) == ("Shy", "Shy", "#000000")
    assert len({(model.colour, model.hatch) for model in models.values()}) == len(models)


def test_an_entry_of_a_built_in_name_changes_what_it_states() -> None:
    changed = merged({"dice": NamedModel(loss=Loss(name="SoftDice", options={"epsilon": 1.0}))})
    assert changed["dice"] == MODELS["dice"].model_copy(update={"loss": changed["dice"].loss})
    assert changed["dice"].loss.options == {"epsilon": 1.0} and list(changed) == list(MODELS)
