"""The phrasebook: a grammar that writes the same sentence in English, French and German.

Every sentence is built once, as a meaning, and spelled out in the three languages side by side, so the
word alignment is known exactly. The words stand in ``data/lexicon``; the grammar is this file. It
knows agreement, elision and contraction in French, and cases, adjective endings, the verb's place and
compounds in German.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

TABLES = Path(__file__).parents[1] / "data" / "lexicon"
LANGUAGES = ("en", "fr", "de")
THEMES = ("agreements", "science", "travel", "weather", "people")
SHORTEST, LONGEST = 2, 60  # English words, punctuation not counted
_PUNCTUATION = (".", "!", ",")
_VOWELS = tuple("aeiouyéèêàâîôûœh")  # every French h in the tables is mute
_CASES = ("nominative", "accusative", "dative", "genitive")
_BE = {
    (False, False): ("is", "est", "ist"),
    (False, True): ("are", "sont", "sind"),
    (True, False): ("was", "était", "war"),
    (True, True): ("were", "étaient", "waren"),
}
_BEFORE_VOWEL = {"beau": "bel", "nouveau": "nouvel", "vieux": "vieil"}
_YEARS = ("1957", "1969", "1989", "1990", "1992", "1998", "2001", "2004", "2008", "2012", "2017", "2020")


def _parse(cell):
    """Read "modèle:2 de langue:1" as words with the keys under which they are aligned."""
    if cell and ":" not in cell:
        cell = f"{cell}:1"
    pairs = (item.partition(":") for item in cell.split())
    return tuple((word, tuple(map(int, keys))) for word, _, keys in pairs)


def _read(name):
    with open(TABLES / f"{name}.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@cache
def _lexicon() -> dict[str, Any]:
    names = "nouns", "adjectives", "verbs", "months", "impersonal"
    tables: dict[str, Any] = {name: _read(name) for name in names}
    nouns, adjectives = tables["nouns"], tables["adjectives"]
    for adjective in adjectives:
        adjective["classes"] = set(adjective["classes"].split(","))
    for noun in nouns:
        noun["classes"] = noun["classes"].split(",")
        for column in ("en", "en_plural", "fr", "fr_plural", "de", "de_plural", "de_genitive"):
            noun[column] = _parse(noun[column])
        noun["adjectives"] = [i for i, a in enumerate(adjectives) if a["classes"] & set(noun["classes"])]
    attachments = [
        row | {"inner": row["inner"].split(","), "chance": float(row["chance"])}
        for row in _read("attachments")
    ]
    for noun in nouns:
        noun["attachments"] = [
            row for row in attachments if set(row["classes"].split(",")) & set(noun["classes"])
        ]
    for verb in tables["verbs"]:
        for column in ("subjects", "objects"):
            verb[column] = verb[column].split(",") if verb[column] else []
    tables["by_class"] = {}
    for index, noun in enumerate(nouns):
        for name in noun["classes"]:
            tables["by_class"].setdefault(name, []).append(index)
    names = _read("names")
    tables["names"] = {kind: [row for row in names if row["kind"] == kind] for kind in ("person", "town")}
    times = [
        (*(_parse(row[language]) for language in LANGUAGES), row["uses"].split(",")) for row in _read("times")
    ]
    tables["times"] = {use: [row for row in times if use in row[3]] for use in ("past", "habit", "moment")}
    endings = {
        row["name"]: {g: [form.strip("-") for form in row[g].split()] for g in "mfnp"}
        for row in _read("endings")
    }
    tables["relative"] = {gender: forms[0] for gender, forms in endings["der"].items()}
    tables["determiners"] = {
        row["name"]: row | {c: endings.get(row[c]) for c in ("de_endings", "adjective_endings")}
        for row in _read("determiners")
    }
    tables |= {"verbs_of": {}, "copular": {}}  # by theme
    for noun in nouns:
        noun["verbs_of"] = {}  # what a relative clause behind the noun can say, by theme
    for theme in (None, *THEMES):
        verbs = tables["verbs_of"][theme] = [v for v in tables["verbs"] if theme in (None, v["theme"])]
        for noun in nouns:
            noun["verbs_of"][theme] = [v for v in verbs if set(v["subjects"]) & set(noun["classes"])]
        tables["copular"][theme] = [
            i for i, noun in enumerate(nouns)
            if theme in (None, noun["theme"]) and noun["adjectives"] and "area" not in noun["classes"]
        ]  # fmt: skip
    return tables


@dataclass(slots=True)
class _NounPhrase:
    """A noun phrase: parts in each language, and what agrees with it.

    A part is a pair: words with their keys, and a number that is added to the keys.
    """

    en: list
    fr: list
    cases: dict  # the German words by case
    base: int
    plural: bool
    feminine: bool  # in French
    gender: str  # in German, "p" in the plural
    determiner: str
    classes: list  # of the noun; a pronoun has those of the noun that it stands for
    words: int
    tail: list = field(default_factory=list)  # what stands behind the German words in every case
    open: bool = False  # ends in words to which "in Rome" behind them would seem to belong

    @property
    def person(self):
        return "person" in self.classes

    @property
    def definite(self):
        return self.determiner in ("the", "this", "my")

    def de(self, case):
        return [(self.cases[case], self.base), *self.tail]

    def extend(self, en, fr, de, words):
        """Put more parts behind the phrase."""
        self.en, self.fr, self.tail = self.en + en, self.fr + fr, self.tail + de
        self.words, self.open = self.words + words, True
        return self


@cache
def _spell_noun(noun_index, name, plural, adjective_index):
    """The words of a noun phrase in the three languages, with their keys: 0 determiner, 3 adjective."""
    lexicon = _lexicon()
    noun, determiner = lexicon["nouns"][noun_index], lexicon["determiners"][name]
    adjective = None if adjective_index is None else lexicon["adjectives"][adjective_index]
    feminine = noun["fr_gender"] == "f"
    article = determiner["en_plural" if plural else "en"]
    en = ((article, (0,)),) if article else ()
    en += ((adjective["en"], (3,)),) if adjective else ()
    en += noun["en_plural" if plural else "en"]

    fr = noun["fr_plural" if plural else "fr"]
    article = determiner["fr_plural" if plural else "fr_f" if feminine else "fr_m"]
    if adjective:
        column = _french_column(feminine, plural)
        form = adjective[column]
        if adjective["fr_position"] == "before":
            if column == "fr_m" and fr[0][0][0].lower() in _VOWELS:
                form = _BEFORE_VOWEL.get(form, form)
            article = "de" if name == "some" else article  # de petites filles
            fr = ((form, (3,)), *fr)
        else:
            fr = (*fr, (form, (3,)))
    fr = ((article, () if name in ("some", "all") else (0,)), *fr)

    gender, de = "p" if plural else noun["de_gender"], {}
    for place, case in enumerate(_CASES):
        endings = determiner["de_endings"]
        article = determiner["de_stem"] + (endings[gender][place] if endings else "")
        words = ((article, (0,)),) if article else ()
        if adjective:
            words += ((adjective["de_stem"] + determiner["adjective_endings"][gender][place], (3,)),)
        form = noun["de_plural" if plural else "de"]
        if plural and case == "dative" and not form[-1][0].endswith(("n", "s")):
            form = (*form[:-1], (form[-1][0] + "n", form[-1][1]))
        if not plural and case == "genitive" and noun["de_genitive"]:
            form = noun["de_genitive"]
        de[case] = words + form
    return en, fr, de, feminine, gender


def _french_column(feminine, plural):
    return f"fr_{'f' if feminine else 'm'}{'p' if plural else ''}"


@cache
def _word(text, key):
    """The tokens of one word, or of several under one key; without a key they are aligned to nothing."""
    keys = () if key is None else (key,)
    return tuple((word, keys) for word in text.split())


def _agree(participle, feminine, plural):
    """A French participle or adjective that follows the rule: -e for feminine, -s for plural."""
    form = participle + "e" if feminine else participle
    return form + "s" if plural and not form.endswith("s") else form


class _Writer:
    """Writes one sentence: draws words, hands out alignment keys, and keeps the parts."""

    def __init__(self, generator, theme):
        self.random, self.theme, self.keys = generator.random, theme, 0
        self.verb = None  # of the clause that is being written
        self.conditional = False  # inside a "when"
        self.lexicon = lexicon = _lexicon()
        self.nouns, self.by_class = lexicon["nouns"], lexicon["by_class"]
        self.verbs = lexicon["verbs_of"][theme]

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def chance(self, probability):
        return self.random() < probability

    def base(self, count=4):
        self.keys += count
        return self.keys - count

    def word(self, text, key=None, base=0):
        return [(_word(text, key), base)] if text else []

    def triple(self, en, fr, de):
        base = self.base(1)
        return self.word(en, 0, base), self.word(fr, 0, base), self.word(de, 0, base)

    # Noun phrases

    def noun_phrase(self, classes, budget, bare="some", single=False):
        """A noun phrase of one of the classes, of about ``budget`` words at most.

        ``bare`` is what a plural without article means: French says "les" of all, and "des" of some.
        ``single`` forbids the plural, for places: nobody is in two at once.
        """
        person = "person" in classes or "grown" in classes
        if "town" in classes or (person and self.chance(0.7 if budget < 2 else 0.15)):
            return self.name("town" if "town" in classes else "person")
        kind = self.pick(classes)
        index = self.pick(self.by_class[kind])
        noun, single = self.nouns[index], single or kind == "destination"
        area = "area" in noun["classes"]
        countable = bool(noun["en_plural"]) and not area
        plural = countable and not single and (budget < 2 or self.chance(0.35))
        if not countable or (single and budget < 2):
            determiner = "the"
        elif budget < 2 or (plural and self.chance(0.3)):
            determiner = bare
        else:
            options = (
                ("the", "the", "this", "two", "three", "four") if plural else ("the", "the", "a", "a", "this")
            )
            determiner = "my" if "own" in noun["classes"] and self.chance(0.2) else self.pick(options)
        adjective = None
        if area or (noun["adjectives"] and budget >= 3 and self.chance(0.45)):
            adjective = self.pick(noun["adjectives"])
        phrase = self.simple(index, determiner, plural, adjective)
        left = budget - phrase.words
        if left < 4 or determiner == "all":  # what is said of all is said of no special ones
            return phrase
        if determiner != "my":
            for row in noun["attachments"]:
                if self.chance(row["chance"]):
                    return self.attach(phrase, index, row, left - 1)
        return self.relative(phrase, noun, left) if self.chance(0.6) else phrase

    def simple(self, index, determiner, plural, adjective):
        en, fr, de, feminine, gender = _spell_noun(index, determiner, plural, adjective)
        base, classes = self.base(), self.nouns[index]["classes"]
        return _NounPhrase(
            [(en, base)], [(fr, base)], de, base, plural, feminine, gender, determiner, classes, len(en)
        )

    def name(self, kind):
        row = self.pick(self.lexicon["names"][kind])
        en, fr, [(german, base)] = self.triple(row["en"], row["fr"], row["de"])
        cases, feminine = dict.fromkeys(_CASES, german), row["gender"] == "f"
        return _NounPhrase(en, fr, cases, base, False, feminine, row["gender"], "the", [kind], 1)

    def attach(self, phrase, index, row, budget):
        """Attach a prepositional phrase (a genitive in German where a row has no preposition) to a noun."""
        if row["de_case"] == "genitive":
            owner = self.pick(self.by_class["person"])
            if owner == index:  # no friend of the friend
                return phrase
            inner = self.simple(owner, "the", self.chance(0.3), None)
        else:
            place = row["inner"] in (["place"], ["outdoors"])
            inner = self.noun_phrase(row["inner"], min(budget, 3 if place else 14), single=place)
        en, fr, de = self.triple(row["en"], row["fr"], row["de"])
        return phrase.extend(en + inner.en, fr + inner.fr, de + inner.de(row["de_case"]), inner.words + 1)

    def relative(self, phrase, noun, budget):
        """Attach a relative clause, if there is a verb that this noun can be the subject of."""
        verbs = [verb for verb in noun["verbs_of"][self.theme] if verb is not self.verb]
        if not verbs:
            return phrase
        base = self.base()
        pronoun = _NounPhrase(
            self.word("who" if phrase.person else "that", 0, base),
            self.word("qui", 0, base),
            {"nominative": _word(self.lexicon["relative"][phrase.gender], 0)},
            base, phrase.plural, phrase.feminine, phrase.gender, "the", phrase.classes, 1,
        )  # fmt: skip
        clause = self.verbal(self.pick(verbs), pronoun, self.pick(("present", "past")), budget - 1).flat()
        comma = self.word(",")
        german = comma + clause.subordinate() + comma
        return phrase.extend(clause.en, clause.fr, german, clause.words)

    # Clauses

    def clause(self, budget, tense=None):
        """A clause of about ``budget`` words."""
        tense = tense or self.pick(("present", "past"))
        if self.theme in (None, "weather") and budget <= 9 and self.chance(0.06):
            return self.impersonal(tense, budget)
        if self.chance(0.3) and budget >= 3:
            return self.copula(tense, budget)
        verb = self.pick(self.verbs)
        for _ in range(20):
            if not (verb["objects"] and budget < 3):
                break
            verb = self.pick(self.verbs)
        self.verb = verb
        if verb["passive"] == "yes" and tense == "past" and budget >= 4 and self.chance(0.3):
            return self.passive(verb, budget)
        share = budget - 2 if not verb["objects"] else max(1, (budget - 1) // 2)
        if self.chance(0.5) and not verb["objects"]:
            share = max(1, share - 3)
        bare = "some"
        if tense == "present" and not verb["objects"]:
            bare = "all"
        elif verb["object_article"] == "all":
            bare = "the"
        subject = self.noun_phrase(verb["subjects"], max(1, min(share, 14)), bare)
        return self.verbal(verb, subject, tense, budget - subject.words)

    def joined_verb(self, subject, helper, rest, negated, base, keys=(1, 1)):
        """Put a subject and a verb together: the finite helper and the rest, each as (en, fr, de)."""
        en, fr, de = (self.word(text, keys[0], base) for text in helper)
        if negated:
            en = en + self.word("not", 2, base)
            fr = self.word("ne", 2, base) + fr + self.word("pas", 2, base)
        more = [self.word(text, keys[1], base) for text in rest]
        clause = _Clause(
            subject.en + en + more[0], subject.fr + fr + more[1], subject.de("nominative"), de, more[2],
            subject.words + sum(len(part) for part, _ in en + more[0]),
        )  # fmt: skip
        clause.negation = self.word("nicht", 2, base) if negated else []
        return clause

    def verbal(self, verb, subject, tense, budget):
        """A clause with a full verb: ``budget`` is for what follows the subject."""
        base, plural, past = self.base(), subject.plural, tense == "past"
        budget -= 1
        target, preposition = None, verb["en_preposition"]
        if verb["objects"]:
            room = max(1, min(budget - bool(preposition), 14))
            target = self.noun_phrase(verb["objects"], room, verb["object_article"])
            budget -= target.words + bool(preposition)
        # "some … not" would mean something else in each language
        can_be_denied = subject.determiner != "some" and (target is None or target.definite)
        negated = budget >= 2 and can_be_denied and self.chance(0.15)
        helper = ("did" if past else "do" if plural else "does") if negated else ""
        form = "en" if negated or (plural and not past) else "en_past" if past else "en_third"
        if past:
            moved = verb["fr_auxiliary"] == "être"  # then the participle agrees with the subject
            participle = verb["fr_participle"]
            participle = _agree(participle, subject.feminine, plural) if moved else participle
            fr = ("sont" if plural else "est") if moved else ("ont" if plural else "a")
            de = ("sind", "ist") if verb["de_auxiliary"] == "sein" else ("haben", "hat")
            helper = helper, fr, de[not plural]
            rest = verb[form], participle, verb["de_participle"]
        else:
            helper = helper, verb["fr_plural" if plural else "fr"], verb["de_plural" if plural else "de"]
            rest = verb[form], "", ""
        clause = self.joined_verb(subject, helper, rest, negated, base)
        prepositions = [self.word(verb[f"{language}_preposition"], 3, base) for language in LANGUAGES]
        after = []
        if target:
            german = target.de("dative" if verb["de_case"] == "dat" else "accusative")
            clause.extend(prepositions[0] + target.en, prepositions[1] + target.fr, target.words)
            if prepositions[2]:
                after = prepositions[2] + german
            else:
                clause.middle = german
        clause.after, clause.open = after, target is not None and target.open
        if subject.determiner == "all":
            return clause
        moving = preposition == "to" or verb["en"] in ("come", "visit")
        land = target is not None and "land" in target.classes  # not: this city in Rome
        if not (moving or land or clause.open) and budget >= 2 and self.chance(0.5):
            self.add_place(clause, subject.person and verb["theme"] != "weather", budget)
        self.add_time(clause, tense, budget)
        return clause

    def passive(self, verb, budget):
        """A clause such as "the agreement was signed by the minister"."""
        subject = self.noun_phrase(verb["objects"], max(2, min(budget - 2, 14)))
        base, left, plural = self.base(), budget - 2 - subject.words, subject.plural
        helper = ("were", "ont", "wurden") if plural else ("was", "a", "wurde")
        participle = _agree(verb["fr_participle"], subject.feminine, plural)
        rest = verb["en_participle"], participle, verb["de_participle"]
        negated = left >= 1 and subject.determiner != "some" and self.chance(0.12)
        clause = self.joined_verb(subject, helper, rest, negated, base, (0, 1))
        clause.fr.insert(-1, self.word("été", 0, base)[0])
        if left >= 3 and self.chance(0.35):
            agent = self.noun_phrase(verb["subjects"], min(left - 1, 10))
            en, fr, de = self.triple("by", "par", "von")
            clause.extend(en + agent.en, fr + agent.fr, agent.words + 1)
            clause.after = de + agent.de("dative")
            clause.open = agent.open
        self.add_time(clause, "past", left, 0.9)
        return clause

    def copula(self, tense, budget):
        """A clause such as "Transformers are great"."""
        index = self.pick(self.lexicon["copular"][self.theme])
        noun, past = self.nouns[index], tense == "past"
        plural = bool(noun["en_plural"]) and self.chance(0.5)
        options = ["the", "this"] if noun["en_plural"] else ["the"]
        options += ["my"] if "own" in noun["classes"] else []
        options += ["two", "all"][: 1 + (not past)] if plural else []
        determiner = self.pick(options)
        subject = self.simple(index, determiner, plural, None)
        if budget - subject.words - 2 >= 4 and determiner != "all" and self.chance(0.5):
            subject = self.relative(subject, noun, min(12, budget - subject.words - 2))
        row = self.lexicon["adjectives"][self.pick(noun["adjectives"])]
        left = budget - subject.words - 2
        helper = _BE[past, plural]
        rest = row["en"], row[_french_column(subject.feminine, plural)], row["de"]
        negated = left >= 1 and self.chance(0.15)
        clause = self.joined_verb(subject, helper, rest, negated, self.base(), (0, 1))
        if left >= 3 and determiner != "all" and row["passing"] == "yes":  # not "is large in summer"
            moment = tense == "present" and not self.conditional and self.chance(0.5)
            self.add_time(clause, "moment" if moment else tense, left)
        return clause

    def impersonal(self, tense, budget):
        """A clause such as "it is raining", in a town or not."""
        base = self.base()
        row = self.pick([row for row in self.lexicon["impersonal"] if row["tense"] == tense])
        columns = ("en", "fr", "de_subject", "de_finite", "de_end")
        parts = [[(_parse(row[column]), base)] if row[column] else [] for column in columns]
        clause = _Clause(*parts, words=len(parts[0][0][0]))
        if budget - clause.words >= 2:
            self.add_place(clause, False, 2)
        if tense == "past" or not self.conditional:  # it is raining: now, and not every day
            self.add_time(clause, "past" if tense == "past" else "moment", budget - clause.words)
        return clause

    def add_place(self, clause, indoors, budget):
        if indoors and budget >= 3 and self.chance(0.7):
            en, fr, de, classes = self.pick(
                (("in", "dans", "in", ["place"]), ("behind", "derrière", "hinter", ["building"]))
            )
            place = self.noun_phrase(classes, min(budget - 1, 3), single=True)
        else:
            en, fr, de, place = "in", "à", "in", self.name("town")
        en, fr, de = self.triple(en, fr, de)
        clause.extend(en + place.en, fr + place.fr, place.words + 1)
        clause.place = de + place.de("dative")

    def add_time(self, clause, tense, left, probability=0.5):
        """Say when, at the end or at the front; a German time stands behind the finite verb.

        In the present a verb says what is usual ("habit"), except that of a state or of the weather.
        """
        if left < 2 or not self.chance(probability):
            return
        base = self.base()
        if tense == "past" and self.chance(0.4):
            month, year = self.pick(self.lexicon["months"]), ((self.pick(_YEARS), (3,)),)
            kind = self.pick(("month", "year", "both")) if left >= 3 else "year"
            start = "in", "en", "im Jahr" if kind == "year" else "im"
            en, fr, de = (
                _word(first, 1)
                + (_word(month[language], 2) if kind != "year" else ())
                + (year if kind != "month" else ())
                for first, language in zip(start, LANGUAGES, strict=True)
            )
        else:
            en, fr, de, _ = self.pick(self.lexicon["times"]["habit" if tense == "present" else tense])
        if len(en) > left:
            return
        clause.words += len(en)
        parts = [(en, base)], [(fr, base)], [(de, base)]
        if clause.open or self.chance(0.25):
            clause.front = parts
        else:
            clause.en += parts[0]
            clause.fr += parts[1]
            clause.time = parts[2]

    # Sentences

    def sentence(self, budget):
        """A sentence of about ``budget`` words: parts in the three languages."""
        mark = "!" if self.chance(0.12) else "."
        en, fr, de = self.joined(budget)
        end = self.triple(mark, mark, mark)
        return en + end[0], fr + end[1], de + end[2]

    def joined(self, budget, later=False):
        """One clause, or several: the ``later`` of them do not begin with a time, which needs two commas."""
        if budget < 9 or (budget < 15 and self.chance(0.6)):
            return self.spelled(self.clause(budget), later)
        first = max(4, min(budget - 5, int(budget * (0.3 + 0.4 * self.random()))))
        kind = self.random()
        if kind < 0.25 and budget <= 24:
            return self.when(first, budget - first - 1)
        if kind < 0.5 and budget <= 30:
            return self.reported(budget)
        if kind < 0.7 and budget <= 40:
            link = self.triple("because", "parce que", "weil")
            head = self.spelled(self.clause(first), later)
            tail = self.clause(min(20, budget - first - 1)).flat()
            # a German subordinate clause ends in a comma; before a full stop _flatten drops it
            return self.chain(head, link, (tail.en, tail.fr, tail.subordinate() + self.word(",")), comma="de")
        head, tail = self.joined(first, later), self.joined(budget - first - 1, later=True)
        if self.chance(0.4):
            return self.chain(head, self.triple("but", "mais", "aber"), tail, comma="en,fr,de")
        return self.chain(head, self.triple("and", "et", "und"), tail)

    def when(self, first, second):
        """ "When the sun shines, the children laugh": German puts the verb after the comma."""
        link = self.triple("when", "quand", "wenn")
        self.conditional = True
        head = self.clause(first, "present").flat()
        self.conditional = False
        tail = self.clause(second, "present").flat()
        comma = self.triple(",", ",", ",")
        return (
            link[0] + head.en + comma[0] + tail.en,
            link[1] + head.fr + comma[1] + tail.fr,
            link[2] + head.subordinate() + comma[2] + tail.inverted(),
        )

    def reported(self, budget):
        """ "Anna says that …": German ends with the verb."""
        speaker, base = self.noun_phrase(["person"], 3), self.base()
        many, inner = speaker.plural, self.clause(min(20, budget - speaker.words - 2)).flat()
        link = self.triple("that", "que", "dass")
        return (
            speaker.en + self.word("say" if many else "says", 0, base) + link[0] + inner.en,
            speaker.fr + self.word("disent" if many else "dit", 0, base) + link[1] + inner.fr,
            speaker.de("nominative") + self.word("sagen" if many else "sagt", 0, base)
            + self.word(",") + link[2] + inner.subordinate() + self.word(","),
        )  # fmt: skip

    def spelled(self, clause, later=False):
        clause = clause.flat() if later else clause
        if clause.front is None:
            return clause.en, clause.fr, clause.main()
        en, fr, de = clause.front
        comma = self.triple(",", ",", "")
        return en + comma[0] + clause.en, fr + comma[1] + clause.fr, de + clause.inverted()

    def chain(self, head, link, tail, comma=""):
        base = self.base(1)
        commas = [
            self.word(",", 0 if comma != "de" else None, base) if language in comma else []
            for language in LANGUAGES
        ]
        return tuple(h + c + k + t for h, c, k, t in zip(head, commas, link, tail, strict=True))


@dataclass(slots=True)
class _Clause:
    """A clause: English and French in order; German in pieces, since its order depends on its place."""

    en: list
    fr: list
    subject: list
    finite: list
    end: list
    words: int
    middle: list = field(default_factory=list)  # the object
    place: list = field(default_factory=list)
    after: list = field(default_factory=list)
    time: list = field(default_factory=list)
    negation: list = field(default_factory=list)
    front: tuple | None = None
    open: bool = False

    def extend(self, en, fr, words):
        """Add a phrase behind the English and French words; German has places of its own."""
        self.en, self.fr, self.words = self.en + en, self.fr + fr, self.words + words

    def flat(self):
        """Move a time from the front to its other place, as subordinate clauses want it.

        Behind a relative clause it could belong to either clause; there it is left out.
        """
        if self.front and self.open:
            self.words -= len(self.front[0][0][0])
            self.front = None
        if self.front:
            self.en, self.fr, self.time = self.en + self.front[0], self.fr + self.front[1], self.front[2]
            self.front = None
        return self

    def _field(self):
        # "schläft nicht in Rom", but "verkauft den Apfel in Rom nicht"
        alone = not (self.middle or self.after)
        denied = self.negation + self.place if alone else self.place + self.negation
        return self.time + self.middle + denied + self.after

    def main(self):
        """The finite verb second: Der Minister hat … unterzeichnet."""
        return self.subject + self.finite + self._field() + self.end

    def inverted(self):
        """Something else first, then the finite verb: (Gestern) hat der Minister … unterzeichnet."""
        return self.finite + self.subject + self._field() + self.end

    def subordinate(self):
        """The finite verb last: … weil der Minister … unterzeichnet hat."""
        return self.subject + self._field() + self.end + self.finite


_ELIDED = {"le": "l'", "la": "l'", "de": "d'", "ne": "n'", "que": "qu'", "ce": "cet", "ma": "mon"}
_CONTRACTED = {
    ("de", "le"): "du", ("de", "les"): "des", ("de", "des"): "de", ("de", "de"): "de",
    ("à", "le"): "au", ("à", "les"): "aux",
    ("in", "dem"): "im", ("zu", "dem"): "zum", ("zu", "der"): "zur", ("von", "dem"): "vom",
    (",", ","): ",", (",", "."): ".", (",", "!"): "!",
}  # fmt: skip


# The words that a neighbour behind them can change; all others are skipped.
_CHANGEABLE = {"en": {"a"}, "fr": {*_ELIDED, "de", "à"}, "de": {"in", "zu", "von", ","}}


def _flatten(parts, language):
    """Put parts in a row, and let neighbours change each other: le + accord → l', in + dem → im."""
    words = [word for part, _ in parts for word, _ in part]
    keys = [
        (base + places[0],) if len(places) == 1 else tuple([base + place for place in places])
        for part, base in parts
        for _, places in part
    ]
    changeable = _CHANGEABLE[language]
    places = [index for index, word in enumerate(words[:-1]) if word in changeable]
    # From the end to the beginning, so that "de le accord" becomes "de l' accord", not "du accord".
    for index in reversed(places):
        word, following = words[index], words[index + 1]
        merged = _CONTRACTED.get((word, following))
        if merged:
            words[index] = word = merged
            keys[index] += keys.pop(index + 1)
            del words[index + 1]
            following = words[index + 1] if index + 1 < len(words) else ""
        if language == "fr" and word in _ELIDED and following[0].lower() in _VOWELS:
            words[index] = _ELIDED[word]
        elif language == "en" and following[0] in "aeio":
            words[index] = "an"
    words[0] = words[0][0].upper() + words[0][1:]
    return words, keys


