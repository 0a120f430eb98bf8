import base64
import io
import json
import re

import numpy as np
from PIL import Image

from multiseg.report.figures.slice_slider import N_SLICES, slice_browser
from multiseg.results import cohort_tables
from multiseg.study.study import Study


def test_every_cohort_and_slice_is_in_the_page(smoke: Study) -> None:
    cohorts = cohort_tables.open_cases(smoke)
    page = slice_browser(cohorts, smoke.labels)
    assert "http" not in page  # works without a network
    found = re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content = json.loads(found.group(1))
    assert [entry["text"].split(",")[0] for entry in content] == list(cohorts)
    assert all(len(entry["slices"]) == N_SLICES for entry in content)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]["slices"][N_SLICES // 2]))))
    # T1, FLAIR and labels of mrbrains17 side by side; only the last third holds colour, that of WMH
    case = cohorts["mrbrains17"][0]
    assert pixels.shape[1] / pixels.shape[0] == 3 * case.shape[0] / case.shape[1]
    colourful = np.ptp(pixels.astype(int), axis=-1) > 60
    third = pixels.shape[1] // 3
    assert not colourful[:, : 2 * third].any() and colourful[:, 2 * third :].any()


def test_equal_cases_make_equal_pages(smoke: Study) -> None:
    cohorts = cohort_tables.open_cases(smoke)
    assert slice_browser(cohorts, smoke.labels) == slice_browser(cohorts, smoke.labels)
