"""A language model together with its tokeniser: saved, verified, loaded and used on plain text.

A masked language model together with its tokeniser: it fills the gaps of plain text.
"""

import json
from functools import cached_property
from pathlib import Path

import tokenizers
import torch
from huggingface_hub import ModelHubMixin
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from utils.models.language_models import RecurrentLanguageModel, TransformerLanguageModel
from utils.pretrained import load_weights, open_checkpoint, package_file, save_checkpoint
from utils.tokens import (
    END,
    END_ID,
    FRAME,
    MASK,
    MASK_ID,
    PADDING,
    PADDING_ID,
    SPECIAL_TOKENS,
    START,
    START_ID,
    UNKNOWN,
    UNKNOWN_ID,
    WORD_SIGN,
    encode_texts,
    framed_windows,
    pad,
    sorted_batches,
)

MODEL_TYPE = "recurrent-language-model"


class LanguageModel(ModelHubMixin):
    """A ``RecurrentLanguageModel`` that reads and writes text.

    Args:
        model: the network.
        tokenizer: a ``tokenizers.Tokenizer`` that frames a text with ``<s>`` and ``</s>``.
    """

    def __init__(self, model, tokenizer):
        self.model = model
        self.tokenizer = tokenizer

    def encode(self, texts):
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it; see ``encode_texts``."""
        return encode_texts(self.tokenizer, texts)

    @torch.no_grad()
    def log_probabilities(self, texts, batch_size=32):
        """Log-probability of every token of each text but the first: a list of tensors [tokens − 1]."""
        ids, results = self.encode(texts), {}
        for chunk in self._batches(ids, batch_size):
            tokens = pad([ids[i] for i in chunk])  # [batch, time]
            hidden_states, _ = self.model.read(tokens[:, :-1])
            # The logits of a whole long text would not fit into memory, so they are made in parts.
            parts = zip(hidden_states.split(128, dim=1), tokens[:, 1:].split(128, dim=1), strict=True)
            found = torch.cat([self._chosen(states, expected) for states, expected in parts], dim=1)
            results |= {i: row[: len(ids[i]) - 1] for i, row in zip(chunk, found, strict=True)}
        return [results[i] for i in range(len(ids))]

    def perplexity(self, texts):
        """Perplexity per word: e to the mean negative log-probability of a word.

        Words are what spaces separate, so models with other pieces can be compared. 1 is a model that
        is always certain and right; choosing blindly among n words gives n.
        """
        nats = -sum(row.sum().item() for row in self.log_probabilities(texts))
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    @torch.no_grad()
    def hidden_states(self, texts, batch_size=32):
        """The hidden state after each token: a list of tensors [tokens, hidden_size]."""
        ids, results = self.encode(texts), {}
        for chunk in self._batches(ids, batch_size):
            states, _ = self.model.read(pad([ids[i] for i in chunk]))
            results |= {i: row[: len(ids[i])] for i, row in zip(chunk, states, strict=True)}
        return [results[i] for i in range(len(ids))]

    @torch.no_grad()
    def next_pieces(self, prompt, count=5):
        """The likeliest continuations of a text: a list of ``(piece, probability)``, best first."""
        (ids,) = self.encode([prompt])
        self.model.eval()
        logits, _ = self.model(torch.tensor([ids[:-1]]))  # without </s>
        best = logits[0, -1].softmax(dim=-1).topk(count)
        pieces = map(self.tokenizer.id_to_token, best.indices.tolist())
        return list(zip(pieces, best.values.tolist(), strict=True))

    @torch.no_grad()
    def write(self, prompt, length=40, temperature=0.8, seed=0):
        """Continue a text by drawing one piece after the other.

        Args:
            prompt: how the text begins.
            length: pieces to add, at most; it ends sooner where the model ends the text.
            temperature: scores are divided by it; towards 0 the likeliest piece always wins.
            seed: fixes what is drawn.

        Returns:
            The prompt and its continuation.
        """
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        (ids,) = self.encode([prompt])
        ids, state = ids[:-1], None
        unread, generator = torch.tensor([ids]), torch.Generator().manual_seed(seed)
        self.model.eval()
        for _ in range(length):
            logits, state = self.model(unread, state)
            scores = logits[0, -1] / temperature
            scores[[PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
            unread = torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).unsqueeze(0)
            if unread.item() == END_ID:
                break
            ids.append(unread.item())
        return self.tokenizer.decode(ids)

    def _chosen(self, hidden_states, expected):
        logits = self.model.predict(hidden_states).float()  # [batch, part, vocabulary]
        return logits.log_softmax(dim=-1).gather(2, expected.unsqueeze(-1)).squeeze(-1)

    def _batches(self, ids, batch_size):
        self.model.eval()
        return sorted_batches([len(row) for row in ids], batch_size)

    def _save_pretrained(self, save_directory):
        save_checkpoint(self.model, self.tokenizer, MODEL_TYPE, Path(save_directory))

    @classmethod
    def _from_pretrained(cls, *, model_id, **_):
        return load_language_model(model_id)


def load_language_model(path):
    """Load a language model from a folder; nothing is ever downloaded.

    Args:
        path: the folder of a checkpoint; a bare name is looked up in ``data/checkpoints``.

    Returns:
        A ``LanguageModel``.

    Raises:
        CheckpointError: the folder is missing, damaged, or holds another kind of model.
    """
    folder, config, _ = open_checkpoint(path, MODEL_TYPE, "language model")
    model = RecurrentLanguageModel(**config)
    load_weights(model, folder)
    return LanguageModel(model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")))


MODEL_TYPE = "masked-language-model"


PART_SIGN = "##"  # begins a piece that goes on with a word, in the vocabulary of BERT


class MaskedLanguageModel(ModelHubMixin):
    """A ``TransformerLanguageModel`` with a full mask that reads text and fills its gaps.

    Args:
        model: the network.
        tokenizer: a ``tokenizers.Tokenizer`` that frames a text with ``<s>`` and ``</s>`` and knows
            ``[MASK]``; made by ``train_tokenizer``, or that of ``start_from_minilm``.
        base: what the network was when its training began, a dictionary of tensors; a checkpoint holds
            only the weights that have changed since. None: it holds all.

    Raises:
        ValueError: a causal network, or a tokeniser without ``[MASK]``.
    """

    def __init__(self, model, tokenizer, base=None):
        if model.config["causal"]:
            raise ValueError("a causal model cannot fill gaps: it does not see what follows them")
        if tokenizer.token_to_id(MASK) != MASK_ID:
            raise ValueError(f"the tokeniser has no {MASK}; make it with train_tokenizer(..., mask=True)")
        self.model = model
        self.tokenizer = tokenizer
        self.base = base

    def encode(self, texts):
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it; see ``encode_texts``."""
        return encode_texts(self.tokenizer, texts)

    def count_pieces(self, texts):
        """How often each piece occurs in texts, a tensor [vocabulary_size]."""
        tokens = torch.tensor([token for ids in self.encode(texts) for token in ids])
        return torch.bincount(tokens, minlength=self.tokenizer.get_vocab_size())

    @torch.no_grad()
    def log_probabilities_at(self, inputs, selected):
        """What the model expects at selected places.

        Args:
            inputs: token ids [batch, time], ``[MASK]`` where the model shall guess.
            selected: True at the places that are asked for [batch, time].

        Returns:
            Log-probabilities [selected places, vocabulary_size].
        """
        self.model.eval()
        return self.model(inputs, selected=selected)[0].float().log_softmax(dim=-1)

    def fill(self, text, count=5):
        """The likeliest words for each ``[MASK]`` of a text.

        Args:
            text: a text with one or more ``[MASK]``.
            count: how many words for each.

        Returns:
            For each mask a list of ``(word, probability)``, best first. Each mask is filled as if the
            others stayed.

        Raises:
            ValueError: a text without a mask, or one that is too long for the model.
        """
        tokens = torch.tensor(self.encode([text]))  # [1, time]
        if not (tokens == MASK_ID).any():
            raise ValueError(f"there is nothing to fill: write {MASK} where a word is missing in {text!r}")
        best = self.log_probabilities_at(tokens, tokens == MASK_ID).exp().topk(count)
        words = [
            [self.tokenizer.id_to_token(i).strip(WORD_SIGN) for i in row] for row in best.indices.tolist()
        ]
        return [list(zip(*pair, strict=True)) for pair in zip(words, best.values.tolist(), strict=True)]

    def pseudo_perplexity(self, texts, batch_size=64):
        """Pseudo-perplexity per word (Salazar et al. 2020): each token is hidden in turn and guessed.

        It is no perplexity: each guess sees what follows, so only models of one kind can be compared.
        """
        nats = 0.0
        for row in map(torch.tensor, self.encode(texts)):
            places = (row > MASK_ID).nonzero().flatten()
            hidden = torch.zeros(len(places), len(row), dtype=torch.bool)  # [guesses, time]
            hidden[torch.arange(len(places)), places] = True
            for part in hidden.split(batch_size):
                found = self.log_probabilities_at(row.repeat(len(part), 1).masked_fill(part, MASK_ID), part)
                expected = row.expand_as(part)[part]
                nats -= found.gather(1, expected.unsqueeze(-1)).sum().item()
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    def whole_words(self, tokens):
        """Which tokens are words of one piece each.

        No punctuation, no parts of words, and nothing that an apostrophe or a hyphen ties to its
        neighbour.

        Args:
            tokens: token ids [batch, time].

        Returns:
            True at such words [batch, time].
        """
        words, goes_on, ties = self._kinds_of_pieces
        whole = words[tokens]
        whole[:, :-1] &= ~goes_on[tokens[:, 1:]]
        whole[:, 1:] &= ~ties[tokens[:, :-1]]
        return whole

    @cached_property
    def _kinds_of_pieces(self):
        """For each piece whether it is a word, goes on with one, and ties two together."""
        pieces = [self.tokenizer.id_to_token(i) for i in range(self.tokenizer.get_vocab_size())]
        ties = [piece in ("'", "-") for piece in pieces]
        if isinstance(self.tokenizer.model, models.WordPiece):
            words = [piece.isalpha() for piece in pieces]  # parts of words have signs
            goes_on = [piece.startswith((PART_SIGN, "'", "-")) for piece in pieces]
        else:
            words = [p.startswith(WORD_SIGN) and p.strip(WORD_SIGN).isalpha() for p in pieces]
            goes_on = [piece[0].isalnum() or piece[0] in "'-" for piece in pieces]
        return torch.tensor(words), torch.tensor(goes_on), torch.tensor(ties)

    def guess_words(self, texts, share=0.15, seed=0, batch_size=32):
        """Hide words and see at which rank the model has them.

        Only ``whole_words`` are hidden. Long texts are cut into windows.

        Args:
            texts: a list of strings.
            share: share of these words that are hidden, all at once in each window.
            seed: of the choice.
            batch_size: windows that are read together.

        Returns:
            Three tensors [words]: the ids of the hidden words, their log-probabilities, and how many
            pieces the model finds likelier than each (a rank below 5 is among its first five).
        """
        size = self.model.config["max_length"]
        windows = [window for ids in self.encode(texts) for window in framed_windows(ids, size)]
        generator, results = torch.Generator().manual_seed(seed), []
        for chunk in sorted_batches([len(window) for window in windows], batch_size):
            tokens = pad([windows[i] for i in chunk])  # [batch, time]
            hidden = self.whole_words(tokens) & (torch.rand(tokens.shape, generator=generator) < share)
            expected = tokens[hidden].unsqueeze(-1)  # [words, 1]
            found = self.log_probabilities_at(tokens.masked_fill(hidden, MASK_ID), hidden)
            theirs = found.gather(1, expected)
            results.append((expected, theirs, (found > theirs).sum(dim=1, keepdim=True)))
        return tuple(torch.cat(column).squeeze(-1) for column in zip(*results, strict=True))

    def to_transformers(self):
        """The same model as a ``BertForMaskedLM`` of `transformers`, with its tokeniser, for pipelines.

        Raises:
            ValueError: the model is not like BERT: it has the norm first.
        """
        # imported here, because it takes seconds
        from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

        sizes = self.model.config
        if sizes["norm_first"]:
            raise ValueError("only a model with the norm after each sub-layer is a BERT")
        config = BertConfig(
            vocab_size=sizes["vocabulary_size"],
            hidden_size=sizes["width"],
            num_hidden_layers=sizes["layers"],
            num_attention_heads=sizes["heads"],
            intermediate_size=sizes["feed_forward_size"],
            hidden_act={"gelu": "gelu", "gelu-tanh": "gelu_new"}[sizes["activation"]],
            max_position_embeddings=sizes["max_length"],
            layer_norm_eps=self.model.embedding_norm.eps,
        )
        bert = BertForMaskedLM(config)
        bert.cls.predictions.transform = torch.nn.Identity()  # ours has no layer before the output
        weights = {_bert_name(name): tensor for name, tensor in self.model.state_dict().items()}
        weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
        weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
        kinds = "bert.embeddings.token_type_embeddings.weight"  # of sentences; ours has one kind
        bert.load_state_dict(weights | {kinds: torch.zeros(config.type_vocab_size, sizes["width"])})
        names = {"pad_token": PADDING, "unk_token": UNKNOWN, "mask_token": MASK}
        names |= {"cls_token": START, "sep_token": END, "model_max_length": sizes["max_length"]}
        return bert.eval(), PreTrainedTokenizerFast(tokenizer_object=self.tokenizer, **names)

    def _save_pretrained(self, save_directory):
        base = None if self.base is None else "minilm"
        save_checkpoint(self.model, self.tokenizer, MODEL_TYPE, Path(save_directory), base, self.base)

    @classmethod
    def _from_pretrained(cls, *, model_id, **_):
        return load_masked_language_model(model_id)


