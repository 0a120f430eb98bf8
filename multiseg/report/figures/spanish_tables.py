"""Headings of tables, and values in them, for readers: in English and in Spanish."""

from __future__ import annotations

from collections.abc import Mapping

Both = tuple[str, str]
"""English, Spanish."""

COLUMNS: Mapping[str, Both] = {
    # who and where
    "scenario": ("Scenario", "Escenario"),
    "endpoint": ("Endpoint", "Criterio"),
    "model": ("Model", "Modelo"),
    "model_a": ("Model A", "Modelo A"),
    "model_b": ("Model B", "Modelo B"),
    "label": ("Label", "Etiqueta"),
    "cohort": ("Cohort", "Dataset"),
    "test_cohort": ("Test cohort", "Dataset de prueba"),
    "case": ("Case", "Caso"),
    "modalities": ("Modalities", "Modalidades"),
    "replicates": ("Replicates", "Réplicas"),
    "validation images of": ("Validation images of", "Imágenes de validación de"),
    # numbers
    "dice": ("Dice", "Dice"),
    "mean": ("Mean", "Media"),
    "low": ("From (95 %)", "Desde (95 %)"),
    "high": ("To (95 %)", "Hasta (95 %)"),
    "mean_a": ("Mean A", "Media A"),
    "mean_b": ("Mean B", "Media B"),
    "difference": ("A − B", "A − B"),
    "effect": ("Effect (d_z)", "Efecto (d_z)"),
    "effect_low": ("Effect from (95 %)", "Efecto desde (95 %)"),
    "effect_high": ("Effect to (95 %)", "Efecto hasta (95 %)"),
    "n": ("Pairs of values", "Pares de valores"),
    "n_subjects": ("Subjects", "Sujetos"),
    "n_seeds": ("Seeds", "Semillas"),
    "p": ("p", "p"),
    "p_corrected": ("p (Bonferroni)", "p (Bonferroni)"),
    "p_holm": ("p (Holm)", "p (Holm)"),
    "significant": ("Differ", "Difieren"),
    "rank": ("Rank", "Puesto"),
    "subjects_needed": ("Subjects needed", "Sujetos necesarios"),
    "subjects_needed_corrected": ("Subjects needed (corrected)", "Sujetos necesarios (corregidos)"),
    "behind": ("Most behind the best", "Mayor desventaja"),
    "HD95": ("HD95 (mm)", "HD95 (mm)"),
    "ASSD": ("ASSD (mm)", "ASSD (mm)"),
    "ours": ("This study", "Este estudio"),
    "thesis": ("Thesis", "Tesis"),
    # arms
    "oracle": ("Minus oracle", "Menos oráculo"),
    "separate": ("Minus separate networks", "Menos redes separadas"),
    "selective CE": ("Minus selective CE", "Menos E. C. selectiva"),
    "minus oracle": ("Minus oracle", "Menos oráculo"),
    "minus separate": ("Minus separate networks", "Menos redes separadas"),
    "minus selective CE": ("Minus selective CE", "Menos E. C. selectiva"),
    **{
        f"{name} {end}": (f"{english} ({of[0]}, 95 %)", f"{spanish} ({of[1]}, 95 %)")
        for name, english, spanish in (
            ("oracle", "Minus oracle", "Menos oráculo"),
            ("separate", "Minus separate", "Menos separadas"),
            ("selective CE", "Minus selective CE", "Menos E. C. selectiva"),
        )
        for end, of in (("low", ("from", "desde")), ("high", ("to", "hasta")))
    },
    "networks": ("Networks", "Redes"),
    "thousand parameters": ("Parameters (thousands)", "Parámetros (miles)"),
    "minutes of training": ("Training (minutes)", "Entrenamiento (minutos)"),
    "passes per prediction": ("Passes per prediction", "Pasadas por predicción"),
    "error rate": ("Wrong voxels (share)", "Vóxeles erróneos (parte)"),
    "AUROC": ("AUROC", "AUROC"),
    "found": ("Found (share)", "Hallados (parte)"),
    # lesions
    "small": ("Small found (share)", "Pequeñas halladas (parte)"),
    "medium": ("Medium found (share)", "Medianas halladas (parte)"),
    "large": ("Large found (share)", "Grandes halladas (parte)"),
    "false per case": ("Invented per case", "Inventadas por caso"),
    "F1": ("F1", "F1"),
    "bias (ml)": ("Bias (ml)", "Sesgo (ml)"),
    "false ml per case": ("False (ml per case)", "Falsos (ml por caso)"),
    # cohorts
    "cases": ("Cases", "Casos"),
    "role": ("Role", "Papel"),
    "labels": ("Labels", "Etiquetas"),
    "background means": ("Background means", "El fondo significa"),
    "voxel (mm)": ("Voxel (mm)", "Vóxel (mm)"),
    "field of view (mm)": ("Field of view (mm)", "Campo de visión (mm)"),
    "cases with it": ("Cases with it", "Casos que la tienen"),
    "mean ml": ("Mean (ml)", "Media (ml)"),
    "min ml": ("Least (ml)", "Mínimo (ml)"),
    "max ml": ("Most (ml)", "Máximo (ml)"),
    "% of brain": ("Part of brain (%)", "Parte del cerebro (%)"),
    "ml": ("Drawn (ml)", "Dibujado (ml)"),
    "ml kept (%)": ("Volume kept (%)", "Volumen conservado (%)"),
    "pieces": ("Pieces", "Piezas"),
    "pieces kept (%)": ("Pieces kept (%)", "Piezas conservadas (%)"),
    "divergence": ("Divergence (nats)", "Divergencia (nats)"),
    "dice_own": ("Dice, own cohort", "Dice, dataset propio"),
    "dice_test": ("Dice, test cohort", "Dice, dataset de prueba"),
    "loss": ("Lost Dice", "Dice perdido"),
    "pairs": ("Pairs of cohorts", "Pares de datasets"),
    "rho": ("Spearman's ρ", "ρ de Spearman"),
    # ledger and answers
    "finding": ("Finding", "Hallazgo"),
    "claim": ("Claim", "Afirmación"),
    "measure": ("What is measured", "Qué se mide"),
    "margin": ("Margin", "Margen"),
    "verdict": ("Verdict", "Veredicto"),
    "question": ("Question", "Pregunta"),
    "answer": ("Answer", "Respuesta"),
    # facts
    "training cohorts": ("Training cohorts", "Datasets de entrenamiento"),
    "test cohort": ("Test cohort", "Dataset de prueba"),
    "classes": ("Classes", "Clases"),
    "network": ("Network", "Red"),
    "training": ("Training", "Entrenamiento"),
    "spacing": ("Voxels", "Vóxeles"),
    # glossary
    "what it is": ("What it is", "Qué es"),
    "line": ("Where", "Dónde"),
    "now": ("Now", "Ahora"),
    "weights": ("Weights", "Pesos"),
    # progress
    "what": ("What", "Qué"),
    "done": ("Done", "Hecho"),
    "of": ("Of", "De"),
    "to come": ("To come", "Por hacer"),
}
"""Column -> its heading, with the unit."""

