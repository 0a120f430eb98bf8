"""The params file: one YAML file that describes one study. Unknown or ill-typed keys are errors.

The defaults are the thesis's own recipe; ``params/*.yaml`` say what they change. `params_files` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from multiseg_core.models import Model, Settings
from multiseg_core.param_values import SHARE, Count, Flag, Int, Number, Seed, Some, Text, distinct, must
from multiseg_core.settings import InferenceParams, TrainingParams

from .models import MODELS, SINGLE_TASK, NamedModel
from .param_values import CodeValue, Millimetres, Name, is_device
from .preprocessing import PreprocessingParams

MODALITY_DROPOUT = 0.5
"""How often a network for any modalities is trained without one that is there, unless its model says otherwise."""

EACH_SCENARIO = "scenarios"
"""Stands in ``notebooks`` for the notebooks of the scenarios."""


# -- the schema ----------------------------------------------------------------------------------------------------


class CohortParams(Settings):
    """One cohort: where its cases come from and what its label codes mean."""

    source: Text
    """``phantom``, ``table``, ``nnunet``, ``bids``, or a real layout by name: a file of
    ``multiseg/data/layouts``."""
    preset: Text | None = None
    """phantom: which cohort to imitate; the cohort's own name by default."""
    cases: Count | None = None
    """phantom: number of cases; as many as in the thesis by default."""
    voxel_mm: Millimetres = 1.0
    """phantom: voxel size of the generated images."""
    seed: Seed = 0
    """phantom: seed of the generator."""
    manifest: Text | None = None
    """table: path of the CSV manifest, relative to the params file. A cohort whose column ``annotates`` names different
    labels becomes several, such as ``heart.atrium`` and ``heart.ventricle``; a scenario may name it or its parts."""
    codes: dict[Int | Literal["other"], CodeValue] | None = None
    """table: native code -> label, list of labels, ``background`` or ``ignore``; ``other`` stands for all codes that
    are not named; none for a cohort without labels, from which only ``pseudo`` targets and pretrainings learn. Others:
    in place of their own; folders of nnU-Net (``dataset.json``) and BIDS (``dseg.tsv``) say themselves."""
    absent: list[Text] | None = None
    """table: labels that the subjects are known not to have; none by default. Layouts: in place of their own."""
    complete_codes: dict[Int | Literal["other"], CodeValue] | None = None
    """table: what the codes of the manifest's column ``complete_labels`` mean; 0 is background, nothing hides in it.
    phantom with ``codes``: what the codes of everything that is there mean."""
    folder: Text | None = None
    """Layouts, nnunet, bids: where the cohort lies, relative to the params file; by default of layouts
    ``data_dir``/``source``."""
    variant: Text | None = None
    """Layouts: which labels or images to take, where there is a choice, such as ``testing`` or ``training``. bids:
    which folder of ``derivatives`` holds the labels."""
    exclude: list[Text] = []
    """Layouts, nnunet, bids: names of cases to leave out."""
    files: dict[Text, Text] | None = None
    """Layouts: modality, ``labels`` or ``brain_mask`` -> file pattern in place of the layout's, with wildcards,
    relative to the folder of a case; ``{case}`` stands for its name. bids: pattern of the file's name. nnunet: modality
    -> number of its channel, such as ``{FLAIR: "0001"}``, in place of the names in ``dataset.json``."""


class ScenarioParams(Settings):
    """One question: which cohorts to train on, which to test on, which models to compare."""

    train: Some
    """Training cohorts. Where networks of MultiUNet disagree, later cohorts win: put lesions last."""
    test: Annotated[
        Some, BeforeValidator(lambda v: [v] if isinstance(v, str) else v, json_schema_input_type=Text | Some)
    ]
    """Test cohort, or several, each scored for what it draws: cases whose split is ``test``, or all if a cohort that is
    not trained on states none. The validation cases, if the training cohorts are those and mark none (the thesis's
    single tasks)."""
    modalities: Some
    """Modalities that the networks see."""
    models: Some = list(MODELS)[:5]
    """Models to compare."""
    validation_fraction: Annotated[Number, SHARE] | None = None
    """In place of ``training.validation_fraction``, in this scenario."""
    labels: Annotated[list[Text], distinct("a label")] = []
    """Labels that its networks have beside those that its training cohorts draw: what the network that a model
    ``continues`` knew before."""
    own_modalities: Flag = False
    """MultiUNet's networks each see every modality that their own cohorts and the test cohort share (thesis 3.2.2)."""
    replicates: Count | None = None
    """How many of the study's replicates it takes part in; all by default."""
    notebook: Text = "scenario"
    """The notebook that tells this scenario; by default one for any labels."""
    title: Text | None = None
    """Heading in reports."""


