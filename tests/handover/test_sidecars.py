"""Labels that lie side by side in a brain must look different in every program."""

import re
from pathlib import Path

from multiseg.handover import sidecars
from multiseg.report.figures.style import label_colours

NAMES = dict(enumerate(("csf", "gm", "wm", "wmh", "oedema", "tumour", "kidney"), start=1))


def test_no_two_labels_have_one_colour_in_any_program(tmp_path: Path) -> None:
    """CSF and tumour were one green, oedema and WMH one red."""
    sidecars.write_sidecars(tmp_path / "seg.nii.gz", NAMES, {}, "a run")
    bids = [line.split("\t")[2] for line in (tmp_path / "seg.tsv").read_text().splitlines()[1:]]
    snap = re.findall(r"^ +[1-7] +(\d+ +\d+ +\d+)", (tmp_path / "seg_labels.txt").read_text(), re.MULTILINE)
    slicer = re.findall(r"^[1-7] \S+ (\d+ \d+ \d+)", (tmp_path / "seg.ctbl").read_text(), re.MULTILINE)
    assert [len(set(found)) for found in (bids, snap, slicer)] == [7, 7, 7]
    assert bids == list(label_colours([*NAMES.values()]).values())  # as in the figures
    assert snap[0].split() == slicer[0].split() == [str(int(bids[0][at : at + 2], 16)) for at in (1, 3, 5)]