def _links(source_keys, target_keys):
    """All pairs of positions that share a key, in Pharaoh form, in order."""
    places: dict[int, tuple[int, ...]] = {}
    for position, keys in enumerate(target_keys):
        for key in keys:
            places[key] = (*places.get(key, ()), position)
    pairs = {(i, j) for i, keys in enumerate(source_keys) for key in keys for j in places.get(key, ())}
    return " ".join([f"{i}-{j}" for i, j in sorted(pairs)])


def _runs(text):
    """What may not be written of a sentence: any five tokens in a row, or all words of a shorter one."""
    tokens = text.lower().split()
    words = [token for token in tokens if token not in _PUNCTUATION]
    runs = [tokens[index : index + 5] for index in range(len(tokens) - 4)] if len(words) >= 5 else [words]
    return [f" {' '.join(run)} " for run in runs]


# The chapter's example sentences. Neither they nor any five of their tokens in a row are generated.
HELD_OUT = tuple(_read("held_out"))
_HELD_OUT_RUNS = {
    language: [run for row in HELD_OUT for run in _runs(row[language])] for language in LANGUAGES
}


def _is_held_out(row):
    for language, runs in _HELD_OUT_RUNS.items():
        text = f" {row[language].lower()} "
        if any(run in text for run in runs):
            return True
    return False


