import pandas as pd

from multiseg.report.figures.curves import errors_found_figure


def test_a_curve_per_model_and_its_reading() -> None:
    counts = pd.DataFrame([(0, 90, 10), (30, 10, 5)], columns=["bin", "voxels", "wrong"]).assign(scenario="s")
    both = pd.concat([counts.assign(model="oracle"), counts.assign(model="dice", wrong=[0, 5])])
    drawn = errors_found_figure(both)
    assert drawn is not None
    figure, table = drawn
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist()[-1] for line in curves] == [1, 1]
    reading = errors_found_figure.describe(table)
    assert "s Oracle 17%" in reading and "Dice 50%" in reading  # half of the ten uncertain voxels are looked at


def test_nothing_is_drawn_without_errors() -> None:
    counts = pd.DataFrame({"bin": [0], "voxels": [10], "wrong": [0], "scenario": "s", "model": "oracle"})
    assert errors_found_figure(counts) is None
