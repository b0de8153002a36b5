"""Execute every notebook headless, and report seconds, memory and claims.

python -m utils.run                       all notebooks
python -m utils.run 02_attention          one of them

Executed copies, HTML pages and report.json go to ``build/``. The notebooks themselves stay as they are,
unless ``--update`` asks for new stored outputs.
"""

import argparse
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from scripts.claims_table import claims_of

ROOT = Path(__file__).parents[1]


class _MemoryWatch(threading.Thread):
    """Watches the memory of a kernel and remembers the most it had, in bytes."""

    def __init__(self, process_id):
        super().__init__(daemon=True)
        self.process = psutil.Process(process_id)
        self.peak = 0
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            try:
                self.peak = max(self.peak, self.process.memory_info().rss)
            except psutil.NoSuchProcess:
                return


def execute(path, output_folder):
    """Execute one notebook and write its executed copy and HTML page.

    Returns:
        ``{"name", "seconds", "peak_memory_mb", "claims": [...], "error"}``; error is None if all went
        well.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    started, error, watch = time.perf_counter(), None, None

    def start_watch(**_):
        nonlocal watch
        if watch is None:
            watch = _MemoryWatch(client.km.provisioner.process.pid)
            watch.start()

    client.on_cell_start = start_watch
    try:
        client.execute()
    except CellExecutionError as failure:
        error = str(failure)
    seconds = time.perf_counter() - started
    if watch is not None:
        watch.done.set()
    output_folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output_folder / path.name)
    page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    (output_folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
    return {
        "name": path.stem,
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(watch.peak / 2**20) if watch else 0,
        "claims": claims_of(notebook),
        "error": error,
    }


def table(report):
    """The report as a table of text."""
    lines = [f"{'notebook':<28} {'seconds':>8} {'memory':>9}  claims"]
    for notebook in report["notebooks"]:
        claims = " ".join(f"{c['id']}{'✓' if c['holds'] else '✗'}" for c in notebook["claims"])
        lines.append(
            f"{notebook['name']:<28} {notebook['seconds']:>8.1f} {notebook['peak_memory_mb']:>6} MB  {claims}"
        )
    lines.append(f"{'all':<28} {report['total_seconds']:>8.1f}")
    return "\n".join(lines)


def main(arguments=None):
    """The command line of ``python -m utils.run``."""
    parser = argparse.ArgumentParser(prog="python -m utils.run", description="Execute the notebooks.")
    parser.add_argument("names", nargs="*", help="notebooks without .ipynb (default: all)")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder (default: build)")
    parser.add_argument("--update", action="store_true", help="store the outputs in notebooks/, too")
    options = parser.parse_args(arguments)
    available = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    unknown = [name for name in options.names if name not in available]
    if unknown:
        sys.exit(f"error: there is no notebook {unknown[0]!r}; there are {sorted(available)}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("CI", "1")  # nobody watches: no progress bars in stored outputs
    names = options.names or list(available)
    started, results = time.perf_counter(), []
    for number, name in enumerate(names, start=1):
        print(f"[{number}/{len(names)}] {name} …", end=" ", flush=True)
        result = execute(available[name], options.output)
        print("failed" if result["error"] else f"{result['seconds']:.1f} s", flush=True)
        results.append(result)
        if options.update and not result["error"]:
            shutil.copy(options.output / f"{name}.ipynb", available[name])
    errors = {result["name"]: result.pop("error") for result in results}
    report = {"total_seconds": round(time.perf_counter() - started, 1), "notebooks": results}
    (options.output / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print("\n" + table(report))
    for name, error in errors.items():
        if error:
            print(f"\n{name} failed:\n{error}", file=sys.stderr)
    if any(errors.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
