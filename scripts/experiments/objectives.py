"""Three ways to train one stack on the same text, asked the same questions: the curves of notebook 04.

hello experiment objectives
"""

import torch
from torch.nn import functional as F

from phrasebook import write_mixture
from scripts.masked_model import masked_language_model_loss
from scripts.stack import TransformerLanguageModel
from scripts.tables import write_rows, write_settings
from utils.models.language_models import language_model_loss, mask_tokens
from utils.tokens import MASK_ID, pad, train_tokenizer

STEPS = {"causal": 800, "masked": 800, "full": 200}  # who copies needs no more
CHECKS = (25, 50, 100, 200, 400, 800)
WIDTH, WINDOW, BATCH, RATE = 96, 32, 32, 3e-3


def texts_and_questions(count=10_000, new=400):
    """Pieces of the text to learn from, rows of new sentences, and where a token of them is asked for."""
    texts = [row["en"] for row in write_mixture(count, seed=1)]
    known = set(texts)
    others = [row["en"] for row in write_mixture(2 * new, seed=10**6) if row["en"] not in known][:new]
    tokenizer = train_tokenizer(texts, "en", 1000, lowercase=True, mask=True)
    stream = torch.tensor([token for one in tokenizer.encode_batch(texts) for token in one.ids])
    rows = pad([one.ids for one in tokenizer.encode_batch(others)])  # [sentences, time]
    generator = torch.Generator().manual_seed(0)
    _, asked = mask_tokens(rows, tokenizer.get_vocab_size(), generator)
    return stream, rows, asked, tokenizer.get_vocab_size()


def objective_loss(network, tokens, objective, generator):
    """The loss of a batch: of the next token ("causal", "full"), or of hidden tokens ("masked")."""
    if objective != "masked":
        return language_model_loss(network(tokens), tokens)
    inputs, selected = mask_tokens(tokens, network.embedding.num_embeddings, generator)
    return masked_language_model_loss(network(inputs, selected), tokens, selected)


@torch.no_grad()
def answer(network, rows, asked, objective):
    """The mean loss, in nats, on the tokens that are asked for, none of which the network sees."""
    network.eval()
    expected = rows[asked]
    if objective == "masked":  # both sides, without the other tokens that are asked for
        logits = network(rows.masked_fill(asked, MASK_ID), selected=asked)
    elif objective == "causal":  # what stands before
        logits = network(rows[:, :-1])[asked[:, 1:]]
    else:  # what stands before, and nothing after it: the text ends there
        found = [network(rows[i : i + 1, :place])[0, -1] for i, place in asked.nonzero().tolist()]
        logits = torch.stack(found)
    network.train()
    return F.cross_entropy(logits, expected).item()


def train_objective(objective, seed, data, steps=None, checks=CHECKS, width=WIDTH):
    """Train one stack; a row for each of the ``checks``: its training loss, and that on the questions."""
    stream, rows, asked, size = data
    steps = steps or STEPS[objective]
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = TransformerLanguageModel(
        size, causal=objective == "causal", width=width, feed_forward_size=4 * width, dropout=0.0
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    found, total = [], []
    for step in range(1, steps + 1):
        first = torch.randint(len(stream) - WINDOW, (BATCH, 1), generator=generator)
        loss = objective_loss(network, stream[first + torch.arange(WINDOW)], objective, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total.append(loss.item())
        if step in checks:
            row = {"objective": objective, "seed": seed, "step": step, "tokens": step * BATCH * WINDOW}
            row |= {"training_loss": sum(total[-25:]) / len(total[-25:])}
            found.append(row | {"loss": answer(network, rows, asked, objective)})
    return found


def compare_objectives(name="objectives", seeds=5, **options):
    """Train each objective with each seed: a quarter of an hour on two cores."""
    data = texts_and_questions()
    stream, rows, asked, size = data
    counts = torch.bincount(stream, minlength=size) + 1.0
    frequency = -(counts / counts.sum()).log()[rows[asked]].mean().item()
    settings = {"command": f"hello experiment {name}", "questions": int(asked.sum()), "frequency": frequency}
    settings |= {"pieces": size, "width": WIDTH, "window": WINDOW, "batch": BATCH, "rate": RATE}
    write_settings(name, settings)
    found = []
    for seed in range(seeds):
        for objective in ("causal", "masked", "full"):
            found += train_objective(objective, seed, data, **options)
            print(found[-1], flush=True)
            write_rows(name, found)
