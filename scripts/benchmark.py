"""How fast is it? Training and decoding of the translators of captions, beside `transformers`.

hello benchmark

For the translators with attention that were trained on Multi30k, and for a `MarianMTModel` of the same size
as the Transformer, it prints how many target tokens a training step works off in a second, the share of the
machine's matrix-product rate that useful operations reach, and the seconds that greedy decoding of the 1,000
test captions takes. All take turns, round after round, so that whatever else the machine does slows all.
"""

import argparse
import copy
import datetime
import json
import platform
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from scripts.corpora import load_multi30k
from scripts.tables import machine
from utils.models.transformer import TransformerTranslationModel
from utils.tokens import END_ID, PADDING_ID, START_ID, check_count, pad, sorted_batches, translation_batches
from utils.training import translation_loss
from utils.translator import load_translator

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MARIAN = "MarianMTModel of the same size"


def median_seconds(function, seconds=0.2):
    """The median time of a call on all threads that PyTorch has, measured for ``seconds`` at least."""
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def product_rate(precision=torch.float32, sizes=(1024, 2048, 4096)):
    """The best rate of square matrix products, in floating-point operations a second.

    A product of two n × n matrices takes 2 n³ operations.
    """
    rates = []
    for size in sizes:
        left, right = (torch.randn(size, size).to(precision) for _ in range(2))
        rates.append(2 * size**3 / median_seconds(partial(torch.matmul, left, right)))
    return max(rates)


def take_turns(functions, rounds):
    """Call each function of a dictionary once in every round: the seconds of each, a list by name.

    A first call of each, which makes what is kept for later, is not counted.
    """
    seconds = {name: [] for name in functions}
    for round_ in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def marian(model):
    """An untrained `MarianMTModel` with as many layers, heads, units, tokens and dropped units as ours."""
    from transformers import MarianConfig, MarianMTModel  # imported here, because they take long

    layer, target = model.decoder[0], model.target_embedding
    source = target if model.source_embedding is None else model.source_embedding
    sides = {}
    for side in ("encoder", "decoder"):
        sides[f"{side}_layers"] = len(model.decoder)
        sides[f"{side}_attention_heads"] = layer.self_attention.heads
        sides[f"{side}_ffn_dim"] = layer.expand.out_features
    config = MarianConfig(
        vocab_size=source.num_embeddings,
        decoder_vocab_size=target.num_embeddings,
        share_encoder_decoder_embeddings=source is target,
        d_model=target.embedding_dim,
        dropout=layer.dropout.p,
        activation_dropout=layer.dropout.p,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=256,
        pad_token_id=PADDING_ID,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
        decoder_start_token_id=START_ID,
        forced_eos_token_id=None,
        **sides,
    )
    return MarianMTModel(config)


def batch_loss(model, batch):
    """The loss that is trained: ours, or the one that `transformers` computes itself."""
    if hasattr(model, "encode"):
        return translation_loss(model, batch)[0]
    source, target = batch
    labels = target[:, 1:].masked_fill(target[:, 1:] == PADDING_ID, -100)  # -100 is not counted
    mask = source != PADDING_ID
    found = model(source, mask, decoder_input_ids=target[:, :-1], labels=labels, use_cache=False)
    return found.loss


