import itertools

import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

from scripts.bodies import TransformersBody, text_features
from utils.models.language_models import RecurrentLanguageModel
from utils.pretrained import smollm2_folder
from utils.texts import load_language_model
from utils.tokens import PADDING_ID, encode_texts
from utils.training import train
from utils.transfer import (
    LanguageModelBody,
    TextClassifier,
    fit_classifier,
    pool,
)


def recurrent_body():
    torch.manual_seed(0)
    return LanguageModelBody(
        RecurrentLanguageModel(30, embedding_size=8, hidden_sizes=(12,), word_dropout=0.0)
    )


def bert_body():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    return TransformersBody(BertModel(config, add_pooling_layer=False))


BODIES = pytest.mark.parametrize("make_body", [recurrent_body, bert_body])


def task(count, seed):
    """Texts of random tokens; label 1 where token 5 occurs."""
    generator = torch.Generator().manual_seed(seed)
    ids, labels = [], []
    for i in range(count):
        length = int(torch.randint(4, 12, (), generator=generator))
        row = torch.randint(6, 30, (length,), generator=generator).tolist()
        if i % 2:
            row[int(torch.randint(length, (), generator=generator))] = 5
        ids.append(row)
        labels.append(i % 2)
    return ids, labels


@BODIES
@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_padding_does_not_change_scores(make_body, pooling):
    classifier = TextClassifier(make_body(), pooling=pooling).eval()
    tokens = torch.tensor([[4, 5, 6, 7, 8]])
    padded = nn.functional.pad(tokens, (0, 4), value=PADDING_ID)
    assert torch.allclose(classifier(tokens), classifier(padded), atol=1e-5)


def test_concatenated_pooling_is_last_largest_and_mean():
    states = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [2.0, -2.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, True, False]])
    expected = torch.tensor([[2.0, -2.0, 3.0, -1.0, 2.0, -8 / 3]])
    assert torch.allclose(pool(states, mask), expected)
    assert torch.allclose(pool(states, mask, "mean"), expected[:, 4:])
    with pytest.raises(ValueError, match="median"):
        pool(states, mask, "median")


@BODIES
@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_features_do_not_depend_on_the_company_of_a_text(make_body, pooling):
    body, ids = make_body(), [[4, 9, 2], [4, 5, 6, 7, 8, 9, 10], [11]]
    together = text_features(body, ids, pooling, batch_size=2)
    alone = torch.cat([text_features(body, [row], pooling) for row in ids])
    assert together.shape == (3, body.width * (1 if pooling == "mean" else 3))
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.slow
def test_a_frozen_body_stays_as_it_is_and_can_be_thawed():
    classifier = TextClassifier(recurrent_body())
    before = {name: weight.clone() for name, weight in classifier.state_dict().items()}
    ids, labels = task(40, 0)

    def moved(frozen):
        fit_classifier(classifier, ids, labels, (ids, labels), epochs=1, learning_rate=1e-2, frozen=frozen)
        return {name for name, weight in classifier.state_dict().items() if not weight.equal(before[name])}

    assert moved(frozen=True) == {name for name in before if name.startswith("head")}
    assert any(name.startswith("body") for name in moved(frozen=False))


@pytest.mark.slow
@BODIES
def test_layers_join_from_above_and_learn_more_slowly_below(make_body):
    classifier = TextClassifier(make_body())
    start = [layer[0].clone() for layer in classifier.body.layers()]
    ids, labels = task(40, 0)

    def moved(**options):
        again = TextClassifier(make_body())
        again.load_state_dict(classifier.state_dict())
        options |= {"schedule": lambda step, total, peak: peak}
        fit_classifier(again, ids, labels, (ids, labels), epochs=1, learning_rate=1e-3, **options)
        pairs = zip(again.body.layers(), start, strict=True)
        return [(layer[0] - old).abs().max().item() for layer, old in pairs]

    assert max(moved(unfreeze_every=1)) == 0  # the head learns alone
    assert all(below < above / 2 for below, above in itertools.pairwise(moved(layer_decay=0.1)))


@pytest.mark.slow
def test_groups_wait_for_their_epoch():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    start = [layer.weight.clone() for layer in model]
    seen = []

    def validate(current):
        seen.append([not layer.weight.equal(old) for layer, old in zip(current, start, strict=True)])
        return {"score": len(seen)}

    train(
        model,
        lambda epoch: [(torch.ones(1, 2),)],
        lambda m, batch: (m(batch[0]).square().sum(), 1),
        validate,
        monitor="score",
        epochs=3,
        learning_rate=0.1,
        groups=[([model[1].weight], 1.0, 0), ([model[0].weight], 1.0, 2)],
    )
    assert seen == [[False, True], [False, True], [True, True]]


@pytest.mark.slow
@BODIES
def test_a_classifier_learns(make_body):
    classifier = TextClassifier(make_body(), dropout=0.0)
    ids, labels = task(200, 0)
    other, expected = task(100, 1)
    history = fit_classifier(
        classifier, ids, labels, (other, expected), epochs=12, learning_rate=5e-3, patience=12
    )
    share = (classifier.predict(other) == torch.tensor(expected)).float().mean().item()
    assert share > 0.9
    assert share == pytest.approx(max(row["validation_accuracy"] for row in history))


def test_texts_and_labels_must_match():
    with pytest.raises(ValueError, match="as many labels as texts"):
        fit_classifier(TextClassifier(recurrent_body()), [[4]], [], ([], []), epochs=1, learning_rate=1e-3)


@pytest.mark.parametrize("wrong", [2, -1, "positive", 0.5])
@pytest.mark.parametrize("validated", [False, True])
def test_a_label_that_the_head_does_not_have_is_named(wrong, validated):
    classifier, good = TextClassifier(recurrent_body()), ([[4, 5], [6, 7]], [0, 1])
    before = {name: weight.clone() for name, weight in classifier.state_dict().items()}
    bad = good[0], [1, wrong]
    texts, others = (good, bad) if validated else (bad, good)
    with pytest.raises(ValueError, match=f"labels 0 to 1.*{wrong!r}"):
        fit_classifier(classifier, *texts, others, epochs=1, learning_rate=1e-3)
    assert all(weight.equal(before[name]) for name, weight in classifier.state_dict().items())


def test_a_typed_review_may_be_empty_unknown_or_too_long():
    model = load_language_model("language-model-imdb")
    torch.manual_seed(0)
    classifier = TextClassifier(LanguageModelBody(model.model))
    with pytest.raises(ValueError, match="text 1 is empty"):
        classifier.predict(model.encode(["a good film", " \n"]))
    with pytest.raises(ValueError, match="text 1 has no word that the model knows"):
        classifier.predict(model.encode(["a good film", "∑ ≠"]))
    with pytest.raises(ValueError, match="text 1 has no tokens"):
        classifier.predict([[4], []])
    long = model.encode(["a good film " * 1000])
    with pytest.warns(UserWarning, match="1 of 1 texts have more than 1024 tokens"):
        found = classifier.predict(long)
    assert found.equal(classifier.predict([long[0][:1024]]))


def test_smollm2_reads_no_more_than_it_was_told_and_says_so():
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder(), local_files_only=True).backend_tokenizer
    tokenizer.enable_truncation(512)
    with pytest.raises(ValueError, match="text 0 is empty"):
        encode_texts(tokenizer, ["  "])
    with pytest.warns(UserWarning, match="longer than 512 tokens"):
        [ids] = encode_texts(tokenizer, ["a good film " * 1000])
    assert len(ids) == 512
    assert ids == tokenizer.encode("a good film " * 300).ids
