"""Additive or dot-product scores in the attention of a recurrent translator, and what counting alone aligns.

hello experiment attention-scores

Five seeds of a short training with each score, on phrasebook sentences, whose grammar knows which words
belong together; and IBM model 1 on the very sentences that translators learn from, there and on captions.
Shown in notebook 02, *Dot product or sum?* and *Are the weights alignments?*.
"""

import itertools
import re
import time

import numpy as np
import torch
from torch import Tensor, nn

from phrasebook import write_mixture, write_phrases
from scripts.alignment_scores import (
    alignment_error_rate,
    diagonal_alignment,
    ibm_model_1,
    uniform_alignment,
)
from scripts.corpora import load_multi30k
from scripts.lengths import SEEDS
from scripts.tables import write_rows, write_settings
from utils.alignment import hard_alignment, link_matrix, match_pieces, merge_weights, parse_links
from utils.loaders import load_captions
from utils.models.recurrent import AdditiveAttention
from utils.training import fit_translator, new_translator, phrasebook_tokenizers
from utils.translator import load_translator

WIDTH, STEPS, BATCH, PARTS, LONGEST = 128, 500, 32, 5, 12
RATES = (0.005, 0.01)  # both are tried for each score
WORDS = {"en": r"'\w+|\w+|[^\w\s]", "fr": r"\w+'|\w+|[^\w\s]"}  # cut as the aligned captions are


