"""What only the making and measuring of the masked language model needs."""

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from scripts.stack import TransformerLanguageModel
from utils.inputs import load_tokenizer, pad, sorted_batches
from utils.models.language_models import mask_tokens
from utils.pretrained import load_network, open_checkpoint, save_checkpoint, write_checksums
from utils.texts import MaskedLanguageModel, load_masked_language_model, minilm_for_filling
from utils.training import shuffled_windows, train
from utils.vocabulary import END, MASK, PADDING, START, UNKNOWN, WORD_SIGN

NEVER = -10_000.0  # as a bias: a piece that is never guessed


class MaskedStack(MaskedLanguageModel):
    """A ``TransformerLanguageModel`` with a full mask that fills gaps, as MiniLM does.

    The tokeniser must have ``[MASK]``: ``train_tokenizer(..., mask=True)``.
    """

    def __init__(self, network: TransformerLanguageModel, tokenizer: Tokenizer):
        if network.causal:
            raise ValueError("a causal model cannot fill gaps: it does not see what follows them")
        if tokenizer.token_to_id(MASK) is None:
            raise ValueError(f"the tokeniser has no {MASK}; make it with train_tokenizer(..., mask=True)")
        signs = {"pad_token": PADDING, "unk_token": UNKNOWN, "cls_token": START, "sep_token": END}
        self.model, self.vocabulary_size, self.max_length = (
            network,
            tokenizer.get_vocab_size(),
            network.max_length,
        )
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token=MASK, **signs)

    @torch.no_grad()
    def log_probabilities_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """As those of a ``MaskedLanguageModel``."""
        return self.model.eval()(inputs, selected).float().log_softmax(dim=-1)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that ``load_masked`` reads."""
        save_checkpoint(folder, self.model, {"tokenizer": self.tokenizer.backend_tokenizer})


def load_masked(name: str | Path) -> MaskedLanguageModel:
    """Load a masked language model of either kind, from MiniLM or a ``MaskedStack``."""
    types = ("BertForMaskedLM", "TransformerLanguageModel")
    folder, config = open_checkpoint(name, types, "masked language model")
    if config["model_type"] == "BertForMaskedLM":
        return load_masked_language_model(folder)
    network = load_network(folder, TransformerLanguageModel)
    return MaskedStack(network, load_tokenizer(folder / "tokenizer.json"))


def count_pieces(masked: MaskedLanguageModel, texts: Sequence[str]) -> Tensor:
    """How often each piece occurs in texts, a tensor [vocabulary_size]."""
    tokens = torch.tensor([token for ids in masked.encode(texts) for token in ids])
    return torch.bincount(tokens, minlength=masked.vocabulary_size)


def set_bias_to_frequencies(masked: MaskedLanguageModel, texts: Sequence[str]) -> None:
    """Let a masked model begin with the frequencies of the words, which need not be learnt step by step."""
    counts = count_pieces(masked, texts)
    bias = ((counts + 1) / counts.sum()).log()
    if hasattr(masked.model, "cls"):
        unused = [i for piece, i in masked.tokenizer.get_vocab().items() if piece.startswith("[unused")]
        bias[unused] = NEVER
        masked.model.cls.predictions.bias.data.copy_(bias)
    else:
        masked.model.output_bias.data.copy_(bias)


def start_from_minilm(
    texts: Sequence[str], frozen_layers: int = 2, checkpoint: str | None = None
) -> tuple[MaskedLanguageModel, list]:
    """MiniLM, made ready to learn to fill gaps.

    Args:
        texts: what it will learn from; sets the bias of its output.
        frozen_layers: lowest layers that stay as they are, as the embeddings do.
        checkpoint: one that has learnt it already, to go on from.

    Returns:
        The model, and the parameters to train; all others are frozen.
    """
    masked = load_masked_language_model(checkpoint) if checkpoint else minilm_for_filling()
    layers, predictions = masked.model.bert.encoder.layer, masked.model.cls.predictions
    if not checkpoint:
        # It compared directions, so its vectors are too short to be sure of a word, and grow slowly.
        for parameter in layers[-1].output.LayerNorm.parameters():
            parameter.data.mul_(4)
        set_bias_to_frequencies(masked, texts)
    masked.model.requires_grad_(False)
    trained = [*layers[frozen_layers:].parameters(), predictions.bias]
    for parameter in trained:
        parameter.requires_grad_(True)
    return masked, trained


def save_changes(masked: MaskedLanguageModel, folder: str | Path) -> None:
    """Write a checkpoint of a model that was started from MiniLM: the weights that it shares are left out."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before, tied = minilm_for_filling().model.state_dict(), "cls.predictions.decoder."
    changed = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in masked.model.state_dict().items()
        if not name.startswith(tied) and not torch.equal(tensor.cpu(), before[name])
    }
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "BertForMaskedLM", "base": "minilm"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    write_checksums(folder)


