"""What only the making and measuring of the masked language model needs."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from utils.pretrained import write_checksums
from utils.texts import MaskedLanguageModel, minilm_for_filling

NEVER = -10_000.0  # as a bias: a piece that is never guessed


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


def start_from_minilm(texts: Sequence[str], frozen_layers: int = 2) -> tuple[MaskedLanguageModel, list]:
    """MiniLM, made ready to learn to fill gaps.

    Args:
        texts: what it will learn from; sets the bias of its output.
        frozen_layers: lowest layers that stay as they are, as the embeddings do.

    Returns:
        The model, and the parameters to train; all others are frozen.
    """
    masked = minilm_for_filling()
    layers, predictions = masked.model.bert.encoder.layer, masked.model.cls.predictions
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
