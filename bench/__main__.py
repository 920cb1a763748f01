"""The command line of the bench."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import (
    against,
    end_to_end,
    inference,
    kernels,
    limits,
    machine,
    mixed,
    report,
    roofline,
    threads,
    train,
)
from .nets import NETS, Net, find
from .peers import LIBRARIES
from .rounds import SLOW_TO_START, Effort, Json, Session, Worker, WorkerError

SECTIONS = ("limits", "train", "inference", "kernels", "threads", "mixed", "end_to_end")
FULL = Effort(rounds=15, seconds=0.1)
QUICK = Effort(rounds=4, seconds=0.02)
AGAINST = Effort(rounds=8, seconds=0.04)  # of each pair of processes


def names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """A parser of names joined by commas."""

    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in allowed]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected some of {','.join(allowed)}")
        return chosen

    return parse


def positive(text: str) -> int:
    """A parser of whole numbers above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above zero")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser("bench", description="Time cmlp and its peers side by side.")
    p.add_argument("--quick", action="store_true", help="fewer rounds and cases, under two minutes")
    p.add_argument(
        "--threads", type=positive, help="threads of every library (default: all processors)"
    )
    p.add_argument("--isa", help="instruction set of cmlp, such as avx2 (default: the best)")
    p.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    p.add_argument("--nets", type=names([n.name for n in NETS]), help="nets, joined by commas")
    p.add_argument("--peers", type=names(list(LIBRARIES)), help="libraries, joined by commas")
    p.add_argument(
        "--against",
        type=Path,
        metavar="PYTHON",
        help="time nothing but cmlp, by turns with the version that this other Python has, or the"
        " .venv of this other checkout",
    )
    p.add_argument("--sections", type=names(SECTIONS), help="parts to run (default: all)")
    p.add_argument("--rounds", type=positive, help="turns of each variant")
    p.add_argument("--seconds", type=float, help="seconds of a turn")
    p.add_argument(
        "--mnist", type=Path, metavar="FOLDER", help="files of MNIST (default: random data)"
    )
    p.add_argument("--out", type=Path, default=Path("bench-results"), help="folder for the results")
    return p


def chosen_nets(options: argparse.Namespace) -> list[Net]:
    """The nets to time."""
    if options.nets:
        return [find(name) for name in options.nets]
    return [net for net in NETS if not (options.quick and net.heavy)]


def start_workers(
    stack: ExitStack, libraries: Sequence[str], n_threads: int, isa: str | None
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Workers of the libraries that can be used; the reason for each of the others."""
    started = {library: Worker(library, n_threads, isa) for library in libraries}
    workers, missing = {}, {}
    for library, worker in started.items():
        try:
            workers[library] = stack.enter_context(worker)
        except WorkerError as error:
            missing[library] = str(error)
    return workers, missing


def check_isa(isa: str | None, info: Json | None) -> None:
    """Refuse an instruction set that cmlp does not run with."""
    if isa is not None and info is not None and info["isa"] != isa:
        raise ValueError(f"isa: got {isa!r}, expected one of {', '.join(info['isas'])}")


def facts(options: argparse.Namespace, effort: Effort, n_threads: int) -> Json:
    """What the results of any run begin with."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.facts(),
        "settings": {
            "threads": n_threads,
            "dtype": options.dtype,
            "rounds": effort.rounds,
            "seconds_of_a_turn": effort.seconds,
            "quick": options.quick,
        },
        "skipped": [],
        "libraries": {},
        "missing": {},
        "cmlp": None,
        "idle": {},
    }


def effort_of(options: argparse.Namespace, usual: Effort) -> Effort:
    """How long to measure."""
    base = QUICK if options.quick else usual
    return Effort(options.rounds or base.rounds, options.seconds or base.seconds)


