"""The explorers: the numbers inside, texts of any kind, what is refused, and how large they are."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy
import pytest
import torch

from tests.explorer_examples import (
    KEYS,
    KINDS,
    QUERIES,
    SOURCE,
    TARGET,
    TEXT,
    WEIGHTS,
    Filler,
    Writer,
    example,
    maps,
)
from utils.plots import explorer
from utils.plots.explorer import LIMIT, Explorer
from utils.plots.explorers import (
    TEMPERATURES,
    ask,
    explore_alignment,
    explore_attention,
    explore_gaps,
    explore_heads,
    explore_labels,
    explore_next_word,
    explore_steps,
)

HOSTILE = ["</script>", "<b>", "&amp;", "'\"", "$x$", "🐈", "שלום", "a b", "\\", "`${1}`"]


class Markup(HTMLParser):
    """The attributes of the root, the words with their tips, and the names of all tags."""

    def __init__(self, explorer):
        super().__init__()
        self.tags, self.words, self.tips, self.names, self.inside = [], [], [], [], None
        self.feed(explorer.markup)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        attributes = dict(attributes)
        if tag == "div":
            self.root = attributes
            self.data = json.loads(attributes["data-explorer"])
        if tag == "span":
            self.words.append("")
            self.tips.append(attributes["title"])
        if tag == "b":
            self.names.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "span":
            self.words[-1] += data
        if self.inside == "b":
            self.names[-1] += data


def unpack(text, size=2):
    codes = [int(text[i : i + size], 36) for i in range(0, len(text), size)]
    return numpy.array(codes) / 1000 - (23 if size == 3 else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_small_stable_and_has_a_fallback(kind):
    first, again = example(kind), example(kind)
    bundle = first._repr_mimebundle_()
    assert bundle == again._repr_mimebundle_()
    assert bundle["text/plain"] == first.alt
    assert len(json.dumps(bundle["text/html"])) <= LIMIT
    read = Markup(first)
    assert read.root["aria-label"] == first.alt
    assert read.root["role"] == "group"
    assert read.data["kind"] == kind
    assert read.words
    assert any(read.tips) or kind in ("next", "labels")
    assert read.tags.count("script") == 1
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", first.markup), "something from elsewhere"
    assert not re.search(r"\bid=", first.markup)


def test_script_style_and_python_are_small():
    folder = Path(explorer.__file__).parent
    files = [folder / f"explorers.{ending}" for ending in ("js", "css")]
    assert sum(file.stat().st_size for file in files) <= 25_000
    code = [(folder / name).read_text(encoding="utf-8") for name in ("explorer.py", "explorers.py")]
    assert sum(len(text.splitlines()) for text in code) <= 450


def test_only_the_wanted_view_is_sent():
    assert "views.gaps" in example("gaps").markup
    assert "views.heads" not in example("gaps").markup


@pytest.mark.parametrize("size", [2, 3])
def test_numbers_are_kept_to_three_digits(size):
    numbers = numpy.linspace(-22 if size == 3 else 0, 22 if size == 3 else 1, 999)
    assert abs(unpack(explorer.pack(numbers, size), size) - numbers).max() <= 0.0005 + 1e-9


def test_alignment_has_the_weights_and_opens_on_the_crossing():
    read = Markup(example("alignment"))
    assert abs(unpack(read.data["weights"]).reshape(4, 4) - WEIGHTS).max() <= 0.0005
    assert read.words == SOURCE + TARGET
    assert read.names == ["English", "French"]
    assert TARGET[read.data["start"]] == "manteau"  # the next word looks back
    assert read.tips[SOURCE.__len__() + 2] == "red 73%, coat 27%"
    assert unpack(read.data["compare"])[9] == 0.5


@pytest.mark.parametrize("kind", [torch.tensor, numpy.array, lambda rows: [list(row) for row in rows]])
def test_alignment_takes_what_the_heat_map_takes(kind):
    read = Markup(explore_alignment(kind(WEIGHTS), " ".join(SOURCE), TARGET, alt="x", show_end=False))
    assert read.words == SOURCE[:-1] + TARGET[:-1]


def test_attention_has_the_vectors():
    read = Markup(example("attention"))
    assert abs(numpy.array(read.data["queries"]) - QUERIES).max() <= 0.0005
    weights = numpy.exp(QUERIES @ KEYS.T / math.sqrt(2))
    weights /= weights.sum(axis=1, keepdims=True)
    best = SOURCE[weights[0].argmax()]
    assert read.tips[0].startswith(f"{best} {weights[0].max():.0%}")


def test_heads_have_every_map_and_know_the_masked_ones():
    read = Markup(example("heads"))
    for found in read.data["maps"]:
        expected = torch.stack(maps()[found["kind"]]).numpy().ravel()
        assert abs(unpack(found["weights"]) - expected).max() <= 0.0005
    assert [found["masked"] for found in read.data["maps"]] == [False, True, False]
    assert read.words == [*SOURCE, "<s>", "le", "manteau"]


def test_steps_are_those_of_the_translator():
    from utils.translator import load_translator

    translator = load_translator("phrasebook-en-de-gru")
    (translation,) = translator.translate(["The old train was fast."])
    read = Markup(example("steps"))
    assert [step[0][0] for step in read.data["guesses"]] == translation.target_tokens
    logs = [math.log(step[0][1]) for step in read.data["guesses"]]
    assert abs(sum(logs) / len(logs) - translation.score) < 0.002
    source = torch.tensor([translator.source_tokenizer.encode("The old train was fast.").ids[1:]])
    with torch.no_grad():
        vector = translator.model.encode(source)["last"].numpy().ravel()
    assert abs(unpack(read.data["vector"], 3) - vector).max() <= 0.0006
    assert (unpack(read.data["states"], 3)[-len(vector) :] == unpack(read.data["vector"], 3)).all()


def test_steps_of_a_translator_with_attention_have_its_weights():
    from utils.translator import load_translator

    translator = load_translator("phrasebook-en-de-gru-attention")
    (translation,) = translator.translate(["The old train was fast."])
    read = Markup(explore_steps(translator, "The old train was fast.", alt="x"))
    expected = translation.attention_weights.numpy().ravel()
    assert abs(unpack(read.data["weights"]) - expected).max() <= 0.0006


def test_gaps_are_filled_in_every_order():
    read = Markup(example("gaps"))
    assert read.words == ["I", "saw", "my", "____", "and", "____", "left", "."]
    data = read.data
    assert [row[0] for row in data["chain"]["|"]] == [["watch", 0.432], ["he", 0.432]]
    assert data["chain"]["|he"][0][0] == ["friend", 0.432]  # what is in one gap changes the other
    assert data["chain"]["|it"][0][0][0] == "watch"
    assert data["chain"]["watch|"][1][0][0] == "he"
    assert data["chain"]["watch|"][0] is None
    assert sorted(map(int, data["single"])) == [0, 1, 2, 4, 6]
    assert read.tips[3].startswith("watch 43%")
    three = Markup(explore_gaps(Filler(), "[MASK] and [MASK] saw [MASK]", alt="x", count=2)).data["chain"]
    assert all(key.count("|") == 2 and "" in key.split("|") for key in three)


def test_words_are_hidden_in_a_text_without_gaps():
    data = Markup(explore_gaps(Filler(), "And he left", alt="x")).data
    assert data["gaps"] == []
    assert data["places"] == [0, 1, 2]


def test_next_words_have_the_model_s_probabilities_at_every_temperature():
    data = Markup(example("next")).data
    assert sorted(data["nodes"]) == ["", "0", "0,0", "1", "1,0"]
    logits = Writer()(torch.tensor([[3, 4]])).logits[0, -1].double()
    places, kept, rest = (unpack(text, 3) for text in data["nodes"][""])
    words = [data["words"][round(1000 * (place + 23))] for place in places]
    assert words[0] == " w5"
    assert len(words) == 50
    for temperature, others in zip(TEMPERATURES, rest, strict=True):
        powers = numpy.exp(kept / temperature)
        shares = powers / (powers.sum() + math.exp(others))
        exact = (logits / temperature).softmax(dim=0).sort(descending=True).values[:50].numpy()
        assert abs(shares - exact).max() <= 0.001


def test_labels_have_accuracies_and_guesses():
    data = Markup(example("labels")).data
    assert data["accuracy"] == [[0.5, 0.625], [0.55, 0.75]]
    assert data["guesses"] == [[[0, 0, 1], [1, 0, 1]], [None, None]]
    twice = explore_labels(
        [{"arm": "a", "labels": 5, "accuracy": p} for p in (0.5, 0.6)], ["x"], [0], alt="x"
    )
    assert Markup(twice).data["accuracy"] == [[0.55]]


def test_hostile_words_stay_words():
    read = Markup(explore_alignment(numpy.eye(len(HOSTILE)), HOSTILE, HOSTILE, alt="</div>'\"", merge=False))
    assert read.words == [*HOSTILE, *HOSTILE]
    assert read.root["aria-label"] == "</div>'\""
    assert read.tags.count("script") == 1
    numbers = torch.eye(len(HOSTILE))
    assert Markup(explore_attention(numbers, numbers, numbers, HOSTILE, alt="x")).words == HOSTILE * 2
    labels = explore_labels([{"arm": "'<i>", "labels": 1, "accuracy": 1}], HOSTILE, [0] * 10, alt="x")
    assert Markup(labels).words[1:] == HOSTILE
    assert Markup(labels).data["arms"] == ["'<i>"]
    gaps = Markup(explore_gaps(Filler(), "</script> 'שלום' $ 🐈 [MASK]", alt="x"))
    assert "".join(gaps.words) == "</script>'שלום'$🐈____"


EYE = torch.eye(4)
MISTAKES = {
    "no alt": (lambda: explore_attention(EYE, EYE, EYE, SOURCE, alt=" "), "needs an alt text"),
    "no weights": (lambda: explore_alignment(EYE * 2, SOURCE, TARGET, alt="x"), "must sum to 1"),
    "compare": (
        lambda: explore_alignment(WEIGHTS, SOURCE, TARGET, compare=("x", EYE[:2]), alt="x"),
        r"must have the shape \[4, 4\]",
    ),
    "keys": (lambda: explore_attention(EYE, EYE[:, :2], EYE, SOURCE, alt="x"), r"must be \[4, width\]"),
    "maps": (lambda: explore_heads({"encoder": [EYE[None]]}, {"encoder": ["a"]}, alt="x"), r"\[1, 1\]"),
    "no maps": (lambda: explore_heads({}, {"encoder": ["a"]}, alt="x"), "no maps"),
    "side": (lambda: explore_heads({"cross": [EYE[None]]}, {"encoder": SOURCE}, alt="x"), "must be"),
    "four gaps": (lambda: explore_gaps(Filler(), "[MASK] " * 4, alt="x"), "at most three gaps"),
    "nothing to hide": (lambda: explore_gaps(Filler(), "...", alt="x"), "a word that can be hidden"),
    "refused": (lambda: explore_gaps(Filler(), "a\x00b", alt="x"), "refuses"),
    "prompt": (lambda: explore_next_word(Writer(), Writer(), " ", alt="x"), "prompt is empty"),
    "guesses": (
        lambda: explore_labels(
            [{"arm": "a", "labels": 1, "accuracy": 1, "guesses": [1]}], ["x", "y"], [1, 0], alt="x"
        ),
        "for each of the 2 texts",
    ),
    "no rows": (lambda: explore_labels([], [], [], alt="x"), "rows are needed"),
    "too much": (lambda: Explorer("heads", "x", {"maps": "0" * LIMIT}), "take a shorter text"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name):
    make, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_the_stepper_refuses_what_the_translator_refuses():
    from types import SimpleNamespace

    from utils.translator import load_translator

    with pytest.raises(ValueError, match="does not know"):
        explore_steps(load_translator("phrasebook-en-de-gru"), "The zyzzyva sleeps.", alt="x")
    with pytest.raises(ValueError, match="recurrent"):
        explore_steps(SimpleNamespace(model=None), "x", alt="x")


def test_the_translator_of_the_site_has_the_numbers_of_the_checkpoint(tmp_path):
    import base64

    from safetensors.numpy import load_file

    from scripts.site_translator import NAME, write_translator
    from utils.pretrained import CHECKPOINTS

    text = write_translator(tmp_path, "<a href='index.html'>Start</a>").read_text(encoding="utf-8")
    assert "[[" not in text
    assert "<a href='index.html'>Start</a>" in text
    model = json.loads(
        (tmp_path / "translator-weights.js").read_text(encoding="utf-8")[len("const MODEL = ") : -2]
    )
    numbers = numpy.frombuffer(base64.b64decode(model["weights"]), dtype="<f2")
    for name, tensor in load_file(CHECKPOINTS / NAME / "model.safetensors").items():
        start, *shape = model["tensors"][name]
        assert (numbers[start : start + tensor.size].reshape(shape) == tensor).all()
    words = [model["source"][i] for i in model["known"]]
    assert "Area" in words
    assert "<s>" not in words
    assert "Transformers" not in words  # of another theme


def test_a_box_takes_texts_says_errors_and_recovers(monkeypatch):
    import IPython.display
    import ipywidgets

    shown, updates = [], []

    class Handle:
        def update(self, content, raw=False):
            updates.append(content)

    def display(*contents, display_id=False):
        shown.extend(contents)
        return Handle()

    def render(text):
        if text == "warn":
            import warnings

            warnings.warn("expect a poor answer", stacklevel=2)
        return explore_gaps(Filler(), text, alt=text)

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.delenv("CI", raising=False)
    ask(render, TEXT, "your sentence")
    box, note, first = shown
    assert isinstance(box, ipywidgets.Text)
    assert first.alt == TEXT
    box.value = "..."
    assert "a word that can be hidden" in updates[-1]["text/plain"]
    box.value = "And now"
    assert updates[-1].alt == "And now"
    box.value = "warn"
    assert note.value == "expect a poor answer"
    box.value = "fine"
    assert note.value == ""
    monkeypatch.setenv("CI", "true")
    shown.clear()
    ask(render, TEXT, "your sentence")
    assert [type(content) for content in shown] == [Explorer]