def write_phrases(
    count: int, seed: int = 0, theme: str | None = None, min_words: int = SHORTEST, max_words: int = LONGEST
) -> Iterator[dict[str, Any]]:
    """Write sentences in three languages; the arguments are those of ``load_phrasebook``.

    Yields:
        Dictionaries with the keys en, fr, de, links_en_fr, links_en_de and words.
    """
    if theme is not None and theme not in THEMES:
        raise ValueError(f"there is no theme {theme!r}; choose one of {', '.join(THEMES)}, or None")
    if not SHORTEST <= min_words <= max_words <= LONGEST:
        raise ValueError(
            f"sentences have {SHORTEST} to {LONGEST} words, and min_words must not exceed max_words; "
            f"asked for {min_words} to {max_words}"
        )
    generator = random.Random(seed)
    written = 0
    while written < count:
        writer = _Writer(generator, theme)
        parts = writer.sentence(generator.randint(min_words, max_words))
        (en, en_keys), (fr, fr_keys), (de, de_keys) = (
            _flatten(part, language) for part, language in zip(parts, LANGUAGES, strict=True)
        )
        row = {"en": " ".join(en), "fr": " ".join(fr), "de": " ".join(de)}
        words = len(en) - sum(map(en.count, _PUNCTUATION))
        if not min_words <= words <= max_words or _is_held_out(row):
            continue
        row |= {"links_en_fr": _links(en_keys, fr_keys), "links_en_de": _links(en_keys, de_keys)}
        yield row | {"words": words}
        written += 1


