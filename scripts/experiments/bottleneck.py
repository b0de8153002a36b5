"""What a pair without attention loses of long sentences: by place in the sentence, two measures.

hello experiment bottleneck, after hello experiment attention-comparison, whose pairs without attention it
reads from runs/attention-comparison. Shown in notebook 01, *What is lost?*.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phrasebook import content_words, write_phrases
from scripts.tables import write_rows, write_settings
from utils.tokens import pad
from utils.translator import Translator, load_translator

PAIRS = Path("runs/attention-comparison")
WORDS, PROBED, TRANSLATED = 22, 4000, 300


def places_right(row: dict, text: str, language: str) -> dict[int, bool]:
    """For each linked source word, whether the translation has all target words that belong to it."""
    left, target, right = Counter(text.split()), row[language].split(), {}
    links = [tuple(map(int, link.split("-"))) for link in row[f"links_en_{language}"].split()]
    found = {}
    for place in sorted({place for _, place in links}):  # a written word counts for one of the places
        found[place] = left[target[place]] > 0
        left[target[place]] -= found[place]
    for source, place in links:
        right[source] = right.get(source, True) and found[place]
    return right


def translated(translator: Translator, rows: list[dict]) -> np.ndarray:
    """Per cent of the source words that are translated rightly, in each third of the sentences: [3]."""
    texts = translator.translate([row["en"] for row in rows])
    thirds = [[], [], []]
    for row, translation in zip(rows, texts, strict=True):
        length = len(row["en"].split())
        for place, right in places_right(row, translation.text, translator.languages[1]).items():
            thirds[3 * place // length].append(right)
    return np.array([100 * np.mean(third) for third in thirds])


@torch.no_grad()
def probed(translator: Translator, rows: list[dict]) -> np.ndarray:
    """Points that a probe of the last state gains over each place's commonest word, by third: [3]."""
    encoded = translator.source_tokenizer.encode_batch([row["en"] for row in rows])
    parts = [pad([one.ids[1:] for one in encoded[start : start + 500]]) for start in range(0, len(rows), 500)]
    states = torch.cat([translator.model.encode(part)["last"] for part in parts]).numpy()
    gains = []
    for place in range(WORDS):
        words = np.array([row["en"].split()[place].lower() for row in rows])
        chosen = np.flatnonzero(np.isin(words, list(content_words())))
        learn, test = np.split(chosen, [3 * len(chosen) // 4])
        probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10.0)).fit(states[learn], words[learn])
        found, counts = np.unique(words[learn], return_counts=True)
        always = np.mean(words[test] == found[counts.argmax()])
        gains.append(100 * (np.mean(probe.predict(states[test]) == words[test]) - always))
    return np.array([np.mean(part) for part in np.array_split(gains, 3)])


def untrained(translator: Translator, seed: int = 0) -> Translator:
    """The same translator with a new network, whose weights are random."""
    torch.manual_seed(seed)
    network = type(translator.model)(**translator.model.config).eval()
    tokenizers = translator.source_tokenizer, translator.target_tokenizer
    return Translator(network, *tokenizers, translator.languages, translator.training_length)


def measure_bottleneck(pairs: Path = PAIRS, name: str = "bottleneck") -> None:
    """Measure every pair without attention, and the shipped one; a row for each third of the sentences."""
    folders = sorted(pairs.glob("without-attention-*"))
    if not folders:
        raise FileNotFoundError(f"there is no pair in {pairs}: hello experiment attention-comparison")
    found, written = [], {}
    for seed, source in enumerate((*folders, "phrasebook-en-de-gru")):
        translator = load_translator(source)
        theme = "agreements" if source in folders else None
        if theme not in written:
            plain = write_phrases(2 * PROBED, 5 * 10**6, theme, WORDS, WORDS)
            even = [row for row in plain if len(row["en"].split()) == WORDS + 1][:PROBED]  # no comma
            written[theme] = list(write_phrases(TRANSLATED, 10**7 + 1, theme, 21, 24)), even
        rows, even = written[theme]
        pair = source.name if source in folders else source
        for measure, values in (
            ("translated", translated(translator, rows)),
            ("probe", probed(translator, even)),
            ("probe, untrained", probed(untrained(translator, seed), even)),
        ):
            for third, value in enumerate(values, 1):
                found.append({"pair": pair, "measure": measure, "third": third, "value": round(value, 2)})
        print(pair, [row["value"] for row in found[-9:]], flush=True)
        write_rows(name, found)
    write_settings(
        name,
        {
            "command": f"hello experiment {name}",
            "translated": f"{TRANSLATED} sentences of 21 to 24 words; a source word is right if the "
            "translation has all words that the phrasebook links to it; in per cent",
            "probe": f"up to {PROBED} sentences of {WORDS} words without comma; ridge classifier (alpha 10) "
            "on the last hidden state, content words, a quarter held out; points over the place's commonest",
            "probe, untrained": "the same on the last state of a network of the same sizes, random weights",
        },
    )
