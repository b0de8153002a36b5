"""The settings of a training, in one place.

A dataclass for each kind of training. The command line, a checkpoint's ``training.json`` and its model card
all come from it, and list what applied and nothing else.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

RECURRENT, TRANSFORMER = {"model": ("gru", "gru-attention")}, {"model": ("transformer",)}
CAPTIONS = {"corpus": ("multi30k", "captions")}
AT_LEAST_ONE = (
    *("epochs", "patience", "batch_size", "limit", "count", "max_words", "spliced", "vocabulary_size"),
    *(
        "window",
        "epoch_size",
        "embedding_size",
        "hidden_size",
        "hidden_sizes",
        "width",
        "heads",
        "layers",
        "feed_forward_size",
    ),
)
SHARES = ("dropout", "word_dropout", "label_smoothing", "averaging", "mask_share")


def option(default: Any, text: str) -> Any:
    """A field with its line of help."""
    return field(default=default, metadata={"help": text})


@dataclass
class Training:
    """What every training has."""

    kind: ClassVar[str]
    conditions: ClassVar[dict[str, dict[str, tuple]]] = {}  # options that apply to some choices only

    epochs: int = option(24, "passes over the data, at most")
    patience: int = option(8, "epochs without improvement before stopping early")
    batch_size: int = option(64, "sequences in a step of one process")
    learning_rate: float = option(3e-3, "highest learning rate")
    dropout: float = option(0.3, "share of units dropped in training")
    averaging: float = option(0.0, "running average of the weights: the share that it keeps in a step")
    seed: int = option(0, "fixes everything that is drawn")
    limit: int | None = option(None, "train on the first LIMIT texts or pairs only, for a quick try")
    mixed_precision: Literal["no", "bf16", "fp16"] = option("no", "precision of products")

    def __post_init__(self):
        for name, value in vars(self).items():
            flag = f"--{name.replace('_', '-')}"
            for number in value if isinstance(value, list) else [value]:
                if name in AT_LEAST_ONE and number is not None and number < 1:
                    raise ValueError(f"{flag} must be at least 1, not {number}")
            if name in SHARES and not 0 <= value < 1:
                raise ValueError(f"{flag} is a share from 0 to below 1, not {value}")
        if self.learning_rate <= 0:
            raise ValueError(f"--learning-rate must be above 0, not {self.learning_rate}")
        for item in dataclasses.fields(self):
            default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
            if getattr(self, item.name) != default and not self.applies(item.name):
                ((other, choices),) = self.conditions[item.name].items()
                where = "without" if choices == (None,) else "with"
                which = "" if choices == (None,) else " " + " or ".join(choices)
                flag = f"--{item.name.replace('_', '-')}"
                raise ValueError(
                    f"{flag} applies {where} --{other}{which} only, and this is {getattr(self, other)}"
                )

    def applies(self, name: str) -> bool:
        """Whether an option has any effect beside the others."""
        return all(
            getattr(self, other) in choices for other, choices in self.conditions.get(name, {}).items()
        )

    def applied(self) -> dict[str, Any]:
        """The settings that applied, and nothing else."""
        given = {k: v for k, v in vars(self).items() if v is not None and v is not False and v != []}
        return {name: value for name, value in given.items() if self.applies(name)}

    def command(self) -> str:
        """The command line that trains with these settings."""
        words = [f"hello train {self.kind}"]
        for name, value in self.applied().items():
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else map(str, value if isinstance(value, list) else [value])
        return " ".join(words)


@dataclass
class TranslatorTraining(Training):
    """A translator of image captions, or of the phrasebook."""

    kind = "translator"
    conditions: ClassVar = {
        "count": {"corpus": ("phrasebook",)},
        "max_words": {"corpus": ("phrasebook",)},
        "theme": {"corpus": ("phrasebook",)},
        "vocabulary_size": CAPTIONS,
        "shared_vocabulary": CAPTIONS,
        "teachers": CAPTIONS,
        "spliced": CAPTIONS,
        "one_way": RECURRENT,
        "embedding_size": RECURRENT,
        "hidden_size": RECURRENT,
        "width": TRANSFORMER,
        "heads": TRANSFORMER,
        "layers": TRANSFORMER,
        "feed_forward_size": TRANSFORMER,
        "alignment_layer": TRANSFORMER,
    }

    model: Literal["gru", "gru-attention", "transformer"] = option("gru-attention", "which model")
    corpus: Literal["multi30k", "captions", "phrasebook"] = option(
        "multi30k", "what to train on; captions are the 110 in data/captions.tsv, for a quick try offline"
    )
    source: Literal["en", "de", "fr"] = option("en", "language that is read")
    target: Literal["en", "de", "fr"] = option("fr", "language that is written")
    count: int = option(200_000, "phrasebook: sentences to write")
    max_words: int = option(24, "phrasebook: length of the longest")
    theme: str | None = option(None, "phrasebook: what the sentences are about; none: everything")
    vocabulary_size: int = option(5000, "captions: sub-word pieces of each language, or of both together")
    shared_vocabulary: bool = option(False, "captions: one vocabulary and one embedding for both languages")
    start: str | None = option(None, "checkpoint of the same pieces and sizes to go on from")
    teachers: list[str] = field(
        default_factory=list,
        metadata={"help": "captions: translators; what they make of the captions is learned as well"},
    )
    spliced: int | None = option(
        None, "captions: the teachers translate so many new ones, put together from halves, instead of these"
    )
    risk: int | None = option(
        None, "biases and layer norms learn which of so many translations, written by --start, are better"
    )
    label_smoothing: float = option(0.1, "probability spread over the vocabulary")
    embedding_size: int = option(192, "recurrent: width of the token vectors")
    hidden_size: int = option(256, "recurrent: width of the states")
    one_way: bool = option(False, "recurrent: an encoder that reads in one direction")
    width: int = option(192, "transformer: width of the vectors")
    heads: int = option(4, "transformer: heads of each attention")
    layers: int = option(3, "transformer: layers of the encoder and of the decoder")
    feed_forward_size: int = option(384, "transformer: width inside the feed-forward")
    alignment_layer: int = option(1, "transformer: decoder layer whose attention is shown, counted from 0")

    def __post_init__(self):
        super().__post_init__()
        if self.source == self.target:
            raise ValueError(f"--source and --target must be two languages, and both are {self.source}")
        if self.risk is not None and (self.risk < 2 or self.teachers or not self.start):
            needs = "at least 2 translations to choose from, a translator to --start from, and no --teachers"
            raise ValueError(f"--risk {self.risk} needs {needs}")
        if self.spliced and not (self.teachers and self.source == "en"):
            raise ValueError(f"--spliced {self.spliced} needs --teachers that translate from English")

    def sizes(self) -> dict[str, Any]:
        """The sizes of the model, by the names that its class gives them."""
        recurrent, transformer = ("embedding_size", "hidden_size"), ("width", "heads", "layers")
        chosen = ("dropout", *recurrent, *transformer, "feed_forward_size", "alignment_layer")
        sizes = {name: getattr(self, name) for name in chosen if self.applies(name)}
        sizes |= {"bidirectional": not self.one_way} if self.applies("one_way") else {}
        return sizes | ({"shared_embeddings": True} if self.shared_vocabulary else {})


@dataclass
class LanguageModelTraining(Training):
    """A recurrent language model of English, which predicts the next piece of a word."""

    kind = "language-model"
    conditions: ClassVar = {
        name: {"start": (None,)} for name in ("vocabulary_size", "embedding_size", "hidden_sizes", "pieces")
    }

    epochs: int = option(30, "passes over the data, at most")
    batch_size: int = option(32, "sequences in a step of one process")
    dropout: float = option(0.05, "share of units dropped in training")
    corpus: Literal["brown", "movie-reviews", "reviews", "wikipedia", "imdb"] = option(
        "brown", "what to train on"
    )
    stateful: bool = option(False, "read on from window to window, text after text")
    start: str | None = option(None, "checkpoint to go on from, instead of random weights")
    window: int = option(64, "tokens that are predicted in one piece")
    word_dropout: float = option(0.02, "share of the words dropped in a step")
    vocabulary_size: int = option(5000, "sub-word pieces")
    pieces: str | None = option(None, "checkpoint whose sub-word pieces are used, instead of new ones")
    embedding_size: int = option(256, "width of the token vectors")
    hidden_sizes: list[int] = field(
        default_factory=lambda: [384, 256], metadata={"help": "widths of the recurrent layers, from below"}
    )


@dataclass
class MaskedModelTraining(Training):
    """A small BERT, which fills the gaps of English text."""

    kind = "masked-model"
    conditions: ClassVar = {name: {"start": ("minilm",)} for name in ("frozen_layers", "checkpoint")} | {
        name: {"start": ("random",)}
        for name in ("vocabulary_size", "width", "heads", "layers", "feed_forward_size")
    }

    epochs: int = option(12, "passes over the data, at most")
    batch_size: int = option(16, "windows in a step of one process")
    learning_rate: float = option(1e-3, "highest learning rate")
    dropout: float = option(0.0, "share of units dropped in training")
    averaging: float = option(0.999, "running average of the weights: the share that it keeps in a step")
    corpus: Literal["brown", "movie-reviews", "both", "reviews", "all"] = option(
        "both", "what to train on; both: the first two; all: these, Wikipedia and IMDb"
    )
    window: int = option(128, "tokens of the longest windows, a multiple of 4")
    epoch_size: int = option(9000, "windows that are drawn for an epoch")
    mask_share: float = option(0.3, "share of the tokens that are to be guessed")
    only_words: bool = option(False, "ask for none but whole words: no parts of words, no punctuation")
    start: Literal["minilm", "random"] = option("minilm", "weights to begin with")
    checkpoint: str | None = option(None, "minilm: go on from the weights of this checkpoint")
    frozen_layers: int = option(2, "minilm: lowest layers that stay as they are")
    vocabulary_size: int = option(8000, "random: sub-word pieces")
    width: int = option(256, "random: width of the vectors")
    heads: int = option(4, "random: heads of each attention")
    layers: int = option(5, "random: layers of the stack")
    feed_forward_size: int = option(1024, "random: width inside the feed-forward")


TRAININGS = {kind.kind: kind for kind in (TranslatorTraining, LanguageModelTraining, MaskedModelTraining)}


@dataclass
class Places:
    """Where a training reads and writes; no settings of what is trained."""

    output: str | None = option(None, "folder of the checkpoint; none: data/checkpoints/NAME")
    state: str | None = option(None, "folder of the resumable state; none: runs/NAME")
    restart: bool = option(False, "forget a saved state and start anew")
    significant_bits: int | None = option(
        None, "round the weights that are saved to so many bits; git packs them smaller than all 11"
    )

    def __post_init__(self):
        if self.significant_bits is not None and not 1 <= self.significant_bits <= 11:
            raise ValueError(f"--significant-bits must be from 1 to 11, not {self.significant_bits}")