def write_mixture(
    count: int,
    seed: int = 0,
    max_words: int = 24,
    short_share: float = 0.5,
    theme: str | None = None,
    distinct: bool = False,
) -> list[dict[str, Any]]:
    """Write sentences to train on: many short ones, so that a small model gets a foothold.

    Args:
        count: number of sentences.
        seed: the same seed writes the same sentences.
        max_words: length of the longest.
        short_share: this share has 2 to 8 words; the others have 2 to ``max_words``, evenly spread.
        theme: one of ``THEMES``, or None for all.
        distinct: no English sentence twice. Short ones repeat otherwise, since there are not so many.

    Returns:
        A list of rows as ``write_phrases`` yields them, in random order.

    Raises:
        ValueError: there are not enough distinct sentences.
    """
    short = round(count * short_share)
    rows, texts = [], set()
    for target, longest in ((short, min(8, max_words)), (count, max_words)):
        tries = 10 * target if distinct else target - len(rows)
        for row in write_phrases(tries, seed, theme, max_words=longest):
            if distinct and row["en"] in texts:
                continue
            texts.add(row["en"])
            rows.append(row)
            if len(rows) == target:
                break
        if len(rows) < target:
            raise ValueError(f"only {len(rows)} distinct sentences of up to {longest} words were found")
    random.Random(seed).shuffle(rows)
    return rows


