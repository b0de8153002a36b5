"""A real browser on pages and in JupyterLab, with every request to other machines refused."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as api:
        chromium = api.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        yield chromium
        chromium.close()


class Visit:
    """A page, what its console said, and which requests wanted to leave the machine."""

    def __init__(self, browser):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.errors, self.left = [], []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.context.route("**/*", self._guard)

    def _guard(self, route):
        address = route.request.url
        if address.startswith(("file:", "data:", "blob:", "http://127.0.0.1", "http://localhost", "ws:")):
            route.continue_()
        else:
            self.left.append(address)
            route.abort()

    def pictures(self):
        """For each picture in sight: its address, whether it is whole, and its alt text."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.jp-Notebook img, body > main img, .jp-Cell img')].map(
            i => ({source: i.src.slice(0, 80), whole: i.complete && i.naturalWidth > 0, alt: i.alt}))"""
        )


@pytest.fixture
def visit(browser):
    visit = Visit(browser)
    yield visit
    visit.context.close()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory):
    """Start JupyterLab in a folder of a copy of the repository; a function from folder to address."""
    copy = tmp_path_factory.mktemp("copy") / "repository"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT / ".cache").exists():
        (copy / ".cache").symlink_to(ROOT / ".cache")
    running = {}
    environment = os.environ | {"PYTHONPATH": str(copy), "CI": "1"}
    environment |= {"JUPYTER_CONFIG_DIR": str(copy.parent / "config"), "JUPYTER_PREFER_ENV_PATH": "1"}

    def start(folder):
        if folder not in running:
            port = _free_port()
            command = [
                sys.executable,
                "-m",
                "jupyter",
                "lab",
                "--no-browser",
                "--allow-root",
                f"--port={port}",
            ]
            command += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
            command += ["--expose-app-in-browser", "--ServerApp.ip=127.0.0.1"]
            log = open(copy.parent / f"lab-{port}.log", "wb")  # noqa: SIM115 (closed with the process)
            process = subprocess.Popen(command, cwd=copy / folder, env=environment, stdout=log, stderr=log)
            address = f"http://127.0.0.1:{port}"
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            running[folder] = (process, address)
        return running[folder][1]

    yield start
    for process, _ in running.values():
        process.terminate()
        process.wait(20)
