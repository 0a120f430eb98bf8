from pathlib import Path

import pytest

from multiseg.results.results_csv import read_results
from multiseg_core.errors import UserError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows of results"),
        ("model,case,dice\n", "no rows of results"),
        (
            "model,case,dise\na,1,.5\n",
            "no value column 'dice' (did you mean 'dise'?); the columns are model, case, dise",
        ),
        ("Model,case,dice\na,1,.5\n", "no column 'model' (did you mean 'Model'?); the columns are Model, case, dice"),
        ("model;case;dice\na;1;0,5\n", "columns are separated by ';'; expected commas"),
        ("model,case,dice,dice\na,1,.5,.5\n", "column 'dice' is there twice"),
        ("model,case,dice\na,1\n", "line 2: 2 cells, but the header has 3"),
        ("model,case,dice\n\na,,.5\n", "line 3: column 'case' is empty"),
        ("model,case,dice\na,1,.5\na,2,good\n", "line 3: column 'dice': 'good' is not a number"),
        ("model,case,dice\na,1,inf\n", "line 2: column 'dice' is infinite"),
        (
            "model,case,seed,dice\na,1,0,.5\na,2,0,.5\na,1,0,.6\n",
            "line 4: model a, case 1, seed 0 is on line 2 already; is a column missing (scenario, replicate, cohort, "
            "subject, label)?",
        ),
        ("model,case,dice\na,1,.5\na,2,.5\n", "only one model, 'a'; a comparison needs two"),
        ("model,case,dice\na,1,.5\nb,1,.5\n", "only one case, '1'; a comparison needs two"),
        (
            "scenario,model,case,dice\ns,a,1,.5\ns,b,1,.5\ns,a,2,.5\nt,a,1,.5\n",
            "scenario 't': only one model, 'a'; a comparison needs two",
        ),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_the_line_or_column(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "results.csv"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_results(file)
    assert message in str(error.value) and str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "none.csv")
    with pytest.raises(UserError, match="Is a directory"):
        read_results(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"model,case,dice\n\xff\xfe,1,.5\n")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        read_results(tmp_path / "x.csv")


def test_a_name_column_is_no_value(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("model,case,dice\na,1,.5\nb,1,.5\n")
    with pytest.raises(UserError, match="column 'case' names things"):
        read_results(file, "case")