def pseudo_perplexity(masked: MaskedLanguageModel, texts: Sequence[str], batch_size: int = 64) -> float:
    """Pseudo-perplexity per word (Salazar et al. 2020): each token is hidden in turn and guessed.

    It is no perplexity: each guess sees what follows, so only models of one kind can be compared.
    """
    nats = 0.0
    for row in map(torch.tensor, masked.encode(texts)):
        hidden = torch.eye(len(row), dtype=torch.bool)[1:-1]  # [guesses, time]: all but the frame
        for part in hidden.split(batch_size):
            inputs = row.repeat(len(part), 1).masked_fill(part, masked.tokenizer.mask_token_id)
            expected = row.expand_as(part)[part]
            nats -= masked.log_probabilities_at(inputs, part).gather(1, expected.unsqueeze(-1)).sum().item()
    return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())


def masked_language_model_loss(logits: Tensor, tokens: Tensor, selected: Tensor) -> Tensor:
    """Cross-entropy of the selected tokens alone (Devlin et al. 2019, section 3.1); a mean, in nats.

    The logits [selected tokens, vocabulary_size] have the order of ``tokens[selected]``. Built in notebook
    04, *Two objectives on the same text*; errors as in ``language_model_loss``.
    """
    if tokens.shape != selected.shape or logits.ndim != 2 or len(logits) != int(selected.sum()):
        raise ValueError(
            f"a row of logits is needed for each of {int(selected.sum())} selected tokens: logits are "
            f"{list(logits.shape)}, tokens {list(tokens.shape)}, selected {list(selected.shape)}"
        )
    if not len(logits):
        raise ValueError("there is nothing to predict: no token is selected")
    return F.cross_entropy(logits.float(), tokens[selected])


def fit_masked_language_model(
    masked: MaskedLanguageModel,
    texts: Sequence[str],
    validation: Sequence[str],
    *,
    window: int = 64,
    batch_size: int = 32,
    epoch_size: int | None = None,
    mask_share: float = 0.15,
    only_words: bool = False,
    seed: int = 0,
    **options,
) -> list[dict]:
    """Train a masked language model on hidden tokens, as ``fit_language_model`` trains a causal one.

    The windows are read whole, in halves or in quarters, so that the model knows short texts. The history
    has the mean log-probability of the hidden words of ``validation``, in nats, and the share of them that
    are among the model's first five. With ``only_words`` it is asked for whole words alone, as
    ``guess_words`` asks. Built in notebook 04, *Both, trained from scratch*.
    """
    longest = masked.max_length - 2  # without the start and the end
    if window % 4 or not 0 < window <= longest:
        raise ValueError(f"the window must be a multiple of 4 and at most {longest}, not {window}")
    windows = shuffled_windows(masked.encode(texts), window, batch_size, epoch_size, seed)

    def batches(epoch):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        pick = partial(_hide, masked, share=mask_share, only_words=only_words, generator=generator)
        return [pick(tokens[:, 1:]) for (tokens,) in windows(epoch)]

    def loss(_, batch):  # trained in one process: the network is the model's own
        tokens, inputs, selected = batch
        if isinstance(masked, MaskedStack):
            logits = masked.model(inputs, selected)  # [selected tokens, vocabulary]
        else:  # no window is padded
            logits = masked.model.cls(masked.model.bert(inputs).last_hidden_state[selected])
        return masked_language_model_loss(logits, tokens, selected), tokens.numel()

    def validate(_):
        _, log_probabilities, ranks = guess_words(masked, validation)
        found = {"validation_top5": (ranks < 5).float().mean().item()}
        return found | {"validation_log_probability": log_probabilities.mean().item()}

    options |= {"monitor": "validation_log_probability", "seed": seed}
    return train(masked.model, batches, loss, validate, **options)


