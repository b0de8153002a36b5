"""Bring a checkpoint of the first edition's layout into the layout of this one (`hello convert FOLDER`)."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers

from scripts.masked_model import NEVER
from utils.pretrained import (
    CHECKSUM_FILE,
    CheckpointError,
    find_folder,
    package_file,
    sha256,
    write_checksums,
)
from utils.tokens import INVISIBLE

TYPES = {
    "recurrent-translation": "RecurrentTranslationModel",
    "transformer-translation": "TransformerTranslationModel",
    "recurrent-language-model": "RecurrentLanguageModel",
    "masked-language-model": "BertForMaskedLM",
}
GONE = ("positions", "max_length")  # arguments that the Transformer has no longer
BERT_NAMES = {
    "layers.": "bert.encoder.layer.",
    "self_attention.query_projection.": "attention.self.query.",
    "self_attention.key_projection.": "attention.self.key.",
    "self_attention.value_projection.": "attention.self.value.",
    "self_attention.output_projection.": "attention.output.dense.",
    "self_attention_norm.": "attention.output.LayerNorm.",
    "expand.": "intermediate.dense.",
    "contract.": "output.dense.",
    "feed_forward_norm.": "output.LayerNorm.",
    "output_bias": "cls.predictions.bias",
}


def convert(folder: str | Path) -> bool:
    """Convert a checkpoint where it lies; its weights stay as they are, to the last bit.

    Args:
        folder: a folder, or a name in ``data/checkpoints``.

    Returns:
        Whether there was anything to do.

    Raises:
        CheckpointError: the folder is missing or damaged, or holds what cannot be converted.
    """
    folder = find_folder(folder)
    old = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(old.get("model"), dict):
        return False
    for line in (folder / CHECKSUM_FILE).read_text(encoding="utf-8").splitlines():
        expected, name = line.split(maxsplit=1)
        if sha256(folder / name) != expected:
            raise CheckpointError(f"{folder / name} is damaged, so it is not converted")
    kind, arguments = TYPES.get(old.get("model_type")), old["model"]
    weights = load_file(folder / "model.safetensors")
    config = {"model_type": kind} | {k: old[k] for k in ("languages", "training_length") if k in old}
    if kind == "BertForMaskedLM" and old.get("base") == "minilm":
        config["base"] = "minilm"
        weights = {_bert_name(name): tensor for name, tensor in weights.items()}
        weights["cls.predictions.bias"] = _in_their_order(weights["cls.predictions.bias"], folder)
        (folder / "tokenizer.json").unlink()  # it is MiniLM's
    elif kind in (None, "BertForMaskedLM") or arguments.get("positions") == "learned":
        raise CheckpointError(f"{folder} holds a model that this edition has no longer; train it anew")
    elif kind == "TransformerTranslationModel":
        weights = _joined(weights)
    elif kind == "RecurrentLanguageModel":
        arguments["hidden_sizes"] = [arguments.pop("hidden_size")]
        weights = {name.replace("lstm.", "layers.0.", 1): tensor for name, tensor in weights.items()}
    config |= {name: value for name, value in arguments.items() if name not in GONE and "base" not in config}
    for path in folder.glob("*tokenizer.json"):
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.normalizer = normalizers.Sequence([INVISIBLE, tokenizer.normalizer])
        tokenizer.save(str(path))
    if kind != "RecurrentTranslationModel":  # it keeps its names, and so its file
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text, encoding="utf-8", newline="\n")
    write_checksums(folder)
    return True


def _joined(weights):
    """The matrices of queries, keys and values, which were one by one, as one below the other."""
    parts: dict[str, list] = {}
    for role in ("query", "key", "value", "key_value"):
        for name in [name for name in weights if f".{role}_projection." in name]:
            parts.setdefault(name.replace(role, "qkv"), []).append(weights.pop(name))
    return weights | {name: torch.cat(those) for name, those in parts.items()}


def _bert_name(name):
    for ours, theirs in BERT_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _in_their_order(bias, folder):
    """The bias of each piece at its place in MiniLM's own vocabulary, which has some that are never used."""
    ours = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    theirs = Tokenizer.from_file(str(package_file("minilm").parent / "tokenizer.json")).get_vocab()
    names = dict(zip(("<pad>", "<unk>", "<s>", "</s>"), ("[PAD]", "[UNK]", "[CLS]", "[SEP]"), strict=True))
    places = torch.tensor([theirs[names.get(piece, piece)] for piece in sorted(ours, key=ours.__getitem__)])
    return torch.full((len(theirs),), NEVER, dtype=bias.dtype).index_copy_(0, places, bias)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``hello convert``."""
    parser = argparse.ArgumentParser(prog="hello convert", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a checkpoint's folder, or its name")
    for folder in parser.parse_args(arguments).folders:
        try:
            print(f"{folder}: {'converted' if convert(folder) else 'has the layout of this edition already'}")
        except (CheckpointError, FileNotFoundError) as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
