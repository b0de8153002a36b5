"""The phrasebook: a grammar that writes the same sentence in three languages, with its word alignment."""

from phrasebook.grammar import (
    HELD_OUT,
    LANGUAGES,
    LONGEST,
    SHORTEST,
    THEMES,
    content_words,
    load_phrasebook,
    phrasebook_words,
    write_mixture,
    write_phrases,
)

__all__ = [
    "HELD_OUT",
    "LANGUAGES",
    "LONGEST",
    "SHORTEST",
    "THEMES",
    "content_words",
    "load_phrasebook",
    "phrasebook_words",
    "write_mixture",
    "write_phrases",
]