class DotProductAttention(nn.Module):
    """Attention whose score is the dot product of query and key, divided by the root of their width."""

    def __init__(self, query_size: int, value_size: int, attention_size: int):
        super().__init__()
        self.query_projection = nn.Linear(query_size, attention_size, bias=False)
        self.key_projection = nn.Linear(value_size, attention_size, bias=False)

    def project_keys(self, values: Tensor) -> Tensor:
        """Keys [batch, source, attention_size], computed once for each source."""
        return self.key_projection(values)

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The context [batch, value_size] and the weights [batch, source]; as in ``AdditiveAttention``."""
        query = self.query_projection(query) / keys.size(-1) ** 0.5  # [batch, attention_size]
        scores = (keys @ query.unsqueeze(2)).squeeze(2)  # [batch, source]
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
        return (weights.unsqueeze(1) @ values).squeeze(1), weights


SCORES = {"additive": AdditiveAttention, "dot product": DotProductAttention}


def sentences(count, seed):
    """Phrasebook sentences to learn from, and as many as 400 that are none of them."""
    rows = write_mixture(count, seed + 1, LONGEST, 0.2, "agreements", distinct=True)
    seen = {row["en"] for row in rows}
    others = {row["en"]: row for row in write_mixture(1600, 10**6, LONGEST, 0.2, "agreements")}
    return rows, [row for text, row in others.items() if text not in seen][:400]


def links(row):
    """Sure and possible links of a pair, matrices [target words, source words]."""
    shape = len(row["fr"].split()), len(row["en"].split())
    return tuple(link_matrix(found, *shape) for found in parse_links(row["links_en_fr"]))


def alignments(translator, rows):
    """The word with the largest weight for each word, while the right translations are fed in."""
    columns = [[row[language] for row in rows] for language in ("en", "fr")]
    found = []
    for row, one in zip(rows, translator.align(*columns), strict=True):
        groups = (
            match_pieces(one.source_tokens, row["en"].split()),
            match_pieces(one.target_tokens, row["fr"].split()),
        )
        found.append(hard_alignment(merge_weights(one.attention_weights, *groups)))
    return found


def train_attention(score, rows, others, rate, seed):
    """A translator with additive or dot-product attention, and what was measured on the way."""
    translator = new_translator(
        "gru-attention", phrasebook_tokenizers("en", "fr"), seed, 2 * LONGEST,
        embedding_size=WIDTH, hidden_size=WIDTH, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(seed)
    translator.model.attention = SCORES[score](WIDTH, WIDTH, WIDTH)
    pairs, validation = (
        ([row["en"] for row in part], [row["fr"] for row in part]) for part in (rows, others)
    )
    options = {"epochs": PARTS, "each_once": True, "batch_size": BATCH, "label_smoothing": 0.0, "seed": seed}
    history = fit_translator(
        translator, pairs, validation, learning_rate=rate, monitor="validation_exact", **options
    )
    return translator, history


def layer_milliseconds(score, batch=BATCH, source=12, calls=300):
    """One look, forward and backward: the median of many."""
    torch.manual_seed(0)
    layer, taken = SCORES[score](WIDTH, WIDTH, WIDTH), []
    query = torch.randn(batch, WIDTH, requires_grad=True)
    values = torch.randn(batch, source, WIDTH, requires_grad=True)
    mask, keys = torch.ones(batch, source, dtype=torch.bool), layer.project_keys(values).detach()
    keys.requires_grad_()
    for _ in range(calls):
        started = time.perf_counter()
        layer(query, keys, values, mask)[0].sum().backward()
        taken.append(1000 * (time.perf_counter() - started))
    return torch.tensor(taken).median().item()


def compare_scores(seeds=SEEDS, name="attention-scores"):
    """Choose a rate for each score, train both with every seed, count; writes ``NAME.csv`` and ``.json``."""
    rows, others = sentences(STEPS * BATCH, 100)
    tried = {score: {} for score in SCORES}
    for score, rate in itertools.product(SCORES, RATES):
        tried[score][rate] = train_attention(score, rows, others, rate, 100)[1][-1]["validation_loss"]
    chosen = {score: min(found, key=found.get) for score, found in tried.items()}
    print(tried, flush=True)
    table = []
    for seed, score in itertools.product(seeds, SCORES):
        rows, others = sentences(STEPS * BATCH, seed)
        translator, history = train_attention(score, rows, others, chosen[score], seed)
        rate = alignment_error_rate(alignments(translator, others), [*map(links, others)])
        row = {"seed": seed, "method": score, "error_rate": rate}
        row |= {"exact": history[-1]["validation_exact"], "loss": history[-1]["validation_loss"]}
        row["seconds"] = sum(part["seconds"] for part in history)
        table.append(row | {"milliseconds": layer_milliseconds(score)})
        print(table[-1], flush=True)
    for seed in seeds:
        rows, others = sentences(STEPS * BATCH, seed)
        shapes, gold = [sure.shape for sure, _ in map(links, others)], [*map(links, others)]
        pairs = [[row[language].split() for row in others + rows] for language in ("en", "fr")]
        counted = [hard_alignment(share) for share in ibm_model_1(*pairs)[: len(others)]]
        for method, found in {
            "IBM model 1": counted,
            "diagonal": [diagonal_alignment(*shape) for shape in shapes],
            "uniform": [uniform_alignment(*shape) for shape in shapes],
        }.items():
            table.append({"seed": seed, "method": method, "error_rate": alignment_error_rate(found, gold)})
    write_rows(name, [{key: _rounded(value) for key, value in row.items()} for row in table])
    settings = {
        "command": f"hello experiment {name}",
        "sentences": f"{STEPS * BATCH:,} phrasebook sentences of 2 to {LONGEST} words, theme agreements, "
        "each seen once; 400 new ones to measure on, aligned by the grammar that writes them",
        "recipe": {"width": WIDTH, "steps": STEPS, "batch": BATCH, "rate": chosen},
        "validation loss by rate, one seed of its own": tried,
        "IBM model 1": "five iterations, on the same sentences and the new ones",
        "milliseconds": f"one look, {BATCH} sentences of 12 words, forward and backward, the median of 300",
        "captions": captions_error_rates(),
        "phrasebook": phrasebook_error_rates(),
    }
    write_settings(name, settings)


def captions_error_rates():
    """Alignment error rates on the 60 aligned captions, of IBM model 1 on as much text as the translators."""
    rows, train = list(load_captions(aligned_only=True)), load_multi30k("en", "fr")["train"]
    gold, shapes = [*map(links, rows)], [links(row)[0].shape for row in rows]
    words = {language: [row[language].lower().split() for row in rows] for language in ("en", "fr")}
    text = [{k: re.findall(WORDS[k], one[k].lower()) for k in words} for one in train]
    text = [pair for pair in text if max(map(len, pair.values())) <= 36]  # very few are longer
    counted = ibm_model_1(*(words[k] + [pair[k] for pair in text] for k in words))[: len(rows)]
    methods = {
        "IBM model 1": [hard_alignment(share) for share in counted],
        "diagonal": [diagonal_alignment(*shape) for shape in shapes],
        "uniform": [uniform_alignment(*shape) for shape in shapes],
    }
    for kind in ("gru-attention", "transformer"):
        methods[kind] = alignments(load_translator(f"multi30k-en-fr-{kind}"), rows)
    rates = {name: round(alignment_error_rate(found, gold), 4) for name, found in methods.items()}
    lead = interval_of_lead(methods["gru-attention"], methods["IBM model 1"], gold)
    return rates | {"lead of gru-attention over IBM model 1, 95 %": lead}


def interval_of_lead(ours, others, gold, samples=1000, seed=0):
    """The ends of the 95 % interval of how much lower our error rate is, sentences drawn anew for both."""
    leads = []
    for draw in np.random.default_rng(seed).integers(len(gold), size=(samples, len(gold))):
        drawn = [[kind[i] for i in draw] for kind in (others, ours, gold)]
        leads.append(alignment_error_rate(drawn[0], drawn[2]) - alignment_error_rate(drawn[1], drawn[2]))
    return np.percentile(leads, [2.5, 97.5]).round(4).tolist()


def phrasebook_error_rates(name="phrasebook-en-fr-gru-attention", count=200_000):
    """The same on 1,000 new phrasebook sentences of 2 to 24 words, for a translator trained to its end."""
    bounds = "agreements", 2, 24
    train = list(write_phrases(count, 1, *bounds))  # as many as the translator has seen
    seen = {row["en"] for row in train}
    rows = {row["en"]: row for row in write_phrases(2000, 10**7, *bounds) if row["en"] not in seen}
    rows = list(rows.values())[:1000]
    gold, shapes = [*map(links, rows)], [links(row)[0].shape for row in rows]
    counted = ibm_model_1(*([row[k].split() for row in rows + train] for k in ("en", "fr")))[: len(rows)]
    methods = {
        "attention": alignments(load_translator(name), rows),
        "IBM model 1": [hard_alignment(share) for share in counted],
        "diagonal": [diagonal_alignment(*shape) for shape in shapes],
        "at random": [uniform_alignment(*shape) for shape in shapes],
    }
    return {name: round(alignment_error_rate(found, gold), 4) for name, found in methods.items()}


def _rounded(value):
    return round(value, 4) if isinstance(value, float) else value
