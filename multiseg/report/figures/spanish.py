"""The texts inside figures, in English and in the thesis's Spanish.

Figure code writes English phrases and passes them through `say`; the params file's ``language`` says in which
language they are drawn. Terms are the thesis's own where it has one: it keeps *ground truth* and the English
abbreviations of tissues.
"""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "es")
"""Languages of figures: English, Spanish."""

SPANISH: Mapping[str, str] = {
    "Dice": "Dice",
    " or ": " o ",
    # slices
    "ground truth": "ground truth",
    "labels": "etiquetas",
    "labels of the cohort": "etiquetas del dataset",
    "naive model": "Modelo Naive",
    "together": "combinadas",
    "{percent:.0f} % of the slice": "{percent:.0f} % del corte",
    # cases
    "worst": "peor",
    "median": "mediana",
    "best": "mejor",
    "axial": "axial",
    "coronal": "coronal",
    "sagittal": "sagital",
    "uncertainty": "incertidumbre",
    "right": "correcto",
    "missed (false negative)": "omitido (falso negativo)",
    "invented (false positive)": "inventado (falso positivo)",
    "errors": "errores",
    "over the image": "sobre la imagen",
    "opacity": "opacidad",
    "left to right": "de izquierda a derecha",
    "back to front": "de atrás hacia adelante",
    "bottom to top": "de abajo hacia arriba",
    "case {name}, {modality}; {size:.1f} MB of this page": "caso {name}, {modality}; {size:.1f} MB de esta página",
    # results
    "mean Dice over images and labels": "media del coeficiente de Dice sobre imágenes y etiquetas",
    "difference of mean {value}, 95 % interval": "diferencia de medias de {value}, intervalo del 95 %",
    "(filled: the interval excludes 0)": "(relleno: el intervalo excluye el 0)",
    "only pairs with {model}; the table has all": "sólo pares con {model}; la tabla tiene todos",
    "difference of Dice": "diferencia de Dice",
    "step": "paso",
    "loss": "función de costo",
    "training": "entrenamiento",
    "validation": "validación",
    "part of the voxels looked at": "parte de los vóxeles revisados",
    "part of the errors found": "parte de los errores encontrados",
    "divergence of training and test cohort x 1000": "divergencia entre datasets de entrenamiento y prueba x 1000",
    "loss of Dice (own cohort − test cohort)": "pérdida de Dice (dataset propio − dataset de prueba)",
    "tissue labelled on other cohorts' images / on own images": "tejido etiquetado en imágenes ajenas / en propias",
    # cohorts
    "Divergence x 1000, {who}": "Divergencia x 1000, {who}",
    "this study": "este estudio",
    "the thesis": "la tesis",
    "Spearman's correlation {rho:.2f} ({n} entries)": "correlación de Spearman {rho:.2f} ({n} valores)",
    "between two cohorts": "entre dos datasets",
    "within one": "dentro de uno",
    "ml": "ml",
    "z-score": "z-score",
    "density": "densidad",
}
"""English phrase -> Spanish. Braces hold values that `say` fills in."""

_language = "en"


def use_language(language: str) -> None:
    """Set the language of `say`, one of `LANGUAGES`. Raises ValueError for another."""
    global _language
    if language not in LANGUAGES:
        raise ValueError(f"no language '{language}'; there are {', '.join(LANGUAGES)}")
    _language = language


def language() -> str:
    """Return the language of `say`."""
    return _language


def say(phrase: str, **values: object) -> str:
    """Return a phrase in the language of figures, with values filled in.

    Raises
    ------
    KeyError
        For a phrase that has no translation, in English too, so that none is forgotten.
    """
    if phrase not in SPANISH:
        raise KeyError(f"spanish.SPANISH lacks {phrase!r}")
    return (SPANISH[phrase] if _language == "es" else phrase).format(**values)
