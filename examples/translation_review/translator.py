"""What translates: an interface, and a table of words behind it where a real service would be called."""

# ruff: noqa: D102  # the names of an example are its documentation, those of methods too

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import attrs

from awaitpy import Err, Ok, Result


@attrs.frozen
class Draft:
    """A translation that nobody has looked at, and the words that stayed as they were."""

    text: str
    unknown: tuple[str, ...] = ()


@attrs.frozen
class CannotTranslate:
    reason: str


class Translator(Protocol):
    """A service that translates English. One over HTTP has the same shape, and takes longer."""

    async def translate(self, text: str, language: str) -> Result[Draft, CannotTranslate]: ...


class WordTable:
    """Translates word by word, from its table: offline, at once, and in need of a reviewer."""

    def __init__(self, words: Mapping[str, Mapping[str, str]]) -> None:
        self._words = words

    async def translate(self, text: str, language: str) -> Result[Draft, CannotTranslate]:
        if language not in self._words:
            return Err(CannotTranslate(f"There is no table for {language!r}."))
        known = self._words[language]
        found = re.findall(r"[^\W\d_]+", text)
        if not any(word.lower() in known for word in found):
            return Err(CannotTranslate("Not one of its words is in the table."))
        translated = re.sub(r"[^\W\d_]+", lambda match: _in_case(match[0], known), text)
        unknown = dict.fromkeys(word for word in found if word.lower() not in known)
        return Ok(Draft(translated, tuple(unknown)))


def _in_case(word: str, known: Mapping[str, str]) -> str:
    """The word of the table, with a capital where the word itself has one."""
    translated = known.get(word.lower(), word)
    return translated[:1].upper() + translated[1:] if word[:1].isupper() else translated


LANGUAGES = {"de": "German", "fr": "French", "es": "Spanish"}

_TABLE = """
    a           ein         un          un
    and         und         et          y
    bread       Brot        pain        pan
    chapter     Kapitel     chapitre    capítulo
    cold        kalt        froid       frío
    coffee      Kaffee      café        café
    day         Tag         jour        día
    drinks      trinkt      boit        bebe
    for         für         pour        para
    friend      Freund      ami         amigo
    good        guten       bon         buen
    he          er          il          él
    hello       hallo       bonjour     hola
    here        hier        ici         aquí
    house       Haus        maison      casa
    in          in          dans        en
    is          ist         est         es
    letter      Brief       lettre      carta
    man         Mann        homme       hombre
    morning     Morgen      matin       mañana
    my          mein        mon         mi
    new         neu         nouveau     nuevo
    night       Nacht       nuit        noche
    old         alt         vieux       viejo
    open        offen       ouvert      abierto
    reads       liest       lit         lee
    she         sie         elle        ella
    sings       singt       chante      canta
    the         der         le          el
    today       heute       aujourd’hui hoy
    tomorrow    morgen      demain      mañana
    town        Stadt       ville       ciudad
    waits       wartet      attend      espera
    warm        warm        chaud       cálido
    water       Wasser      eau         agua
    with        mit         avec        con
    wind        Wind        vent        viento
    woman       Frau        femme       mujer
    world       Welt        monde       mundo
    writes      schreibt    écrit       escribe
    you         du          tu          tú
"""


def word_table() -> WordTable:
    """The small table that comes with the example."""
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    columns = enumerate(LANGUAGES, start=1)
    return WordTable({language: {row[0]: row[column] for row in rows} for column, language in columns})
