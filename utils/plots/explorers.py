"""Pictures that answer: hover, click, drag or type, and see what a model does.

Each is one piece of HTML that holds its words, its numbers and its script, so it works in JupyterLab, VS Code
and exported pages, without a network or a kernel. Where scripts are taken out (a code host, a notebook that
is not trusted) the words remain, and say on hovering what the picture would have shown. Models are passed in;
their numbers are kept to three digits, and all that a click can ask for is computed beforehand. Each needs an
``alt`` text: what is seen, and what follows from it. What cannot be shown is a ValueError that says why.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from utils.plots.explorer import Explorer, ask, bare, explore_alignment, pack, spoken, tips_of
from utils.plots.weights import as_array
from utils.vocabulary import MASK, PADDING_ID, START_ID, UNKNOWN_ID

__all__ = [
    "ask",
    "explore_alignment",
    "explore_attention",
    "explore_gaps",
    "explore_heads",
    "explore_labels",
    "explore_next_word",
    "explore_steps",
]

TEMPERATURES = [tenths / 10 for tenths in range(2, 21)]


def explore_attention(queries: Any, keys: Any, values: Any, names: Sequence[str], *, alt: str) -> Explorer:
    """Attention by hand: choose a query (or drag it, where it is 2 wide), and follow every number.

    Built in notebook 02, *Self-attention, by hand*. Queries, keys and values are [words, width], where values
    may have a width of their own; the names are the words.
    """
    q, k, v = parts = [as_array(matrix) for matrix in (queries, keys, values)]
    count, width = len(names), q.shape[-1]
    if (shapes := [x.shape for x in parts]) != [(count, width), (count, width), (count, v.shape[-1])]:
        raise ValueError(f"queries, keys and values must be [{count}, width]; their shapes are {shapes}")
    scores = numpy.exp(q @ k.T / width**0.5)
    tips = tips_of(names, scores / scores.sum(axis=1, keepdims=True))
    data = {"queries": q.tolist(), "keys": k.tolist(), "values": v.tolist()}
    return Explorer("attention", alt, data, ("query of", names, tips), ("keys", names))


def explore_heads(
    maps: Mapping[str, Sequence], tokens: Mapping[str, Sequence], *, alt: str, start: Sequence[int] = (0, 0)
) -> Explorer:
    """Every head of a Transformer as a small map; choose one, and see each word look at others.

    Used in notebook 02, *What the heads look at*, and in notebook 04.

    Args:
        maps: for each kind ("encoder", "decoder" or "cross") a list over layers of weights
            [heads, queries, keys], or [1, heads, queries, keys] as ``attention_maps`` gives them.
        tokens: the pieces of the "encoder" and of the "decoder", or of the one that there is.
        start: layer and head to begin with, from 0, of the first kind.
    """
    shown, tips, sides = [], {}, list(tokens)
    for kind, layers in maps.items():
        asking, asked = ("decoder", "encoder") if kind == "cross" else (kind, kind)
        expected = [len(tokens.get(side, ())) for side in (asking, asked)]
        matrices = [as_array(layer) for layer in layers]
        matrices = numpy.stack([layer[0] if layer.ndim == 4 else layer for layer in matrices])
        if 0 in expected or list(matrices.shape[2:]) != expected:
            raise ValueError(f"maps of {kind!r} must be [heads, *{expected}], not {list(matrices.shape[1:])}")
        masked = asking == asked and expected[0] > 1 and not numpy.triu(matrices, 1).any()
        entry = {"kind": kind, "rows": sides.index(asking), "columns": sides.index(asked), "masked": masked}
        shown.append({**entry, "heads": matrices.shape[1], "weights": pack(matrices)})
        tips[asking] = tips_of(bare(tokens[asked]), matrices[tuple(start) if len(shown) == 1 else (0, 0)])
    if not shown:
        raise ValueError("there are no maps to explore")
    data = {"maps": shown, "start": start[0] * shown[0]["heads"] + start[1]}
    return Explorer("heads", alt, data, *((side, bare(tokens[side]), tips.get(side, [])) for side in sides))


def explore_steps(translator: Any, sentence: str, *, alt: str, count: int = 4) -> Explorer:
    """Step through a recurrent translator: what goes in, which state goes where, and what comes out.

    Taught in notebook 01, *The pair*. The sentence is translated greedily, with or without attention, and
    each step shows the ``count`` likeliest words.
    """
    import torch

    model = translator.model
    if not hasattr(model, "bridge"):
        raise ValueError("the stepper follows the state of a recurrent model")
    (translation,) = translator.translate([sentence])
    source = torch.tensor([translator.source_tokenizer.encode(sentence).ids[1:]])
    with torch.no_grad():
        embedding = model.source_embedding or model.target_embedding
        states, _ = model.encoder(embedding(source))  # [1, source, width]
        memory = model.encode(source)
        token, state = torch.tensor([START_ID]), model.start(memory)
        decoder, guesses = [state["hidden"]], []
        for _ in translation.target_tokens:
            logits, state, _ = model.step(token, state, memory)
            logits[:, [PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
            best = logits.softmax(dim=-1)[0].topk(count)
            pieces = bare(translator.target_tokenizer.id_to_token(i) for i in best.indices.tolist())
            guesses.append(list(zip(pieces, best.values.tolist(), strict=True)))
            decoder.append(state["hidden"])
            token = best.indices[:1]
    read, written = bare(translation.source_tokens), bare(translation.target_tokens)
    data = {"width": states.size(2), "both": model.encoder.bidirectional, "guesses": guesses}
    data |= {"states": pack(states, 3), "vector": pack(memory["last"], 3)}
    data |= {"decoder": pack(torch.stack(decoder), 3), "start": len(read) + 1}  # where the decoder begins
    if translation.attention_weights is not None:
        data["weights"] = pack(translation.attention_weights)
    decoded = ("decoder writes", written, [*map(spoken, guesses)])
    return Explorer("steps", alt, data, ("encoder reads", read), decoded)


def explore_gaps(masked_model: Any, text: str, *, alt: str, count: int = 5) -> Explorer:
    """The words of a text: hide one, and see a masked model's guesses; click on a guess to fill a gap.

    A ``[MASK]`` is a gap from the start. Up to three gaps are filled one after the other, and each filling
    changes what is expected in the others. Taught in notebook 04, *A real BERT*; the model is a
    ``MaskedLanguageModel``, of which ``count`` guesses are kept.
    """
    parts = re.findall(rf"(\s*)({re.escape(MASK)}|\w+|[^\w\s]+)", text)
    gaps = [i for i, (_, part) in enumerate(parts) if part == MASK]
    hidden = [i for i, (_, part) in enumerate(parts) if part[0].isalnum()]
    if len(gaps) > 3 or not gaps + hidden:
        raise ValueError(f"a text needs a word that can be hidden, and at most three gaps; not {text!r}")

    def guess(fills, place):
        """What the model expects at a place, once some others are filled."""
        words = [space + fills.get(i, part) for i, (space, part) in enumerate(parts)]
        words[place] = parts[place][0] + MASK
        which = sum(word.endswith(MASK) for word in words[:place])
        return masked_model.fill("".join(words), count)[which]

    single = {place: guess({}, place) for place in hidden}
    chain, waiting = {}, [("",) * len(gaps)] if gaps else []
    while waiting:  # every order in which the gaps can be filled
        key = waiting.pop()
        if "|".join(key) in chain or all(key):
            continue
        fills = {gap: fill for gap, fill in zip(gaps, key, strict=True) if fill}
        found = [None if fill else guess(fills, gap) for gap, fill in zip(gaps, key, strict=True)]
        chain["|".join(key)] = found
        waiting += [(*key[:g], word, *key[g + 1 :]) for g, row in enumerate(found) for word, _ in row or []]
    tips = single | dict(zip(gaps, chain.get("|" * (len(gaps) - 1), []), strict=True))
    words = ["____" if part == MASK else part for _, part in parts]
    said = [spoken(tips.get(i, [])) for i in range(len(parts))]
    places = sorted(gaps + hidden)
    start = places.index(gaps[0]) if gaps else len(places) - 1
    data = {"gaps": gaps, "places": places, "single": single, "chain": chain, "start": start}
    return Explorer("gaps", alt, data, ("hide a word", words, said))


def explore_next_word(
    model: Any, tokenizer: Any, prompt: str, *, alt: str, count: int = 50, branches: Sequence[int] = (5, 3, 1)
) -> Explorer:
    """What may follow a prompt: change temperature and top-k, click on a word to go on.

    Taught in notebook 04, *A real decoder*.

    Args:
        model, tokenizer: a causal model of `transformers` and its tokeniser.
        count: likeliest tokens that are kept; all others are one sum for each temperature.
        branches: how many of them can be followed at the first place, the second, and so on.
    """
    import torch

    if not prompt.strip():
        raise ValueError("the prompt is empty; give at least one word")
    nodes, level, words = {}, {(): tokenizer(prompt)["input_ids"]}, {}
    for width in (*branches, 0):
        with torch.no_grad():
            logits = model(torch.tensor(list(level.values()))).logits[:, -1].double()  # [texts, vocabulary]
        best, following = logits.topk(count), {}
        kept = zip(logits, best.values, best.indices.tolist(), strict=True)
        for (path, ids), (row, found, chosen) in zip(level.items(), kept, strict=True):
            others = row - found[0]
            others[chosen] = -torch.inf
            rest = [(others / temperature).logsumexp(dim=0).item() for temperature in TEMPERATURES]
            places = [words.setdefault(i, len(words)) / 1000 - 23 for i in chosen]
            nodes[",".join(map(str, path))] = [pack(row, 3) for row in (places, found - found[0], rest)]
            following |= {(*path, k): [*ids, chosen[k]] for k in range(width)}
        level = following
    texts = [tokenizer.decode([i]) for i in words]
    data = {"prompt": prompt, "nodes": nodes, "words": texts, "vocabulary": logits.size(1)}
    data |= {"temperatures": TEMPERATURES, "start": TEMPERATURES.index(1)}
    return Explorer("next", alt, data, ("prompt", [prompt]), ("likeliest next", texts[:8]))


def explore_labels(
    table: Any, texts: Sequence, truth: Sequence, *, alt: str, names: Sequence = ("negative", "positive")
) -> Explorer:
    """How accuracy grows with the number of labels, and which texts change their label on the way.

    Used in notebook 03, *A body that has read a billion pairs of sentences*.

    Args:
        table: a ``DataFrame``, or rows, with the columns arm (the body), labels (how many), accuracy
            (averaged over the rows) and, where they were kept, guesses (a list: the label of each text).
        texts, truth: a few texts, such as twenty, and their labels, from 0.
        names: of the labels.
    """
    import pandas

    frame = pandas.DataFrame(table)
    rows = [row for row in frame.to_dict("records") if isinstance(row.get("guesses"), list | tuple)]
    kept = {(row["arm"], row["labels"]): list(map(int, row["guesses"])) for row in rows}
    if frame.empty or any(len(labels) != len(texts) for labels in (truth, *kept.values())):
        raise ValueError(f"rows are needed, and a label and guesses for each of the {len(texts)} texts")
    means: Any = frame.groupby(["arm", "labels"])["accuracy"].mean()
    means = means.dropna().to_dict()
    arms, counts = list(dict.fromkeys(frame["arm"])), sorted(map(int, set(frame["labels"])))
    accuracy, guesses = ([[found.get((arm, n)) for n in counts] for arm in arms] for found in (means, kept))
    data = {"arms": arms, "counts": counts, "truth": list(map(int, truth)), "names": list(names)}
    data |= {"accuracy": accuracy, "guesses": guesses, "chance": 1 / len(names)}
    lines = [(arm, [f"{n}: {p:.0%}" for (a, n), p in means.items() if a == arm]) for arm in arms]
    return Explorer("labels", alt, data, *lines, ("texts", texts, [names[label] for label in truth]))