def load_phrasebook(
    count: int, seed: int = 0, theme: str | None = None, min_words: int = SHORTEST, max_words: int = LONGEST
) -> Dataset:
    """Write sentences in English, French and German with their exact word alignments.

    Lengths are spread over the whole range. The chapter's example sentences (``HELD_OUT``) never occur,
    nor do any five of their tokens in a row.

    Args:
        count: number of sentences.
        seed: the same seed writes the same sentences.
        theme: one of ``THEMES``, or None for all.
        min_words, max_words: length in English words, punctuation not counted, from 2 to 60.

    Returns:
        A ``datasets.Dataset`` with the columns en, fr and de (tokens separated by spaces),
        links_en_fr and links_en_de (index pairs in Pharaoh form, ``0-0``, all of them sure), and words.

    Raises:
        ValueError: an unknown theme or impossible lengths; the message says what is possible.
    """
    from datasets import Dataset

    return Dataset.from_list(list(write_phrases(count, seed, theme, min_words, max_words)))


@cache
def phrasebook_words() -> dict[str, list[str]]:
    """All words that the phrasebook writes, in lower case and at the start of a sentence.

    Returns:
        A dictionary from language to a sorted list of words.
    """
    words = {language: set() for language in LANGUAGES}
    for row in write_phrases(10_000, seed=0, max_words=30):
        for language in LANGUAGES:
            words[language].update(row[language].split())
    # Sentences hold what is frequent; the rare endings come from the tables.
    forms = ("the", False), ("a", False), ("the", True), ("two", True), ("some", True)
    for index, noun in enumerate(_lexicon()["nouns"]):
        for determiner, plural in forms:
            if (plural or determiner == "a") and not noun["en_plural"]:
                continue
            for adjective in (None, *noun["adjectives"]):
                en, fr, de, *_ = _spell_noun(index, determiner, plural, adjective)
                for language, phrases in (("en", [en]), ("fr", [fr]), ("de", de.values())):
                    words[language].update(word for phrase in phrases for word, _ in phrase)
    for verb in _lexicon()["verbs"]:
        words["fr"] |= {_agree(verb["fr_participle"], f, p) for f in (False, True) for p in (False, True)}
    return {
        language: sorted(found | {word[0].upper() + word[1:] for word in found})
        for language, found in words.items()
    }


@cache
def content_words() -> frozenset[str]:
    """The English nouns, adjectives and verbs of the phrasebook, in all forms, in lower case."""
    lexicon = _lexicon()
    words = {adjective["en"] for adjective in lexicon["adjectives"]}
    for noun in lexicon["nouns"]:
        words |= {word for column in ("en", "en_plural") for word, _ in noun[column]}
    for verb in lexicon["verbs"]:
        words |= {verb[column] for column in ("en", "en_third", "en_past", "en_participle")}
    return frozenset(word.lower() for word in words if word)
