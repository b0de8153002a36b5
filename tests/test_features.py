import gzip
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.review import show_review
from utils.features import FEATURES, FOLDER, draw_labels, load_features
from utils.loaders import load_results, load_settings


@pytest.mark.parametrize("name", FEATURES)
def test_shipped_features_belong_to_reviews_whose_labels_they_have(name):
    features = load_features(name)
    for split in ("train", "test"):
        vectors, labels, ids = (getattr(features, split + part) for part in ("", "_labels", "_ids"))
        assert vectors.dtype == np.float32
        assert len(vectors) == len(labels) == len(set(ids))
        assert all(
            review.startswith(f"{split}/{('neg', 'pos')[label]}/")
            for review, label in zip(ids, labels, strict=True)
        )
        assert (vectors.std(axis=0) > 0).mean() > 0.99
    assert len(features.test) == (300 if name == "smollm2-random" else 5000)
    assert (features.test_labels == 1).mean() == 0.5


def test_shipped_features_are_small_and_of_the_same_reviews():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6
    large = [load_features(name) for name in FEATURES if name != "smollm2-random"]
    for other in large[1:]:
        assert (other.train_ids, other.test_ids) == (large[0].train_ids, large[0].test_ids)


@pytest.mark.parametrize("name", FEATURES[:4])
def test_heads_on_shipped_features_have_the_accuracies_of_the_sweep(name):
    features, found = load_features(name), []
    arm = {"lstm-untrained": "lstm untrained"}.get(name, name) + " frozen"
    expected = load_results("imdb-sweep").query(f"arm == '{arm}' and labels == 100")["accuracy"].mean()
    for seed in range(5):
        chosen = draw_labels(features.train_labels, 100, seed)
        head = make_pipeline(
            StandardScaler(), LogisticRegression(C=load_settings("imdb-sweep")["strengths"][name])
        )
        head.fit(features.train[chosen], features.train_labels[chosen])
        found.append(head.score(features.test, features.test_labels))
    assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_draws_are_balanced_and_smaller_ones_are_parts():
    labels = np.array([0, 1] * 30 + [1] * 10)
    few, many = draw_labels(labels, 10, 3), draw_labels(labels, 40, 3)
    assert list(many[:10]) == list(few)
    assert labels[few].sum() == 5
    assert len(set(many)) == 40
    for wrong in (0, 1, 7, -2, 62):
        with pytest.raises(ValueError, match="even and from 2 to 60"):
            draw_labels(labels, wrong)


def test_a_wrong_feature_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="choose one of smollm2, minilm"):
        load_features("gpt-5")
    with pytest.raises(ValueError, match=r"minilm\.safetensors is missing or damaged .*; restore it with"):
        load_features("minilm", tmp_path)
    shutil.copy(FOLDER / "lstm.safetensors", tmp_path / "minilm.safetensors")
    with pytest.raises(ValueError, match="holds the features 'lstm', not 'minilm'"):
        load_features("minilm", tmp_path)
    whole = (FOLDER / "lstm.safetensors").read_bytes()
    (tmp_path / "lstm.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="or damaged"):
        load_features("lstm", tmp_path)
    tensors = load_file(FOLDER / "lstm.safetensors")
    about = {"name": "lstm", "body": "", "train_ids": "a", "test_ids": "b"}
    save_file(tensors, tmp_path / "lstm.safetensors", about)
    with pytest.raises(ValueError, match="5000 labels and 1 ids"):
        load_features("lstm", tmp_path)
    del tensors["scale"]
    save_file(tensors, tmp_path / "lstm.safetensors", about)
    with pytest.raises(ValueError, match=r"damaged \('scale'\)"):
        load_features("lstm", tmp_path)


def test_a_review_is_shown_or_it_is_said_how(tmp_path, monkeypatch, capsys):
    show_review("test/neg/0_2")
    assert "set HELLO_TRANSFORMERS_DATA to a folder with imdb/test.jsonl.gz" in " ".join(
        capsys.readouterr().out.split()
    )
    monkeypatch.setenv("HELLO_TRANSFORMERS_DATA", str(tmp_path))
    show_review("test/neg/0_2")
    assert "no text of a review is part of this project" in capsys.readouterr().out
    (tmp_path / "imdb").mkdir()
    with gzip.open(tmp_path / "imdb" / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"id": "test/neg/0_2", "text": "Long.<br />Très long.", "label": 0}) + "\n")
    show_review("test/neg/0_2")
    assert capsys.readouterr().out == "Long.\nTrès long.\n"
    with pytest.raises(ValueError, match="has no review 'test/neg/1_1'"):
        show_review("test/neg/1_1")
    for wrong in ("validation/3", "test", ""):
        with pytest.raises(ValueError, match='an id begins with "train/" or "test/"'):
            show_review(wrong)
