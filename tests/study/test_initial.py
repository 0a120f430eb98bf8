"""Networks that do not begin at zero."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from multiseg.study import runs
from multiseg.study.initial import Source, read_weights, start_from
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.networks import UNet, build_network

UNET = {"name": "unet", "base_filters": 2, "levels": 2}


def test_what_has_the_name_and_the_shape_is_taken() -> None:
    a, b = UNet(2, 3, base_filters=2, levels=2), UNet(2, 3, base_filters=2, levels=2)
    found = start_from(b, Source(a.state_dict()), ["x", "y"], ["T1", "FLAIR"])
    assert found == {"matched": len(a.state_dict()), "of": len(a.state_dict()), "partly": [], "new": []}
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    other = UNet(2, 3, filters=[2, 5], levels=2)  # the deeper level is wider
    before = {k: v.clone() for k, v in other.state_dict().items()}
    found = start_from(other, Source(a.state_dict()), ["x", "y"], ["T1", "FLAIR"])
    same = [k for k, v in other.state_dict().items() if v.shape == a.state_dict()[k].shape]
    assert found["matched"] == len(same) < found["of"] and set(found["new"]) == before.keys() - set(same)
    assert all(torch.equal(before[k], other.state_dict()[k]) for k in found["new"])
    with pytest.raises(UserError, match="no layer of the network has the name and shape of one in the file"):
        start_from(UNet(3, 4, base_filters=3, levels=2), Source(a.state_dict()), ["x", "y", "z"], ["a", "b", "c"])


def test_classes_and_modalities_go_by_name() -> None:
    """One class more, in another order; one modality less."""
    a, b = UNet(2, 3, base_filters=2, levels=2), UNet(1, 4, base_filters=2, levels=2)
    fresh = {k: v.clone() for k, v in b.state_dict().items()}
    source = Source(a.state_dict(), ("background", "gm", "wm"), ("T1", "FLAIR"))
    found = start_from(b, source, ["wmh", "wm", "gm"], ["FLAIR"])
    assert found["partly"] == ["head.weight", "head.bias"] and not found["new"]
    new, old = b.state_dict(), a.state_dict()
    for name in ("head.weight", "head.bias"):
        assert torch.equal(new[name][[0, 2, 3]], old[name][[0, 2, 1]])
        assert torch.equal(new[name][1], fresh[name][1])  # nobody knew this class
    assert torch.equal(new["down.0.0.weight"][:, 0], old["down.0.0.weight"][:, 1])


def test_wrappers_do_not_matter() -> None:
    bare = UNet(1, 3, base_filters=2, levels=2)
    told = build_network({**UNET, "modality_dropout": 0.5}, 1, 3)
    found = start_from(told, Source(bare.state_dict()), ["x", "y"], ["T1"])
    assert found["matched"] == found["of"]
    binary = build_network({**UNET, "head": "sigmoid"}, 1, 3)
    source = Source(bare.state_dict(), ("background", "x", "y"), ("T1",))
    assert start_from(binary, source, ["y", "x"], ["T1"], sigmoid=True)["matched"] == found["of"]
    assert torch.equal(binary.state_dict()["network.head.bias"], bare.state_dict()["head.bias"][[2, 1]])


@pytest.mark.parametrize("key", ["state_dict", "network_weights", None])
def test_files_of_other_programs(key: str | None, tmp_path: Path) -> None:
    weights = {"module." + k: v for k, v in UNet(1, 2, base_filters=2, levels=2).state_dict().items()}
    torch.save({key: weights, "epoch": 3} if key else weights, tmp_path / "w.pt")
    source = read_weights(tmp_path / "w.pt")
    assert set(source.weights) == {k.removeprefix("module.") for k in weights} and source.outputs is None


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    for name, message in (("text", "not a file of tensors"), ("empty", "holds no tensors"), ("none", "no such file")):
        with pytest.raises(UserError, match=f"{name}.pt: {message}"):
            read_weights(tmp_path / f"{name}.pt")


def test_a_class_more(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    """Anatomy first; then anatomy and lesions, from the weights of anatomy."""
    models = "models: [cross_entropy, selective_cross_entropy]"
    first = Study(toy_study({"train: [anatomy, lesion]": "train: [anatomy]", models: "models: [cross_entropy]"}))
    before = first.find_run("both/cross_entropy/0")
    runs.finish_runs(first, [before])
    file = toy_study({
        models: "models: [further, selective_cross_entropy]",
        "scenarios:": f"models:\n  further: {{initial: {before.folder.relative_to(tmp_path)}}}\nscenarios:",
    })  # fmt: skip
    study = Study(file)
    study.check_networks()
    (further,), (fresh,) = (study.find_run(f"both/{m}/0").networks for m in ("further", "selective_cross_entropy"))
    assert further.key != fresh.key
    trainer = runs.make_trainer(further, study.store, study.params, runs.Compute.resolve("cpu", "float32"))
    known = torch.load(before.folder / "model.pt", weights_only=True)["members"][0]["weights"]
    own = trainer.network.state_dict()
    assert torch.equal(own["head.weight"][:4], known["head.weight"]) and len(own["head.weight"]) == 5
    assert all(torch.equal(own[k], v) for k, v in known.items() if not k.startswith("head."))
    assert trainer.facts["initial"]["partly"] == ["head.weight", "head.bias"]
    file.write_text(
        file.read_text().replace("base_filters: 2", "base_filters: 3, levels: 2").replace(", levels: 2,", ",")
    )
    with pytest.raises(UserError, match=r"models\.further\.initial: no layer of the network has the name and"):
        Study(file).check_networks()
    file.write_text(file.read_text().replace(str(before.folder.relative_to(tmp_path)), "nowhere"))
    with pytest.raises(UserError, match=r"models\.further\.initial: no such file: .*nowhere"):
        Study(file)


def test_weights_of_a_package(toy_study: Callable[..., Path]) -> None:
    models = "precision: float32\nmodels:\n  photographs: {initial: 'package:no_such_thing'}"
    with pytest.raises(
        UserError, match=r"toy.yaml: models.photographs.initial: package 'no_such_thing' is not installed"
    ):
        Study(toy_study({"precision: float32": models}))
