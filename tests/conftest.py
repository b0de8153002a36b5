"""What all tests share: an environment that is the same everywhere, and small untrained translators."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported
os.environ.pop("HELLO_TRANSFORMERS_DATA", None)  # tests run alike on every machine
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores, each with one thread
    os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import settings

from utils.loaders import load_captions
from utils.models.recurrent import RecurrentTranslationModel
from utils.tokens import train_tokenizer
from utils.translator import Translator

# A machine that is busy with something else is no failure, and every run tries the same examples.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _alone():
    """Each test begins as if it were the only one: no figures, no style, the same random numbers."""
    torch.manual_seed(0)
    with mpl.rc_context():
        mpl.rcdefaults()
        yield
    plt.close("all")


@pytest.fixture(scope="session")
def tokenizers():
    captions = load_captions()
    return {language: train_tokenizer(captions[language], language, 300) for language in ("en", "fr", "de")}


def make_translator(tokenizers, attention=True, seed=0):
    """An untrained translator: small, and with opinions strong enough to differ between inputs."""
    torch.manual_seed(seed)
    source, target = tokenizers["en"], tokenizers["fr"]
    model = RecurrentTranslationModel(
        source.get_vocab_size(), target.get_vocab_size(), attention, embedding_size=16, hidden_size=32
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return Translator(model.eval(), source, target, ("en", "fr"), training_length=60)


@pytest.fixture(params=[True, False], ids=["attention", "no attention"])
def translator(request, tokenizers):
    return make_translator(tokenizers, request.param)


@pytest.fixture
def attentive(tokenizers):
    return make_translator(tokenizers, attention=True)