class Params(Settings):
    """A whole params file."""

    cohorts: Annotated[dict[Name, CohortParams], Field(min_length=1)]
    scenarios: Annotated[dict[Name, ScenarioParams], Field(min_length=1)]
    labels: Annotated[list[Text], distinct("a label")] | None = None
    """Order of the foreground labels; by default the order in which the cohorts name them."""
    preprocessing: PreprocessingParams = PreprocessingParams()
    network: dict[Text, Any] = {"name": "unet", "base_filters": 32}
    """``name`` and keyword arguments of the network."""
    training: TrainingParams = TrainingParams()
    inference: InferenceParams = InferenceParams()
    seeds: Annotated[list[Seed], Field(min_length=1), distinct("a seed")] = [0]
    """Training seeds: one run of every model per replicate and seed."""
    replicates: Count = 1
    """How often the whole study is repeated with other subjects (phantoms), another split into training and validation
    cases (other data) and other training seeds. From three on, findings get a verdict."""
    folds: Annotated[Int, Field(ge=2)] | None = None
    """Replicates by cross-validation: as many, of the same subjects, each of which validates in one of them, and trains
    in the others. Test cases are in none. ``multiseg predict`` takes the runs of all folds together."""
    replicated: Some | None = None
    """Models that run in every replicate; the others in the first only. All of them by default."""
    device: Annotated[Text, must(is_device, "'{0}' is not one of auto, cpu, cuda")] = "auto"
    """``auto``, ``cpu`` or ``cuda``."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """``auto``, ``float32`` or ``bf16``; auto takes bf16 where the hardware computes in it."""
    threads: Count = 1
    """Threads per training on a CPU; weights are repeatable bit for bit for a fixed number."""
    workers: Count | None = None
    """Trainings at a time; by default cores / threads on a CPU, 1 on a GPU."""
    data_dir: Text | None = None
    """Folder of the real data, relative to the params file: each real layout has a folder called like its source."""
    reports_dir: Text | None = None
    """Where reports go, relative to the params file; by default the folder `reports` beside `params`."""
    title: Text | None = None
    """Heading of the report."""
    notebooks: Annotated[list[Text], distinct("a notebook")] = [
        "00_data_exploration",
        EACH_SCENARIO,
        "04_statistical_comparison",
        "05_beyond_the_thesis",
    ]
    """The notebooks of the study in their order; ``scenarios`` stands for the notebook of each scenario."""
    base: Text | Some | None = None
    """Another params file, relative to this one, that says all that this one does not. Mappings are joined key by key,
    but an entry that names another ``source`` or ``name`` begins anew, and null removes a cohort, scenario or model.
    Or a list of files, to make one study of several: each brings its cohorts, scenarios and models, and of all else,
    which concerns a whole study, they must say the same, or this file says what holds."""
    language: Literal["en", "es"] = "en"
    """Language of figures, their captions, and tables: ``en``, or ``es`` for the thesis's Spanish."""
    label_titles: dict[Text, Text] = {}
    """What labels are called in reports, such as ``{gm: "Grey matter"}``; others are known, or keep their names."""
    models: dict[
        Annotated[Name, must(lambda v: v != SINGLE_TASK, "'{0}' is not a name of a model: figures need it")], NamedModel
    ] = {}
    """Models of the study's own by name, see `multiseg.settings.models.NamedModel`; an entry with the name of a
    built-in model changes only the choices that it states."""

    @model_validator(mode="after")
    def _folds_are_replicates(self) -> Self:
        if self.folds:
            if self.replicates not in (1, self.folds):
                raise ValueError("give folds or replicates, not both")
            self.__dict__["replicates"] = self.folds
        if self.inference.mirrored and self.preprocessing.orientation == "native":
            raise ValueError("inference.mirrored: needs a preprocessing.orientation other than native")
        return self

    def network_for(self, model: Model, n_tasks: int = 1) -> dict[str, Any]:
        """Return the ``network`` of a model: the study's, with what the model changes, and what its choices ask for."""
        spec: dict[str, Any] = dict(joined(self.network, model.network or {}))
        if model.inputs == "any":
            spec = {"modality_dropout": MODALITY_DROPOUT, **spec}
        if model.head == "sigmoid":
            spec["head"] = "sigmoid"
        elif model.head == "conditioned":
            spec["tasks"] = n_tasks
        return spec

    def training_for(self, model: Model) -> TrainingParams:
        """Return the ``training`` of a model: the study's, with what the model changes."""
        return self.training.changed(**(model.training or {}))


def joined(base: Any, own: Any) -> Any:
    """Join two mappings key by key; anything else, or another source or name, takes the place of what was there."""
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)):
        return own
    if any(key in own and own[key] != base.get(key) for key in ("source", "name")):
        return dict(own)
    return {**base, **{key: joined(base.get(key), value) for key, value in own.items()}}