ENDPOINTS: Mapping[str, Both] = {
    "anatomy": ("anatomy", "anatomía"),
    "lesion": ("lesions", "lesiones"),
    "any": ("any", "alguno"),
    "all labels": ("all labels", "todas las etiquetas"),
    "parameters": ("parameters", "parámetros"),
    "T1": ("T1", "T1"),
}
"""Endpoint -> its name."""

VALUES: Mapping[str, Both] = {
    "every": ("every scenario", "todos los escenarios"),
    "holds": ("holds", "se cumple"),
    "does not hold": ("does not hold", "no se cumple"),
    "inconclusive": ("inconclusive", "no concluyente"),
    "exploratory": ("exploratory", "exploratorio"),
    "by construction": ("by construction", "por construcción"),
}
"""Values of cells."""

TEXTS: Mapping[str, str] = {
    "Part of the wrong voxels that somebody finds who looks at the most uncertain ones first, all test cases together. "
    "The higher, the better; dotted: by chance; the vertical line: one voxel in twenty.": "Parte de los vóxeles erróneos "
    "que encuentra quien revisa primero los más inciertos, todos los casos de prueba juntos. Cuanto más alto, mejor; a "
    "puntos: al azar; la línea vertical: uno de cada veinte vóxeles.",
    "Dice against a setting: means over replicates and 95 % t intervals.": "Dice según un parámetro: medias sobre "
    "réplicas e intervalos t del 95 %.",
    "What the source prints, and ours": "Lo que publica la fuente, y lo nuestro",
    "What metrics say of masks of 10 x 10 pixels": "Lo que dicen las métricas de máscaras de 10 x 10 píxeles",
    "What Auto3DSeg's analyser says of the training cases": "Lo que dice el analizador de Auto3DSeg de los casos de "
    "entrenamiento",
    "IoU of each class, means over replicates": "IoU de cada clase, medias sobre réplicas",
    # pages
    "All {n} rows": "Las {n} filas",
    "{n} labels": "{n} etiquetas",
    "This study has none.": "Este estudio no tiene.",
    "Thesis figure {n}.": "Figura {n} de la tesis.",
    # captions
    "Dice on the test cases, by label and model. Boxes span the quartiles, points are cases.": (
        "Dice en los casos de prueba, por etiqueta y modelo. Las cajas abarcan los cuartiles; los puntos son casos."
    ),
    "The same Dice, each label on an axis of its own. Boxes span the quartiles, points are cases; a model far below has "
    "an arrow and its median.": (
        "El mismo Dice, cada etiqueta en su propio eje. Las cajas abarcan los cuartiles, los puntos son casos; un modelo "
        "muy inferior tiene una flecha y su mediana."
    ),
    "Mean Dice of every model. Bars join models that do not differ significantly in the thesis's test.": (
        "Media del Dice de cada modelo. Las barras unen modelos que no difieren significativamente en el test de la tesis."
    ),
    "The same axis for the models near the best. Bars join models that do not differ significantly in the thesis's "
    "test.": (
        "El mismo eje para los modelos cercanos al mejor. Las barras unen modelos que no difieren significativamente en el "
        "test de la tesis."
    ),
    "Mean differences between models, with 95 % intervals that hold together for all pairs of a scenario.": (
        "Diferencias de medias entre modelos, con intervalos del 95 % válidos en conjunto para todos los pares de un "
        "escenario."
    ),
    "All pairs of models, best mean first: mean Dice of the row minus that of the column, over subjects. A frame: the "
    "95 % interval excludes 0; the intervals of a scenario hold together.": (
        "Todos los pares de modelos, la mejor media primero: Dice medio de la fila menos el de la columna, sobre sujetos. "
        "Un marco: el intervalo del 95 % excluye el 0; los intervalos de un escenario valen en conjunto."
    ),
    "Mean Dice of every model on every endpoint over replicates, with 95 % t intervals. Where separate "
    "networks saw the same images, a line is their mean; inside its grey band a difference is below the margin fixed "
    "beforehand.": (
        "Dice medio de cada modelo en cada criterio sobre réplicas, con intervalos t del 95 %. Donde redes "
        "separadas vieron las mismas imágenes, una línea es su media; dentro de su banda gris la diferencia es menor que el "
        "margen fijado de antemano."
    ),
    "Tissue that is labelled on validation images of cohorts that do not draw it, as a part of what is labelled on "
    "images of cohorts that do. A model that recognises the origin of an image falls short of 1. Points: replicates.": (
        "Tejido etiquetado en imágenes de validación de datasets que no lo dibujan, como parte del etiquetado en imágenes de "
        "los que sí. Un modelo que reconoce el origen de una imagen queda por debajo de 1. Puntos: réplicas."
    ),
    "Training loss (grey) and validation loss (in colour), a panel per model and a line per network.": (
        "Función de costo de entrenamiento (gris) y de validación (en color), un panel por modelo y una línea por red."
    ),
    "Dice that MultiUNet and the selective network lose between validation images of their own cohorts and the test "
    "cohort, by the divergence of the two cohorts. Marks are labels.": (
        "Dice que MultiUNet y la red selectiva pierden entre imágenes de validación de sus propios datasets y el de prueba, "
        "según la divergencia entre ambos. Las marcas son etiquetas."
    ),
    "Difference of Dice from the reference on every endpoint: means over replicates and 95 % t intervals. "
    "To the right of the line is better; an arrow stands for a value beyond the edge.": (
        "Diferencia de Dice con la referencia en cada criterio: medias sobre réplicas e intervalos t del 95 %. A la derecha "
        "de la línea es mejor; una flecha es un valor más allá del borde."
    ),
    "One test slice: the image, its labels and what every model makes of it.": (
        "Un corte de prueba: la imagen, sus etiquetas y lo que cada modelo hace de él."
    ),
    "The worst, the median and the best test case of a label: what the model missed and what it invented, each plane "
    "where most of it is seen. On the right, if it is known, how uncertain the model is, in the axial plane: from "
    "black, sure, to white.": (
        "El peor caso de prueba de una etiqueta, el mediano y el mejor: lo que el modelo omitió e inventó, cada plano donde "
        "más se ve. A la derecha, si se conoce, la incertidumbre del modelo en el plano axial: de negro, seguro, a blanco."
    ),
    "The naive model on a validation image of each of its training cohorts.": (
        "El Modelo Naive en una imagen de validación de cada uno de sus datasets de entrenamiento."
    ),
    "Patches of one training step: the image above, what the loss is told of every voxel below.": (
        "Parches de un paso de entrenamiento: arriba la imagen, abajo lo que la función de costo sabe de cada vóxel."
    ),
    "Jensen-Shannon divergence between the intensities of cohorts.": (
        "Divergencia de Jensen-Shannon entre las intensidades de los datasets."
    ),
    "Cohorts that draw the same labels: modalities and labels of the first case.": (
        "Datasets que dibujan las mismas etiquetas: modalidades y etiquetas del primer caso."
    ),
    "One slice with the labels of each task, and with all of them.": (
        "Un corte con las etiquetas de cada tarea, y con todas."
    ),
    "One slice of every modality, after preprocessing.": "Un corte de cada modalidad, después del preprocesamiento.",
    "One label as each cohort draws it, at the same height.": (
        "Una etiqueta como la dibuja cada dataset, a la misma altura."
    ),
    "Volume of every label, a point per case.": "Volumen de cada etiqueta, un punto por caso.",
    "Histograms of normalised intensities inside the brain, by modality and cohort.": (
        "Histogramas de intensidades normalizadas dentro del cerebro, por modalidad y dataset."
    ),
    # titles of tables
    "What is trained and tested": "Qué se entrena y se prueba",
    "Findings": "Hallazgos",
    "What to use, and what it costs": "Qué usar y qué cuesta",
    "Models by their mean Dice over all endpoints": "Modelos por su Dice medio sobre todos los criterios",
    "Each model on each endpoint, and against the oracle, separate networks and selective cross-entropy": (
        "Cada modelo en cada criterio, y contra el oráculo, redes separadas y entropía cruzada selectiva"
    ),
    "What a run of each model costs": "Qué cuesta una corrida de cada modelo",
    "Whether uncertainty finds the errors": "Si la incertidumbre encuentra los errores",
    "Mean Dice by the modalities that a network was given": "Dice medio según las modalidades dadas a una red",
    "Mean Dice on the test cases": "Dice medio en los casos de prueba",
    "Median Dice of each label, and mean Dice, beside the thesis's": (
        "Mediana del Dice de cada etiqueta, y Dice medio, junto a los de la tesis"
    ),
    "Median distances between surfaces (mm)": "Distancias medianas entre superficies (mm)",
    "Lesions found and invented on the test cases": "Lesiones halladas e inventadas en los casos de prueba",
    "Dice of each endpoint over replicates": "Dice de cada criterio sobre réplicas",
    "Mean predicted volume (ml) on validation images": "Volumen medio predicho (ml) en imágenes de validación",
    "The thesis's test: Wilcoxon on pairs of image and label, Bonferroni-corrected": (
        "El test de la tesis: Wilcoxon sobre pares de imagen y etiqueta, con corrección de Bonferroni"
    ),
    "Pairs of models compared, with the subject as the unit": "Pares de modelos comparados, con el sujeto como unidad",
    "Share of bootstrap draws in which a model takes each rank": (
        "Parte de las muestras bootstrap en que un modelo ocupa cada puesto"
    ),
    "Test subjects needed to see each difference": "Sujetos de prueba necesarios para ver cada diferencia",
    "Dice lost between the own cohort and the test cohort": "Dice perdido entre el dataset propio y el de prueba",
    "Spearman's correlation of divergence and loss of Dice, over pairs of cohorts": (
        "Correlación de Spearman entre divergencia y pérdida de Dice, sobre pares de datasets"
    ),
    "Cohorts": "Datasets",
    "Volumes of the drawn labels by cohort": "Volúmenes de las etiquetas dibujadas por dataset",
    "What the voxels of the store cost each label": "Qué cuestan a cada etiqueta los vóxeles del estudio",
    "Jensen-Shannon divergence (nats) of T1 between cohorts": "Divergencia de Jensen-Shannon (nats) de T1 entre datasets",
    "What the models of this study are": "Qué son los modelos de este estudio",
}
"""English -> Spanish: captions of figures, titles of tables, words of pages."""