_BERT_NAMES = {
    "embedding.": "bert.embeddings.word_embeddings.",
    "positions.": "bert.embeddings.position_embeddings.",
    "embedding_norm.": "bert.embeddings.LayerNorm.",
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


def _bert_name(name):
    for ours, theirs in _BERT_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def start_from_minilm(max_length=130, dropout=0.1):
    """All-MiniLM-L6-v2 as a masked language model that has yet to learn to fill gaps.

    MiniLM was trained to compare sentences, and was published without the layer that guesses words. Here
    its embedding is used a second time for that, as BERT does.

    Args:
        max_length: tokens of the longest text, at most 512.
        dropout: share of the units that are dropped in training.

    Returns:
        A ``MaskedLanguageModel`` with MiniLM's weights and vocabulary, without the unused places of that.

    Raises:
        CheckpointError: the package of MiniLM is not installed (the message has the command), or damaged.
    """
    file = package_file("minilm")
    config = json.loads((file.parent / "config.json").read_text())
    theirs = Tokenizer.from_file(str(file.parent / "tokenizer.json")).get_vocab()
    special = dict(zip((*SPECIAL_TOKENS, MASK), ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK), strict=True))
    others = [p for p in sorted(theirs, key=theirs.get) if p not in special.values() and "[unused" not in p]
    pieces = [*special, *others]
    model = TransformerLanguageModel(
        len(pieces),
        causal=False,
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        feed_forward_size=config["intermediate_size"],
        dropout=dropout,
        norm_first=False,
        max_length=max_length,
    )
    weights = load_file(file)
    rows = torch.tensor([theirs[special.get(piece, piece)] for piece in pieces])
    words, places, kinds = (
        f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")
    )
    weights[words] = weights[words][rows]
    weights[places] = weights[places][:max_length] + weights[kinds][0]  # all text is of the first kind
    weights["cls.predictions.bias"] = torch.zeros(len(pieces))
    model.load_state_dict({n: weights[_bert_name(n).removeprefix("bert.")] for n in model.state_dict()})
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN, continuing_subword_prefix=PART_SIGN)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(PART_SIGN)
    tokenizer.add_special_tokens([*SPECIAL_TOKENS, tokenizers.AddedToken(MASK, lstrip=True)])
    tokenizer.post_processor = FRAME
    return MaskedLanguageModel(model.eval(), tokenizer, base)


def load_masked_language_model(path):
    """Load a masked language model from a folder; nothing is ever downloaded.

    Args:
        path: the folder of a checkpoint; a bare name is looked up in ``data/checkpoints``.

    Returns:
        A ``MaskedLanguageModel``.

    Raises:
        CheckpointError: the folder is missing, damaged, or holds another kind of model; or the package is
            missing or damaged that the checkpoint was trained from.
    """
    folder, config, base = open_checkpoint(path, MODEL_TYPE, "masked language model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if base is None:
        model, weights = TransformerLanguageModel(**config), None
    else:
        started = start_from_minilm(config["max_length"], config["dropout"])
        model, weights = started.model, started.base
    load_weights(model, folder, weights)
    return MaskedLanguageModel(model.eval(), tokenizer, weights)