def run(options: argparse.Namespace) -> Json:
    """Measure what the options ask for.

    Raises
    ------
    ValueError
        If cmlp cannot run with the instruction set.
    """
    effort = effort_of(options, FULL)
    n_threads = options.threads or machine.available_processors()
    nets = chosen_nets(options)
    results = facts(options, effort, n_threads)
    results["skipped"] = sorted(SLOW_TO_START) if options.quick else []
    with ExitStack() as stack:
        libraries = options.peers or list(LIBRARIES)
        workers, missing = start_workers(stack, libraries, n_threads, options.isa)
        results["libraries"] = {name: worker.version for name, worker in workers.items()}
        results["missing"] = missing
        results["cmlp"] = workers["cmlp"].call("info") if "cmlp" in workers else None
        check_isa(options.isa, results["cmlp"])
        session = Session(workers, options.dtype, n_threads, options.quick, effort)
        measures: dict[str, Callable[[], object]] = {
            "limits": lambda: limits.measure(workers, options.dtype, n_threads, effort),
            "train": lambda: train.measure(session, nets),
            "inference": lambda: inference.measure(session, nets),
            "kernels": lambda: kernels.measure(session),
            "threads": lambda: threads.measure(session),
            "mixed": lambda: mixed.measure(session),
            "end_to_end": lambda: end_to_end.measure(session, options.mnist),
        }
        for section in SECTIONS:
            if section in (options.sections or SECTIONS):
                print(f"measuring: {section}", file=sys.stderr)
                results[section] = measures[section]()
        results["idle"] = {name: worker.idle for name, worker in workers.items()}
    return results


def run_against(options: argparse.Namespace) -> Json:
    """Compare this version with another one.

    Raises
    ------
    ValueError
        If the other one cannot be run, an option does not go with this, or cmlp cannot run with
        the instruction set.
    """
    unfit = [s for s in options.sections or () if s not in against.SECTIONS]
    if unfit or options.peers:
        name, got = ("sections", ",".join(unfit)) if unfit else ("peers", ",".join(options.peers))
        allowed = "cmlp alone, in " + ", ".join(against.SECTIONS)
        raise ValueError(f"{name}: got {got!r}; --against times {allowed}")
    effort = effort_of(options, AGAINST)
    n_threads = options.threads or machine.available_processors()
    results = facts(options, effort, n_threads)
    comparison = against.Comparison(
        old=against.python_of(options.against),
        nets=chosen_nets(options),
        sections=options.sections or against.SECTIONS,
        dtype=options.dtype,
        threads=n_threads,
        isa=options.isa,
        quick=options.quick,
        effort=effort,
    )
    found = results["against"] = comparison.measure()
    results["cmlp"] = found["info"]["new"]
    results["libraries"] = {f"{name} cmlp": v["version"] for name, v in found["info"].items()}
    results["idle"] = {"cmlp": found["idle"]}
    return results


def write(results: Json, out: Path) -> None:
    """Write results.json, tables.md and, where it can be drawn, roofline.png; print the tables."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    made = report.tables(results)
    report.write_markdown(out / "tables.md", made)
    report.show(made)
    try:
        drawn = roofline.draw(results, out / "roofline.png")
    except ImportError:
        drawn = False
        print("no picture: pip install cmlp[bench]", file=sys.stderr)
    files = ["results.json", "tables.md", *(["roofline.png"] if drawn else [])]
    print(f"written to {out}: {', '.join(files)}", file=sys.stderr)


def slower(results: Json) -> list[Json]:
    """Rows of a comparison of two versions that were lost or failed."""
    rows = results["against"]["rows"] if "against" in results else []
    return [row for row in rows if row.get("slower", True)]


def disagreements(results: Json) -> list[str]:
    """Variants whose numbers are not those of the others."""
    end = results.get("end_to_end", {})
    measured = [
        *(item for name in ("train", "inference", "kernels") for item in results.get(name, [])),
        *([end["epoch"]] if end else []),
    ]
    return [
        f"{row['variant']}: {row['problem']}"
        for item in measured
        for row in item["rows"]
        if row.get("problem", "").startswith("disagrees")
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench.

    Parameters
    ----------
    argv : sequence of str, optional
        Options; by default those of the command line.

    Returns
    -------
    int
        0, or 1 if libraries disagreed on a result or this version is slower than the other one.
    """
    options = parser().parse_args(argv)
    try:
        results = run_against(options) if options.against else run(options)
    except ValueError as error:
        parser().error(str(error))
    write(results, options.out)
    return 1 if disagreements(results) or slower(results) else 0


if __name__ == "__main__":
    sys.exit(main())
