"""Execute every notebook headless, and report seconds, memory and claims.

hello run                       all notebooks
hello run 02_attention          one of them

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

from scripts.claims_table import claims_of
from scripts.pages import page

ROOT = Path(__file__).parents[1]


class _MemoryWatch(threading.Thread):
    """Watches the memory of a process and remembers the most it had, in bytes."""

    def __init__(self, process_id):
        super().__init__(daemon=True)
        self.process, self.peak, self.done = psutil.Process(process_id), 0, threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            try:
                self.peak = max(self.peak, self.process.memory_info().rss)
            except psutil.Error:
                return


def execute(path: Path, output_folder: Path, timeout: float = 600) -> dict:
    """Execute one notebook and write its executed copy and HTML page, whatever comes of it.

    Args:
        path: of the notebook.
        output_folder: for copy and page; it is made.
        timeout: seconds that a cell may take.

    Returns:
        ``{"name", "seconds", "peak_memory_mb", "claims": [...], "error"}``; error is None if all went well.
    """
    notebook = nbformat.read(path, as_version=4)
    watches = []

    def start_watch(**_):
        if not watches:
            watches.append(_MemoryWatch(client.km.provisioner.process.pid))
            watches[0].start()

    client = NotebookClient(
        notebook,
        timeout=timeout,
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        coalesce_streams=True,  # what a cell prints is one output, however long it took
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=start_watch,
    )
    started, error = time.perf_counter(), None
    try:
        client.execute()
    except Exception as failure:  # of a cell; or it took too long, or the kernel died or never started
        error = str(failure).strip() or type(failure).__name__
    seconds = time.perf_counter() - started
    for watch in watches:
        watch.done.set()
    output_folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output_folder / path.name)
    (output_folder / f"{path.stem}.html").write_text(page(notebook, path.stem), encoding="utf-8")
    return {
        "name": path.stem,
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(watches[0].peak / 2**20) if watches else 0,
        "claims": claims_of(notebook),
        "error": error,
    }


def table(report: dict) -> str:
    """The report as a table of text."""
    marks = {True: "✓", False: "✗", None: "?"}
    lines = [f"{'notebook':<28} {'seconds':>8} {'memory':>9}  claims"]
    for entry in report["notebooks"]:
        claims = " ".join(f"{claim['id']}{marks[claim['holds']]}" for claim in entry["claims"])
        lines.append(
            f"{entry['name']:<28} {entry['seconds']:>8.1f} {entry['peak_memory_mb']:>6} MB  {claims}"
        )
    lines.append(f"{'all':<28} {report['total_seconds']:>8.1f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line of ``hello run``."""
    parser = argparse.ArgumentParser(prog="hello run", description="Execute the notebooks.")
    parser.add_argument("names", nargs="*", help="notebooks without .ipynb (default: all)")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder (default: build)")
    parser.add_argument("--update", action="store_true", help="store the outputs in notebooks/, too")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a cell may take (600)")
    options = parser.parse_args(arguments)
    available = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    unknown = [name for name in options.names if name not in available]
    if unknown:
        sys.exit(f"error: there is no notebook {unknown[0]!r}; there are {', '.join(available)}")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # on a terminal without ticks and crosses
    os.environ.setdefault("CI", "1")  # nobody watches: no progress bars in stored outputs
    names = options.names or list(available)
    started, results = time.perf_counter(), []
    try:
        for number, name in enumerate(names, start=1):
            print(f"[{number}/{len(names)}] {name} …", end=" ", flush=True)
            results.append(execute(available[name], options.output, options.timeout))
            failed = results[-1]["error"] is not None
            print("failed" if failed else f"{results[-1]['seconds']:.1f} s", flush=True)
            if options.update and not failed:
                shutil.copy(options.output / f"{name}.ipynb", available[name])
    finally:  # interrupted or not
        report = {"total_seconds": round(time.perf_counter() - started, 1), "notebooks": results}
        options.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        (options.output / "report.json").write_text(text, encoding="utf-8")
    print("\n" + table(report))
    for result in results:
        if result["error"]:
            print(f"\n{result['name']} failed:\n{result['error']}", file=sys.stderr)
    if any(result["error"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
