import shutil
from types import SimpleNamespace

import pytest

from scripts import health as module
from scripts.health import health, pinned_packages, versions
from utils import pretrained


@pytest.fixture(autouse=True)
def enough_memory(monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 0.0)  # other programs may take what they like


def test_all_is_well_here(capsys):
    assert health()
    assert capsys.readouterr().out == "✓ packages\n✓ checkpoints\n✓ models\n✓ memory\n"


def test_versions_name_every_pinned_package(capsys):
    versions()
    out = capsys.readouterr().out
    assert out.startswith("Python 3.")
    assert len(pinned_packages()) >= 20
    for name, version in pinned_packages().items():
        assert f"{name} {version}" in out


@pytest.fixture
def few_checks(monkeypatch, tmp_path):
    """One checkpoint, in a folder of its own, so that it may be damaged."""
    name = "phrasebook-en-de-gru"
    shutil.copytree(pretrained.CHECKPOINTS / name, tmp_path / "checkpoints" / name)
    shutil.copy(pretrained.CHECKPOINTS.parent / "packages.tsv", tmp_path)
    monkeypatch.setattr(module, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(module, "package_file", lambda name: None)
    return tmp_path / "checkpoints" / name


def test_a_damaged_checkpoint_is_named_with_its_repair(few_checks, capsys):
    (few_checks / "config.json").write_text("{}")
    assert not health()
    out = capsys.readouterr().out
    assert "✓ packages\n✗ checkpoints\n" in out
    assert "config.json is damaged" in out
    assert "git checkout" in out


def test_a_missing_model_package_is_named_with_its_command(few_checks, monkeypatch, capsys):
    def missing(name):
        if name == "minilm":
            raise pretrained.CheckpointError("not installed; install it with `pip ...`")

    monkeypatch.setattr(module, "package_file", missing)
    assert not health()
    assert "✗ models\n    not installed; install it with `pip ...`\n✓ memory" in capsys.readouterr().out


def test_other_and_missing_packages_are_named(few_checks, monkeypatch, capsys):
    monkeypatch.setattr(module, "pinned_packages", lambda: {"numpy": "0.1", "no-such-package": "1.0"})
    assert not health()
    out = capsys.readouterr().out
    assert "✗ packages\n    numpy is version " in out
    assert "; 0.1 is tested\n    no-such-package is missing; 1.0 is tested\n" in out
    assert "pip install -r requirements.txt" in out


def test_too_little_memory_is_said(few_checks, monkeypatch, capsys):
    monkeypatch.setattr(module, "MEMORY", 2.0)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=0.5e9))
    assert not health()
    assert "✗ memory\n    0.5 GB are free, a notebook may need 2: close" in capsys.readouterr().out
