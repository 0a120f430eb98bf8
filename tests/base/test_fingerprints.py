"""A product's key covers the code that can change it, and no other."""

import ast
import shutil
from pathlib import Path

import pytest

from multiseg.base.fingerprints import ROOT, code_fingerprint, modules_needed
from multiseg.study.plan import TRAINING_CODE
from multiseg_core.losses import LOSSES, loss_modules

FILES = {
    "a/__init__.py": "",
    "a/b.py": 'LIMIT = 3\n\ndef helper(x):\n    if x < 0:\n        raise ValueError("below 0")\n    return x + LIMIT\n',
    "a/c.py": "def other(x):\n    return 0\n",
    "a/numbers.csv": "1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def changed(package: Path, old: str, new: str) -> str:
    """The fingerprint of `a.b` after a change."""
    other = package / f"after{len(list(package.iterdir()))}"
    shutil.copytree(package / "a", other / "a")
    text = (other / "a/b.py").read_text()
    assert old in text
    (other / "a/b.py").write_text(text.replace(old, new))
    return code_fingerprint("a.b", root=other)


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 3", "LIMIT = 4"), ("x + LIMIT", "x - LIMIT"), ("< 0", "<= 0")])
def test_what_changes_numbers_counts(package: Path, old: str, new: str) -> None:
    assert changed(package, old, new) != code_fingerprint("a.b", root=package)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("below 0", "must not be negative"),  # a reworded message
        ('ValueError("below 0")', 'ValueError(f"{x} is below 0")'),
        ("def helper(x):\n", "def helper(x: int) -> int:\n    'What it does.'\n    # and why\n"),
        ("LIMIT = 3", "from .d import e\nLIMIT = 3"),  # e counts by its own file
    ],
)
def test_what_changes_no_number_does_not(package: Path, old: str, new: str) -> None:
    assert changed(package, old, new) == code_fingerprint("a.b", root=package)


def test_a_moved_module_is_the_same(package: Path) -> None:
    before = code_fingerprint("a.b", "a.c", root=package)
    (package / "z").mkdir()
    shutil.move(package / "a/b.py", package / "z/moved.py")
    assert code_fingerprint("a.c", "z.moved", root=package) == before


def test_a_file_of_data_in_a_package_counts(package: Path) -> None:
    before = code_fingerprint("a", root=package)
    (package / "b").mkdir()
    shutil.copytree(package / "a", package / "b/a")
    (package / "b/a/numbers.csv").write_text("2\n")
    assert code_fingerprint("a", root=package / "b") != before


def test_unknown_modules() -> None:
    with pytest.raises(ValueError, match=r"no module multiseg_core\.nothing"):
        code_fingerprint("multiseg_core.nothing")


NO_NUMBERS = {"multiseg_core.case", "multiseg_core.errors", "multiseg_core.files"}
IN_KEYS = {"multiseg_core.models", "multiseg_core.settings", "multiseg_core.param_values"}  # by their values


def test_all_that_training_imports_is_in_the_key_of_a_network() -> None:
    """But for losses and networks, of which the own files of each network count."""
    needed = set(modules_needed(*TRAINING_CODE))
    losses = {name for name in needed if name.startswith("multiseg_core.losses")}
    assert needed - losses - NO_NUMBERS - IN_KEYS - {"multiseg_core"} == set(TRAINING_CODE)


def test_all_that_a_loss_imports_is_in_the_key_of_what_it_trains() -> None:
    for name in LOSSES:
        modules = loss_modules(name)
        imported = {
            f"multiseg_core.losses.{node.module}"
            for module in modules
            for node in ast.walk(ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()))
            if isinstance(node, ast.ImportFrom) and node.level == 1
        }
        assert imported <= set(modules), name


def test_a_changed_loss_retrains_what_uses_it_and_nothing_else(tmp_path: Path) -> None:
    """By the code of the keys of networks; and a reworded message, a docstring or a moved module retrains nothing."""
    shutil.copytree(ROOT / "multiseg_core", tmp_path / "multiseg_core", ignore=shutil.ignore_patterns("__pycache__"))
    names = [*LOSSES, "monai.DiceCELoss"]

    def keys(root: Path) -> dict[str, str]:
        return {name: code_fingerprint(*TRAINING_CODE, *loss_modules(name), root=root) for name in names}

    before = keys(ROOT)
    assert keys(tmp_path) == before
    for n, (file, old, new, retrained) in enumerate(
        [
            ("losses/dice.py", "2 * overlap", "3 * overlap", {"SoftDice", "SelectiveDice", "SelectiveExclusion"}),
            ("losses/sigmoid.py", "class SelectiveSigmoid", "class SelectiveSigmoid2", {"SelectiveSigmoid"}),
            ("losses/selective.py", "< min(self.candidates)", "<= min(self.candidates)", {"monai.DiceCELoss"}),
            ("networks.py", "momentum=0.01", "momentum=0.02", set(names)),
            ("training.py", "Return the learning rate of a step", "The rate of a step", set()),
            ("samplers.py", "carries a label to sample", "has a label", set()),
            ("errors.py", "cutoff=0.5", "cutoff=0.6", set()),
        ]
    ):
        root = tmp_path / str(n)
        shutil.copytree(tmp_path / "multiseg_core", root / "multiseg_core")
        path = root / "multiseg_core" / file
        assert old in path.read_text(), (file, old)
        path.write_text(path.read_text().replace(old, new))
        after = keys(root)
        assert {name for name in names if after[name] != before[name]} == retrained, file
