"""How fast is it? Training and decoding of the translators of captions.

hello benchmark

For the two translators with attention that were trained on Multi30k, it prints how many target tokens a
training step works off in a second, the share of the machine's matrix-product rate that it puts to use,
and the seconds that greedy decoding of the 1,000 test captions takes.
"""

import argparse
import copy
import itertools
import json
import platform
import sys
from functools import partial
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from scripts.corpora import load_multi30k
from utils.models.transformer import TransformerTranslationModel
from utils.tokens import PADDING_ID, check_count, translation_batches
from utils.training import translation_loss
from utils.translator import load_translator

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def median_seconds(function, seconds=0.2):
    """The median time of a call on all threads that PyTorch has, measured for ``seconds`` at least."""
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def product_rate(sizes=(1024, 2048, 4096)):
    """The best rate of square single-precision matrix products, in floating-point operations a second.

    A product of two n × n matrices takes 2 n³ operations.
    """
    rates = []
    for size in sizes:
        left, right = torch.randn(size, size), torch.randn(size, size)
        rates.append(2 * size**3 / median_seconds(partial(torch.matmul, left, right)))
    return max(rates)


def training_step(model, batches, precision=torch.float32):
    """Time training steps over batches.

    Args:
        model: a translation model; its weights are changed.
        batches: pairs of tensors of token ids, source and target.
        precision: that of the products.

    Returns:
        ``{"seconds", "tokens_per_second", "operations_per_second"}``, with target tokens without padding,
        and ``useful_operations``.
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

    seconds = median_seconds(run)
    rates = {"seconds": seconds, "tokens_per_second": tokens / seconds, "operations_per_second": None}
    if isinstance(model, TransformerTranslationModel):
        rates["operations_per_second"] = sum(useful_operations(model, *batch) for batch in batches) / seconds
    return rates


def useful_operations(model, source, target):
    """The floating-point operations that a training step of a Transformer cannot do without.

    These are the matrix products, without padding: two for each weight that a token passes, four times the
    width for each token that another one looks at, and all of it three times: forward, and backward for
    inputs and for weights.
    """
    read = (source != PADDING_ID).sum(dim=1)
    written = (target[:, 1:] != PADDING_ID).sum(dim=1)
    width, layer = model.target_embedding.embedding_dim, model.decoder[0]
    feed_forward = 2 * layer.expand.weight.numel()
    encoder = len(model.encoder) * (4 * width**2 + feed_forward)
    decoder = len(model.decoder) * (6 * width**2 + feed_forward)
    keys = len(model.decoder) * 2 * width**2  # of the source, for the decoder to look at
    weights = (encoder + keys) * read + (decoder + model.target_embedding.weight.numel()) * written
    looks = len(model.encoder) * read**2
    looks += len(model.decoder) * (written * read + written * (written + 1) // 2)
    return 3 * int((2 * weights + 4 * width * looks).sum())


def main(arguments=None):
    """The command ``hello benchmark``: prints JSON."""
    parser = argparse.ArgumentParser(prog="hello benchmark", description="Measure speed on this machine.")
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
    check_count("--batches", options.batches)
    check_count("--batch-size", options.batch_size)
    corpus = load_multi30k("en", "fr")
    translators = {name: load_translator(name) for name in options.checkpoints}
    rate = product_rate()
    report = {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    report |= {"matrix product, single precision, GFLOP/s": round(rate / 1e9, 1), "steps": []}
    for (precision, kind), (name, translator) in itertools.product(PRECISIONS.items(), translators.items()):
        batches = caption_batches(translator, corpus["train"], options.batch_size)[: options.batches]
        measured = training_step(copy.deepcopy(translator.model), batches, kind)
        step = {"checkpoint": name, "precision": precision}
        step["target tokens/s"] = round(measured["tokens_per_second"])
        if measured["operations_per_second"]:
            step["GFLOP/s"] = round(measured["operations_per_second"] / 1e9, 1)
            step["share of the product"] = round(measured["operations_per_second"] / rate, 3)
        report["steps"].append(step)
    captions = list(corpus["test"]["en"])
    for name, translator in translators.items():
        seconds = median_seconds(partial(translator.translate, captions))
        report[f"seconds for {len(captions):,} captions, greedy, {name}"] = round(seconds, 1)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n", encoding="utf-8")


def caption_batches(translator, pairs, batch_size):
    """Batches of token ids, as training gets them, of a dataset with a column for each language."""
    sources, targets = (
        [encoding.ids for encoding in tokenizer.encode_batch(list(pairs[language]))]
        for tokenizer, language in zip(
            (translator.source_tokenizer, translator.target_tokenizer), translator.languages, strict=True
        )
    )
    return translation_batches([ids[1:] for ids in sources], targets, batch_size, 0)


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["benchmark", *sys.argv[1:]])
