import matplotlib.image
import pytest
from conftest import make_translator

from scripts.translate import main

SENTENCE = "A man is riding a bicycle ."


@pytest.fixture
def checkpoint(attentive, tmp_path):
    attentive.save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_it_prints_what_the_translator_says(checkpoint, attentive, capsys):
    main(["--checkpoint", checkpoint, "--beam-size", "2", SENTENCE, "A dog runs ."])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [t.text for t in attentive.translate([SENTENCE, "A dog runs ."], 2)]


def test_show_prints_a_line_for_each_target_word(checkpoint, capsys):
    main(["--checkpoint", checkpoint, "--show", SENTENCE])
    alignment = capsys.readouterr().out.splitlines()[1:]
    assert len(alignment) >= 1
    assert all("←" in line for line in alignment)


def test_the_looks_of_a_drawing_differ(checkpoint, tmp_path):
    files = [tmp_path / f"{name}.png" for name in ("default", "paper", "trimmed")]
    for file, options in zip(files, ([], ["--preset", "paper"], ["--hide-end"]), strict=True):
        main(["--checkpoint", checkpoint, "--output", str(file), *options, SENTENCE])
    default, paper, trimmed = (matplotlib.image.imread(file) for file in files)
    assert default.shape == paper.shape
    assert (default != paper).any()
    assert trimmed.shape != default.shape


def test_what_cannot_be_done_is_said(checkpoint, tokenizers, tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*is empty"):
        main(["--checkpoint", checkpoint, " "])
    with pytest.raises(SystemExit, match="error: "):
        main(["--checkpoint", str(tmp_path / "nowhere"), SENTENCE])
    make_translator(tokenizers, attention=False).save_pretrained(tmp_path / "blind")
    with pytest.raises(SystemExit, match=r"error: .*attention"):
        main(["--checkpoint", str(tmp_path / "blind"), "--show", SENTENCE])
    with pytest.raises(SystemExit):
        main(["--checkpoint", checkpoint, "--output", str(tmp_path / "two.png"), SENTENCE, SENTENCE])
