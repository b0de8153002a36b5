"""Minimum risk training (Shen et al. 2016): a translator learns which of its own translations are better.

The likelihood of one right translation is not what is measured in the end. Here the translator writes several
candidates for a caption, each gets the BLEU of its sentence, and the better ones become likelier at the cost
of the others. Only biases and layer norms learn, a hundredth of all weights, and the rest stays as it was.
"""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.random import default_rng
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor
from torch.nn import functional as F

from utils.scores import translation_scores
from utils.tokens import PADDING_ID, START_ID, check_count, pad, sorted_batches
from utils.training import train, translation_loss
from utils.translator import Translator, beam_search

SHARPNESS = 10.0  # of the distribution over candidates, whose scores are means over their tokens
LIKELIHOOD = 0.1  # weight of the loss of the reference, which keeps the translator where it is
MONITOR, BEAM_SIZE = "validation_bleu_beam", 5  # what chooses the best epoch


def fit_to_risk(
    translator: Translator,
    pairs: Sequence[Sequence[str]],
    validation: Sequence[Sequence[str]],
    *,
    candidates: int,
    epochs: int,
    batch_size: int,
    label_smoothing: float = 0.1,
    seed: int = 0,
    **options: Any,
) -> list[dict]:
    """Train a translator that is good already; each pair is seen once, in one of the epochs.

    At the beginning of an epoch the translator, as it is then, writes the candidates for the epoch's part.

    Args:
        pairs: a list of source sentences and one of target sentences.
        validation: others like them; BLEU on them with a beam chooses the best epoch, as it is the order of
            a beam's candidates that is learned.
        candidates: how many are written for each sentence, with a beam as wide.
        options: those of ``train``.

    Raises:
        ValueError: so many candidates cannot be.
    """
    check_count("candidates", candidates, translator.target_tokenizer.get_vocab_size())
    network = translator.model
    for name, weight in network.named_parameters():
        weight.requires_grad_("bias" in name or "norm" in name)
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    sources, references = map(list, pairs)
    order = default_rng(seed).permutation(len(sources))

    def batches(epoch):
        rows = order[epoch * len(order) // epochs : (epoch + 1) * len(order) // epochs].tolist()
        part = [sources[i] for i in rows], [references[i] for i in rows]
        if epoch == 0:
            print(f"{candidates} candidates are written for each of {len(rows)} sentences", flush=True)
        written = write_candidates(translator, part[0], candidates)
        return risk_batches(translator, part, written, batch_size, [seed, epoch])

    def loss(model, batch):
        source, target, reference, quality = batch
        memory = model.encode(source)
        wide = {name: tensor.repeat_interleave(quality.size(1), dim=0) for name, tensor in memory.items()}
        logits, _ = model.decode(target[:, :-1], wide)  # [batch · candidates, target, vocabulary]
        scores = mean_log_probabilities(logits, target[:, 1:]).view_as(quality)
        risk = -((SHARPNESS * scores).softmax(dim=1) * quality).sum(dim=1).mean()
        likelihood, count = translation_loss(model, (source, reference), label_smoothing)
        return risk + LIKELIHOOD * likelihood, count

    def validate(_):
        found = {}
        for name, width in (("validation_bleu", 1), ("validation_bleu_beam", BEAM_SIZE)):
            texts = [one.text for one in translator.translate(validation[0], width)]
            found[name] = translation_scores(texts, validation[1])["bleu"]
        return found

    options |= {"monitor": MONITOR, "seed": seed, "groups": [(learning, 1.0, 0)]}
    return train(network, batches, loss, validate, epochs=epochs, **options)


def mean_log_probabilities(logits: Tensor, expected: Tensor) -> Tensor:
    """The mean over the tokens of each row [rows, target], padding not counted: [rows]."""
    found = -F.cross_entropy(
        logits.flatten(0, 1), expected.flatten(), ignore_index=PADDING_ID, reduction="none"
    )
    return found.view_as(expected).sum(dim=1) / (expected != PADDING_ID).sum(dim=1)


def write_candidates(translator, sentences, count):
    """For each sentence the lists of ids of ``count`` candidates."""
    device = next(translator.model.eval().parameters()).device
    ids = [one.ids[1:] for one in translator.source_tokenizer.encode_batch(sentences)]
    written = {}
    for chunk in sorted_batches([len(one) for one in ids], 128):
        found = beam_search(translator.model, pad([ids[i] for i in chunk]).to(device), count, every=True)
        written |= {i: [row for row, *_ in rows] for i, rows in zip(chunk, found, strict=True)}
    return [written[i] for i in range(len(ids))]


def risk_batches(translator, pairs, written, batch_size, seed):
    """Batches of source, candidates, reference and the candidates' quality, BLEU from 0 to 1."""
    measure = BLEU(lowercase=True, effective_order=True, force=True)
    sources = [one.ids[1:] for one in translator.source_tokenizer.encode_batch(pairs[0])]
    references = [one.ids for one in translator.target_tokenizer.encode_batch(pairs[1])]
    batches = []
    for chunk in sorted_batches([len(one) for one in sources], batch_size):
        texts = [[translator.target_tokenizer.decode(ids) for ids in written[i]] for i in chunk]
        quality = [
            [measure.sentence_score(text, [pairs[1][i]]).score / 100 for text in row]
            for i, row in zip(chunk, texts, strict=True)
        ]
        target = pad([[START_ID, *ids] for i in chunk for ids in written[i]])
        source, reference = pad([sources[i] for i in chunk]), pad([references[i] for i in chunk])
        batches.append((source, target, reference, torch.tensor(quality)))
    return [batches[i] for i in default_rng(seed).permutation(len(batches))]
