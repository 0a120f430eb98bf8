"""A product's key covers the code that can change it, and no other."""

import shutil
from pathlib import Path

import pytest

from multiseg_core.utils.fingerprints import PACKAGE, code_fingerprint, needed

ROOTS = ("training.Trainer", "resident_sampler.make_sampler", "networks.UNet", "losses.SelectiveCrossEntropy")
FILES = {
    "__init__.py": "",
    "a.py": "from . import b\nfrom .c import again\n\ndef top(x):\n    return b.helper(x) + again(x)\n",
    "b.py": "LIMIT = 3\n\ndef helper(x):\n    return x + LIMIT\n\ndef other(x):\n    return 0\n",
    "c/__init__.py": "from .d import again\n",
    "c/d.py": "def again(x):\n    from ..e import read\n    return read('numbers.csv')\n",
    "c/numbers.csv": "1\n",
    "e.py": "def read(name):\n    return name\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "before" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "before"


def changed(package: Path, file: str, old: str, new: str) -> str:
    """The fingerprint of `a.top` after a change."""
    other = Path(shutil.copytree(package, package.parent / f"after{len(list(package.parent.iterdir()))}"))
    text = (other / file).read_text()
    assert old in text
    (other / file).write_text(text.replace(old, new))
    return code_fingerprint("a.top", package=other)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("b.py", "LIMIT = 3", "LIMIT = 4"),  # a constant, through a module and a function of it
        ("c/d.py", "return read(", "return 2 * read("),  # through a re-export
        ("e.py", "return name", "return name * 2"),  # through an import within a function
        ("c/numbers.csv", "1", "2"),  # a file that a text names
    ],
)
def test_what_is_needed_counts(package: Path, file: str, old: str, new: str) -> None:
    assert changed(package, file, old, new) != code_fingerprint("a.top", package=package)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("b.py", "return 0", "return 1"),  # a neighbour that nobody asks for
        ("b.py", "def helper(x):\n", "def helper(x):\n    'What it does.'\n    # and why\n"),
        ("__init__.py", "", "x = 1\n"),
    ],
)
def test_what_is_not_needed_does_not(package: Path, file: str, old: str, new: str) -> None:
    assert changed(package, file, old, new) == code_fingerprint("a.top", package=package)


def real(tmp_path: Path, *edits: tuple[str, str, str]) -> str:
    """The fingerprint of what trains a network, in a copy of this package after some edits."""
    other = tmp_path / str(len(list(tmp_path.iterdir()))) / PACKAGE.name
    shutil.copytree(PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in edits:
        path = other / file
        text = path.read_text() if path.exists() else ""
        assert old in text, (file, old)
        path.write_text(text.replace(old, new, 1) if old else text + new)
    return code_fingerprint(*ROOTS, package=other)


def test_a_new_loss_or_figure_retrains_nothing_and_a_changed_kernel_does(tmp_path: Path) -> None:
    before = real(tmp_path)
    new_loss = ("losses/mine.py", "", "class Mine:\n    pass\n")
    line = ("losses/__init__.py", "from .dice import", "from .mine import Mine\nfrom .dice import")
    named = ("losses/__init__.py", "__all__ = [", '__all__ = ["Mine", ')
    assert real(tmp_path, new_loss, line, named) == before
    assert real(tmp_path, ("figures/mine.py", "", "x = 1\n"), ("figures/style.py", "DPI", "DPI")) == before
    assert real(tmp_path, ("losses/dice.py", "2 * overlap", "3 * overlap")) == before  # a loss that it does not use
    assert real(tmp_path, ("losses/cross_entropy.py", "TINY = 1e-18", "TINY = 1e-19")) != before
    assert real(tmp_path, ("networks.py", "momentum=0.01", "momentum=0.02")) != before
    assert real(tmp_path, ("preprocessing/store.py", 'mmap_mode="r"', 'mmap_mode="c"')) != before  # how data are read


def test_unknown_definitions() -> None:
    with pytest.raises(ValueError, match="no definition losses.Nothing"):
        code_fingerprint("losses.Nothing")


def test_a_statement_that_defines_nothing_counts(package: Path) -> None:
    """What a notebook calls below an ``if``, and nowhere else, was in no key."""
    source = f"from {PACKAGE.name} import b\nx = 1\nif x:\n    b.other(x)\n"
    assert "b.other" in needed(package, (), source)
