"""The words of figures, tables and pages, in English or in the thesis's Spanish, see ``catalogue.yaml``.

Code names captions, titles and headings by a key, and passes English phrases through `say`; the params file's
``language`` says in which language they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...base.files import yaml_beside

LANGUAGES = ("en", "es")
"""English, Spanish."""

CATALOGUE: Mapping[str, Mapping[str, Any]] = yaml_beside(__file__, "catalogue.yaml")
"""Part (``captions``, ``tables``, ``columns``, ``endpoints``, ``values``) -> key -> words in each language; and
``phrases``: English -> Spanish."""

_language = "en"


def use_language(language: str) -> None:
    """Set the language, one of `LANGUAGES`. Raises ValueError for another."""
    global _language
    if language not in LANGUAGES:
        raise ValueError(f"no language '{language}'; there are {', '.join(LANGUAGES)}")
    _language = language


def language() -> str:
    """Return the language."""
    return _language


def word(part: str, key: str, default: str = "") -> str:
    """Return what a part of the catalogue says for a key; `default` if it has none."""
    said: list[str] = CATALOGUE[part].get(key, [default, default])
    return said[LANGUAGES.index(_language)]


def say(phrase: str, **values: object) -> str:
    """Return an English phrase in the language of the report, with values filled in.

    English where there is no translation, as for captions of a user's own notebook.
    """
    said: str = CATALOGUE["phrases"].get(phrase, phrase) if _language == "es" else phrase
    return said.format(**values) if values else said