def _hide(masked, windows, share, only_words, generator):
    """Frame windows, or halves or quarters of them, and hide tokens: true ones, read ones, selected ones."""
    parts = 2 ** int(torch.randint(3, (), generator=generator))
    signs = masked.tokenizer
    tokens = F.pad(windows.reshape(len(windows) * parts, -1), (1, 1), value=signs.sep_token_id)
    tokens[:, 0] = signs.cls_token_id  # [batch, window / parts + 2]
    inputs, selected = mask_tokens(tokens, masked.vocabulary_size, generator, share, signs.mask_token_id)
    if only_words:
        selected &= whole_words(masked, tokens)
        inputs = torch.where(selected, inputs, tokens)
    return tokens, inputs, selected


def guess_words(
    masked: MaskedLanguageModel, texts: Sequence[str], share: float = 0.15, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Hide a share of the ``whole_words`` of texts, cut into windows of 130 tokens, and guess them.

    Gives three tensors [words]: ids of the hidden words, their log-probabilities, and their ranks: how
    many pieces the model finds likelier.
    """
    size, windows, results = min(130, masked.max_length) - 2, [], []
    for first, *ids, last in masked.encode(texts):
        windows += [[first, *ids[i : i + size], last] for i in range(0, len(ids), size)]
    generator = torch.Generator().manual_seed(seed)
    for chunk in sorted_batches([len(window) for window in windows], 32):
        tokens = pad([windows[i] for i in chunk])  # [batch, time]
        hidden = whole_words(masked, tokens) & (torch.rand(tokens.shape, generator=generator) < share)
        expected = tokens[hidden]  # [words]
        inputs = tokens.masked_fill(hidden, masked.tokenizer.mask_token_id)
        found = masked.log_probabilities_at(inputs, hidden)  # [words, vocabulary]
        theirs = found.gather(1, expected[:, None])
        results.append((expected, theirs[:, 0], (found > theirs).sum(dim=1)))
    ids, log_probabilities, ranks = (torch.cat(column) for column in zip(*results, strict=True))
    return ids, log_probabilities, ranks


def whole_words(masked: MaskedLanguageModel, tokens: Tensor) -> Tensor:
    """True at tokens [batch, time] that are words: no parts, no punctuation, nothing tied to a word."""
    words, goes_on, ties = _kinds_of_pieces(masked)
    whole = words[tokens]
    whole[:, :-1] &= ~goes_on[tokens[:, 1:]]
    whole[:, 1:] &= ~ties[tokens[:, :-1]]
    return whole


@cache
def _kinds_of_pieces(masked):
    """For each piece whether it is a word, goes on with one, and ties two together."""
    pieces = masked.tokenizer.convert_ids_to_tokens(range(masked.vocabulary_size))
    if any(piece.startswith("##") for piece in pieces):  # BERT marks what goes on, we what begins
        ties = ("##", "'", "-")
        pieces = [p.removeprefix("##") if p.startswith(ties) else WORD_SIGN + p for p in pieces]
    words = [piece.startswith(WORD_SIGN) and piece.strip(WORD_SIGN).isalpha() for piece in pieces]
    goes_on = [piece[0].isalnum() or piece[0] in "'-" for piece in pieces]
    return tuple(map(torch.tensor, (words, goes_on, [piece in ("'", "-") for piece in pieces])))
