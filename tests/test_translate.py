import matplotlib.image
import pytest
from conftest import make_translator

from scripts import command
from scripts.translate import alignment_text, main

SENTENCE = "A man is riding a bicycle ."


@pytest.fixture(scope="module")
def saved(tokenizers, tmp_path_factory):
    """A small translator, and its folder."""
    translator, folder = make_translator(tokenizers), tmp_path_factory.mktemp("tiny")
    translator.save_pretrained(folder)
    return translator, str(folder)


def test_it_prints_what_the_translator_says(saved, capsys):
    translator, folder = saved
    main(["--checkpoint", folder, "--beam-size", "2", SENTENCE, "A dog runs ."])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [t.text for t in translator.translate([SENTENCE, "A dog runs ."], 2)]


def test_show_prints_a_line_for_each_target_word(saved, capsys):
    translator, folder = saved
    main(["--checkpoint", folder, "--beam-size", "1", "--show", SENTENCE])
    (translation,) = translator.translate([SENTENCE])
    text, *alignment = capsys.readouterr().out.splitlines()
    assert text == translation.text
    assert alignment == alignment_text(translation).splitlines()
    assert len(alignment) > 1
    assert all("←" in line for line in alignment)


@pytest.mark.slow
def test_the_looks_of_a_drawing_differ(saved, tmp_path):
    files = [tmp_path / f"{name}.png" for name in ("default", "paper", "trimmed")]
    for file, options in zip(files, ([], ["--preset", "paper"], ["--hide-end"]), strict=True):
        main(["--checkpoint", saved[1], "--output", str(file), *options, SENTENCE])
    default, paper, trimmed = (matplotlib.image.imread(file) for file in files)
    assert default.shape == paper.shape
    assert (default != paper).any()
    assert trimmed.shape != default.shape


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "noext", SENTENCE], "noext must end in one of"),
        (["--output", "drawing.docx", SENTENCE], "drawing.docx must end in one of"),
        (["--output", "nowhere/at/all.png", SENTENCE], "there is no folder nowhere/at"),
        (["--output", "two.png", SENTENCE, SENTENCE], "--output draws one sentence"),
        (["--to", "en", SENTENCE], "invalid choice: 'en'"),
        ([], "required: sentence"),
    ],
)
def test_a_command_line_that_is_wrong_says_how(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([" "], "is empty"),
        (["--beam-size", "0", SENTENCE], "beam_size"),
        (["--beam-size", "6000", SENTENCE], "beam_size"),
        (["--checkpoint", "nowhere", SENTENCE], "there is no checkpoint"),
        (["--model", "lstm", SENTENCE], "there is no checkpoint"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(saved, words, message, capsys):
    assert (
        command.run(
            ["translate", "--checkpoint", saved[1], *words]
            if "--model" not in words
            else ["translate", *words]
        )
        == 1
    )
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_without_attention_there_is_nothing_to_show(tokenizers, tmp_path, capsys):
    make_translator(tokenizers, attention=False).save_pretrained(tmp_path / "blind")
    assert command.run(["translate", "--checkpoint", str(tmp_path / "blind"), "--show", SENTENCE]) == 1
    assert "no attention" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sentence", ["A man <pad> is riding .", "\ufeffA man is riding .", "A [MASK] </s> dog .", "A $5 bike ."]
)
def test_a_readers_signs_are_text(saved, sentence, capsys):
    assert command.run(["translate", "--checkpoint", saved[1], "--show", sentence]) == 0
    assert "←" in capsys.readouterr().out