def training_steps(model, batches, precision=torch.float32):
    """A function that trains a model on all batches once: source and target ids; it changes the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def run():
        for batch in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = batch_loss(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def target_tokens(batches):
    """The tokens that a decoder learns to write in batches, without padding and ``<s>``."""
    return sum(int((target[:, 1:] != PADDING_ID).sum()) for _, target in batches)


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


FORMULA = "3 · (2 · weights · tokens + 4 · width · tokens looked at), no padding"


def generation(model, translator, sentences, batch_size):
    """A function that lets `transformers` write as many tokens as a translator needs, in the same batches.

    Its model is untrained and would not end: in each batch it writes as many tokens as the longest
    translation of the batch has. It gets the tokens of the sources ready made, and gives back ids alone.
    """
    lengths = [len(found.target_tokens) for found in translator.translate(sentences, batch_size=batch_size)]
    ids = [encoding.ids[1:] for encoding in translator.source_tokenizer.encode_batch(sentences)]
    work = []
    for chunk in sorted_batches([len(one) for one in ids], batch_size):
        source, longest = pad([ids[i] for i in chunk]), max(lengths[i] for i in chunk)
        options = {"max_new_tokens": longest, "min_new_tokens": longest, "num_beams": 1, "do_sample": False}
        work.append((source, {"attention_mask": source != PADDING_ID, **options}))

    def run():
        model.eval()
        for source, options in work:
            with torch.no_grad():
                model.generate(source, **options)

    return run


def compared(seconds, name, other=MARIAN):
    """How many times as fast as another one, round by round: the median and the range, as text."""
    ratios = [theirs / ours for ours, theirs in zip(seconds[name], seconds[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def measure(translators, batches, captions, rounds):
    """The report: of training steps in both precisions, and of greedy decoding."""
    today = datetime.date.today()
    report = {"machine": f"{processor()}, {machine()}", "day": str(today), "rounds": rounds, "steps": []}
    first = next((name for name in translators if counts(translators[name].model)), None)
    for precision, kind in PRECISIONS.items():
        models = {name: copy.deepcopy(translator.model) for name, translator in translators.items()}
        if first:
            models[MARIAN] = marian(models[first])
        peak = product_rate(kind)
        title = "single precision" if kind == torch.float32 else precision
        report[f"matrix product, {title}, GFLOP/s"] = round(peak / 1e9, 1)
        functions = {
            name: training_steps(model, batches[first if name == MARIAN else name], kind)
            for name, model in models.items()
        }
        seconds = take_turns(functions, rounds)
        for name in models:
            ours = first if name == MARIAN else name
            median, step = statistics.median(seconds[name]), {"checkpoint": name, "precision": precision}
            step["target tokens/s"] = round(target_tokens(batches[ours]) / median)
            if counts(translators[ours].model):
                operations = sum(useful_operations(models[ours], *batch) for batch in batches[ours])
                step["useful GFLOP/s"] = round(operations / median / 1e9, 1)
                step["share of the product"] = round(operations / median / peak, 3)
                step["formula"] = FORMULA
            if name == first:
                step[f"times {MARIAN}"] = compared(seconds, name)
            report["steps"].append(step)
    return report | measure_decoding(translators, first, captions, rounds)


def measure_decoding(translators, first, captions, rounds, sizes=(64, 128, 256, 384)):
    """The seconds of greedy decoding by batch size, and Marian beside the first, each with its best size."""
    decoders = {
        (name, size): partial(translator.translate, captions, batch_size=size)
        for name, translator in translators.items()
        for size in sizes
    }
    if first:
        library = marian(translators[first].model)
        for size in sizes:
            decoders[MARIAN, size] = generation(library, translators[first], captions, size)
    seconds, report, best = take_turns(decoders, rounds), {}, {}
    for (name, size), found in seconds.items():
        median = statistics.median(found)
        title = f"seconds for {len(captions):,} captions, greedy, {name}"
        report.setdefault(title, {})[f"{size} at once"] = round(median, 2)
        best[name] = min(best.get(name, (median, found)), (median, found))
    if first:
        fastest = {name: found for name, (_, found) in best.items()}
        report[f"greedy, {first}, times {MARIAN}, each with its best size"] = compared(fastest, first)
    return report


def counts(model):
    """Whether ``useful_operations`` knows a model, and `transformers` has one of its kind."""
    return isinstance(model, TransformerTranslationModel)


def processor():
    """The name of the processor, if the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def main(arguments=None):
    """The command ``hello benchmark``: prints JSON."""
    parser = argparse.ArgumentParser(prog="hello benchmark", description="Measure speed on this machine.")
    parser.add_argument("--batches", type=int, default=20, help="training batches to time (default 20)")
    parser.add_argument("--batch-size", type=int, default=64, help="caption pairs in a batch (default 64)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds in which all take turns (default 6)")
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        default=["multi30k-en-fr-transformer", "multi30k-en-fr-gru-attention"],
        help="translators of captions from English to French (default: both that are shipped)",
    )
    parser.add_argument("--output", help="a JSON file that gets the measurements as well")
    options = parser.parse_args(arguments)
    for name in ("batches", "batch_size", "rounds"):
        check_count(f"--{name.replace('_', '-')}", getattr(options, name))
    corpus = load_multi30k("en", "fr")
    translators = {name: load_translator(name) for name in options.checkpoints}
    batches = {
        name: caption_batches(translator, corpus["train"], options.batch_size)[: options.batches]
        for name, translator in translators.items()
    }
    captions = list(corpus["test"]["en"])
    report = measure(translators, batches, captions, options.rounds)
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
