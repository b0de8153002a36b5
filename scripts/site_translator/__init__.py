"""A translator inside a page: the phrasebook's network as plain script, for the site.

``make site`` puts three files beside the pages: ``translator.html``, ``translator.js`` (the network, without
a library) and ``translator-weights.js`` (its numbers in half precision, and its words). A page that is opened
from the disk may not read a file, so the numbers come as a script, in base 64.
"""

import base64
import json
from pathlib import Path

import numpy
from safetensors.numpy import load_file

from phrasebook import load_phrasebook
from utils.plots.explorer import code
from utils.pretrained import CHECKPOINTS
from utils.vocabulary import LANGUAGE_NAMES

HERE = Path(__file__).parent
NAME = "phrasebook-en-fr-gru-attention"


def write_translator(folder: Path, navigation: str = "", name: str = NAME) -> Path:
    """Write the page, its script and its weights.

    Args:
        folder: of the site.
        navigation: HTML that links to other pages.
        name: of a recurrent translator with attention in ``data/checkpoints``, on whole words.

    Returns:
        The page.
    """
    checkpoint = CHECKPOINTS / name
    tensors = load_file(checkpoint / "model.safetensors")
    config, training = (
        json.loads((checkpoint / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("config", "training")
    )
    # The tokeniser has the words of all themes, but the network has read those of its own theme alone.
    source, theme = _words(checkpoint / "source_tokenizer.json"), training["settings"]["theme"]
    seen = {word for row in load_phrasebook(5000, theme=theme)["en"] for word in row.split()}
    places, numbers, count = {}, [], 0
    for key, tensor in sorted(tensors.items()):
        places[key] = [count, *tensor.shape]
        numbers.append(tensor.astype("<f2").ravel())
        count += tensor.size
    model = {
        "source": source,
        "known": [source.index(word) for word in sorted(seen & set(source))],
        "target": _words(checkpoint / "target_tokenizer.json"),
        "longest": config["training_length"],
        "tensors": places,
        "weights": base64.b64encode(numpy.concatenate(numbers).tobytes()).decode(),
    }
    text = json.dumps(model, ensure_ascii=False, separators=(",", ":"))
    (folder / "translator-weights.js").write_text(f"const MODEL = {text};\n", encoding="utf-8", newline="\n")
    style, script = code("alignment")
    explorer = "const explore = " + script.strip().removesuffix("(document.currentScript);") + ";\n"
    translator = (HERE / "translator.js").read_text(encoding="utf-8")
    (folder / "translator.js").write_text(explorer + translator, encoding="utf-8", newline="\n")
    values = {"style": style, "navigation": navigation, "parameters": f"{count / 1e6:.2f} million"}
    values |= dict(zip(("from", "to"), map(LANGUAGE_NAMES.get, config["languages"]), strict=True))
    page = (HERE / "translator.html").read_text(encoding="utf-8")
    for key, value in values.items():
        page = page.replace(f"[[{key}]]", str(value))
    (folder / "translator.html").write_text(page, encoding="utf-8", newline="\n")
    return folder / "translator.html"


def _words(path: Path) -> list[str]:
    """The words of a tokeniser, in the order of their ids."""
    vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)
