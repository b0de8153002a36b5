"""How fast is it? Training and decoding of the Transformer, and recurrence against self-attention.

    python -m utils.benchmark

For the two translators with attention that were trained on Multi30k, it prints how many target tokens a
training step works off in a second, the share of the machine's matrix-product rate that the Transformer
puts to use, with the formula, and the seconds that greedy decoding of the 1,000 test captions takes.
"""

import argparse
import copy
import itertools
import json
import platform
import sys
import time
from pathlib import Path

import torch
from torch import nn

from scripts.corpora import CorpusError, load_multi30k
from utils.models.transformer import MultiHeadAttention, TransformerTranslationModel
from utils.pretrained import CheckpointError
from utils.tokens import PADDING_ID, translation_batches
from utils.training import translation_loss
from utils.translator import load_translator


def best_seconds(function, repeats=5):
    """The shortest of several runs, in seconds, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def product_rate(sizes=(1024, 2048, 4096)):
    """The best rate of square single-precision matrix products, in floating-point operations a second.

    A product of two n × n matrices takes 2 n³ operations.
    """
    rates = []
    for size in sizes:
        left, right = torch.randn(size, size), torch.randn(size, size)
        rates.append(2 * size**3 / best_seconds(lambda left=left, right=right: left @ right, 3))
    return max(rates)


def useful_operations(model, source, target):
    """Operations of one training step that serve real tokens; padding is not counted.

    Two for each weight of a matrix and token that passes it, forward, and twice as many backward (once
    for the gradient of the weights, once for that of the input); and for each attention 4 · queries ·
    keys · width forward, of which a decoder needs half, since it looks back only.

    Args:
        model: a ``TransformerTranslationModel``.
        source, target: token ids of a batch, as ``translation_loss`` takes them.
    """
    config = model.config
    width, layers, inner = config["width"], config["layers"], config["feed_forward_size"]
    sources = (source != PADDING_ID).sum(dim=1).double()  # [batch]
    targets = (target != PADDING_ID).sum(dim=1).double() - 1
    encoder_weights = layers * (4 * width**2 + 2 * width * inner + 2 * width**2)  # + keys for the decoder
    decoder_weights = layers * (4 * width**2 + 2 * width**2 + 2 * width * inner)
    decoder_weights += width * config["target_vocabulary_size"]
    products = 2 * (encoder_weights * sources + decoder_weights * targets)
    looking = layers * width * (4 * sources**2 + 2 * targets**2 + 4 * sources * targets)
    return 3 * (products + looking).sum().item()


def training_step(model, batches, precision=torch.float32):
    """Time training steps over batches.

    Args:
        model: a translation model; its weights are changed.
        batches: pairs of tensors of token ids, source and target.
        precision: ``torch.float32`` or ``torch.bfloat16``, that of the products.

    Returns:
        ``{"seconds", "tokens_per_second", "operations_per_second"}``, with target tokens and useful
        operations; these are counted for Transformers alone, and None for others.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()
    tokens = sum(int((target[:, 1:] != PADDING_ID).sum()) for _, target in batches)

    def run():
        for batch in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
                loss, _ = translation_loss(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    seconds = best_seconds(run, 2)
    rates = {"seconds": seconds, "tokens_per_second": tokens / seconds, "operations_per_second": None}
    if isinstance(model, TransformerTranslationModel):
        operations = sum(useful_operations(model, *batch) for batch in batches)
        rates["operations_per_second"] = operations / seconds
    return rates


def layer_seconds(kind, length, width=128, batch=1, repeats=5):
    """Seconds for one sequence through one layer, forward and backward.

    Args:
        kind: "recurrent" (a GRU layer) or "self-attention" (four heads).
        length: positions in the sequence.
        width: of the vectors that come in and go out.
        batch: sequences that go through together; the seconds are those of all.
        repeats: runs, of which the shortest counts.

    Raises:
        ValueError: another kind.
    """
    if kind not in ("recurrent", "self-attention"):
        raise ValueError(f'kind must be "recurrent" or "self-attention", not {kind!r}')
    torch.manual_seed(0)
    layer = nn.GRU(width, width, batch_first=True) if kind == "recurrent" else MultiHeadAttention(width, 4)
    inputs = torch.randn(batch, length, width, requires_grad=True)

    def run():
        outputs = layer(inputs)[0] if kind == "recurrent" else layer(inputs, *layer.project_keys(inputs))[0]
        outputs.sum().backward()

    return best_seconds(run, repeats)


def main(arguments=None):
    """The command line of ``python -m utils.benchmark``: prints one line of JSON for each measurement."""
    parser = argparse.ArgumentParser(prog="python -m utils.benchmark", description="Measure speed.")
    parser.add_argument("--batches", type=int, default=20, help="training batches to time (default 20)")
    parser.add_argument("--batch-size", type=int, default=64, help="caption pairs in a batch (default 64)")
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        default=["multi30k-en-fr-transformer", "multi30k-en-fr-gru-attention"],
        help="translators of captions from English to French (default: both that are shipped)",
    )
    parser.add_argument("--output", help="a JSON file that gets the measurements as well")
    options = parser.parse_args(arguments)
    try:
        corpus = load_multi30k("en", "fr")
        translators = {name: load_translator(name) for name in options.checkpoints}
    except (CheckpointError, CorpusError) as error:
        sys.exit(f"error: {error}")
    report = {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads", "steps": []}
    rate = product_rate()
    report["matrix product, single precision, GFLOP/s"] = round(rate / 1e9, 1)
    batches = {
        name: _caption_batches(translator, corpus["train"], options.batch_size)[: options.batches]
        for name, translator in translators.items()
    }
    for (precision, kind), (name, translator) in itertools.product(
        (("float32", torch.float32), ("bfloat16", torch.bfloat16)), translators.items()
    ):
        measured = training_step(copy.deepcopy(translator.model), batches[name], kind)
        step = {"checkpoint": name, "precision": precision}
        step["target tokens/s"] = round(measured["tokens_per_second"])
        if measured["operations_per_second"]:
            step["useful GFLOP/s"] = round(measured["operations_per_second"] / 1e9, 1)
            step["share of the product"] = round(measured["operations_per_second"] / rate, 3)
            step["formula"] = "3 · (2 · weights · tokens + 4 · queries · keys · width), no padding"
        report["steps"].append(step)
    captions = list(corpus["test"]["en"])
    for name, translator in translators.items():
        started = time.perf_counter()
        translator.translate(captions)
        seconds = time.perf_counter() - started
        report[f"seconds for {len(captions):,} captions, greedy, {name}"] = round(seconds, 1)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n", encoding="utf-8")


def _caption_batches(translator, pairs, batch_size):
    tokenizers = (translator.source_tokenizer, translator.target_tokenizer)
    sources, targets = (
        [encoding.ids for encoding in tokenizer.encode_batch(list(pairs[language]))]
        for tokenizer, language in zip(tokenizers, translator.languages, strict=True)
    )
    return translation_batches([ids[1:] for ids in sources], targets, batch_size, 0)


if __name__ == "__main__":
    main()
