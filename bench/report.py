"""Tables from the results, for the terminal and in Markdown."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from .against import LIMIT
from .rounds import Json

MISSING = "-"
GAP = "  "  # between columns


@dataclass
class Table:
    """A table of text.

    Attributes
    ----------
    title : str
    header : list of str
    rows : list of list of str
    notes : list of str
        Lines below the table.
    keys : int
        The first columns, which say what a row is about.
    """

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keys: int = 1


def tables(results: Json) -> list[Table]:
    """All tables of the results."""
    makers: dict[str, Callable[[Json], list[Table]]] = {
        "limits": lambda r: [limits_table(r)],
        "train": lambda r: [summary_table(r), train_table(r), share_table(r)],
        "inference": lambda r: [inference_table(r)],
        "kernels": lambda r: [kernels_table(r)],
        "threads": lambda r: [threads_table(r)],
        "mixed": lambda r: [mixed_table(r)],
        "end_to_end": end_to_end_tables,
        "against": against_tables,
    }
    made = [machine_table(results)]
    for section, maker in makers.items():
        if results.get(section):
            made += maker(results)
    return made


def number(value: float | None, unit: float = 1.0) -> str:
    """Three digits, or more where there are more before the point."""
    if value is None:
        return MISSING
    scaled = value * unit
    if abs(scaled) >= 100:
        return f"{scaled:,.0f}"
    return f"{scaled:.3g}" if abs(scaled) < 10 else f"{scaled:.1f}"


def percent(share: float | None) -> str:
    """A share as whole percents."""
    return MISSING if share is None else f"{100 * share:.0f} %"


def times(ratio: float | None) -> str:
    """A ratio of times."""
    return MISSING if ratio is None else f"{ratio:.2f}"


def machine_table(results: Json) -> Table:
    """Machine, libraries and settings."""
    machine, settings, info = results["machine"], results["settings"], results["cmlp"] or {}
    caches = ", ".join(f"{k} {v}" for k, v in machine["caches"].items())
    table = Table("Machine", ["what", "value"])
    table.rows = [
        ["processor", f"{machine['processor']} ({machine['architecture']})"],
        ["threads, of processors", f"{settings['threads']}, of {machine['processors_available']}"],
        ["caches", caches or MISSING],
        ["system, Python", f"{machine['system']}, {machine['python']}"],
        ["instruction set of cmlp", str(info.get("isa", MISSING))],
        ["element type", settings["dtype"]],
        ["libraries", ", ".join(f"{k} {v}" for k, v in results["libraries"].items())],
    ]
    table.notes = [f"{name} is missing: {why}" for name, why in results["missing"].items()]
    if results["skipped"]:
        table.notes.append(f"not in a quick run: {', '.join(results['skipped'])}")
    if (machine["load_average"] or 0) > 0.5:
        table.notes.append(f"the machine was busy: load {machine['load_average']:.2f} at the start")
    if results["idle"]:
        idle = 100 * max(results["idle"].values())
        table.notes.append(f"a process waiting for its turn used at most {idle:.1f} % of a core")
    return table


def limits_table(results: Json) -> Table:
    """Peak and bandwidth."""
    limits = results["limits"]
    table = Table("Limits of the machine", ["threads", "FMA peak, GFLOP/s", "copy, GB/s"])
    table.rows = [
        [n, number(limits["fma_gflops"][n]), number(limits["copy_gbs"][n])]
        for n in limits["fma_gflops"]
    ]
    return table


def variants_of(measured: Sequence[Json]) -> list[str]:
    """Names of the variants that occur, in order."""
    return list(dict.fromkeys(row["variant"] for item in measured for row in item["rows"]))


def seconds_by_variant(item: Json) -> dict[str, float]:
    """Variant -> seconds, of those that were timed."""
    return {row["variant"]: row["seconds"] for row in item["rows"] if "seconds" in row}


def problems(measured: Sequence[Json], label: Callable[[Json], str]) -> list[str]:
    """A line for each variant that could not be timed."""
    return [
        f"{label(item)}: {row['variant']}: {row['problem']}"
        for item in measured
        for row in item["rows"]
        if "problem" in row
    ]


def comparison(
    title: str,
    first: Sequence[str],
    measured: Sequence[Json],
    cells: Callable[[Json], list[str]],
    unit: str = "microseconds",
) -> Table:
    """A table with a row for each comparison and a column for each variant."""
    per_second = {"microseconds": 1e6, "milliseconds": 1e3}[unit]
    variants = variants_of(measured)
    header = [*first, *variants, "best peer", "times faster"]
    table = Table(f"{title}, {unit}", header, keys=len(first))
    for item in measured:
        seconds = seconds_by_variant(item)
        columns = [number(seconds.get(v), per_second) for v in variants]
        ends = [item["best_peer"] or MISSING, times(item["times_faster"])]
        table.rows.append([*cells(item), *columns, *ends])
    table.notes = problems(measured, lambda item: " ".join(cells(item)))
    return table


def summary_table(results: Json) -> Table:
    """Training steps of cmlp against the fastest peer, for the README."""
    header = ["net", "batch", "cmlp fit, us", "cmlp train_step, us", "GFLOP/s", "share of the peak"]
    header += ["best peer", "us", "ratio"]
    table = Table("Training step against the best peer", header, keys=2)
    for item in results["train"]:
        seconds = seconds_by_variant(item)
        fit: Json = next((row for row in item["rows"] if row["variant"] == "cmlp fit"), {})
        table.rows.append(
            [
                item["title"],
                str(item["batch"]),
                number(seconds.get("cmlp fit"), 1e6),
                number(seconds.get("cmlp train_step"), 1e6),
                number(fit.get("gflops")),
                percent(fit.get("share")),
                item["best_peer"] or MISSING,
                number(seconds.get(item["best_peer"]), 1e6),
                times(item["times_faster"]),
            ]
        )
    return table


def train_table(results: Json) -> Table:
    """Training steps in microseconds."""
    measured = results["train"]
    return comparison(
        "Training step", ["net", "batch"], measured, lambda i: [i["title"], str(i["batch"])]
    )


def share_table(results: Json) -> Table:
    """Training steps against the peak of the machine."""
    measured = results["train"]
    variants = variants_of(measured)
    header = ["net", "batch", "peak", *variants]
    table = Table("Training step, GFLOP/s and share of the FMA peak", header, keys=2)
    for item in measured:
        rows = {row["variant"]: row for row in item["rows"] if "seconds" in row}
        cells = [
            f"{number(rows[v]['gflops'])} ({percent(rows[v]['share'])})" if v in rows else MISSING
            for v in variants
        ]
        table.rows.append([item["title"], str(item["batch"]), number(item["peak_gflops"]), *cells])
    table.notes = [
        "FLOP of a step: 2 b (3 P - P_first), with P weights of which P_first in the first layer"
    ]
    return table


def inference_table(results: Json) -> Table:
    """Inference in microseconds."""
    measured = results["inference"]
    return comparison(
        "Inference", ["net", "rows"], measured, lambda i: [i["title"], str(i["batch"])]
    )


def kernels_table(results: Json) -> Table:
    """Kernels in microseconds."""

    def cells(item: Json) -> list[str]:
        return [item["op"], item["activation"], " x ".join(map(str, item["shape"]))]

    return comparison("Kernels", ["operation", "activation", "shape"], results["kernels"], cells)


def threads_table(results: Json) -> Table:
    """Steps by number of threads, in microseconds."""
    measured = results["threads"]
    counts = list(measured[0]["seconds"])
    header = ["width", "batch", *counts, "default / best", "8 / all"]
    table = Table(
        "Training step of a net of two square layers by threads, microseconds", header, keys=2
    )
    for item in measured:
        columns = [number(item["seconds"][n], 1e6) for n in counts]
        ends = [times(item["default_over_best"]), times(item["eight_over_all"])]
        table.rows.append([str(item["width"]), str(item["batch"]), *columns, *ends])
        table.notes += [f"{item['width']} at {item['batch']}: {p}" for p in item["problems"]]
    return table


def mixed_table(results: Json) -> Table:
    """Steps and NumPy's products, alone and by turns, in microseconds."""
    sides = ("cmlp", "numpy")
    header = ["net, batch", "product"]
    header += [f"{side} {what}" for side in sides for what in ("alone", "by turns", "ratio")]
    table = Table("Training steps and NumPy's products by turns, microseconds", header, keys=2)
    for item in results["mixed"]:
        cells = [f"{item['width']} wide, {item['batch']}", f"{item['size']} square"]
        for side in sides:
            found = item[side]
            cells += [number(found["alone"], 1e6), number(found["by_turns"], 1e6)]
            cells.append(times(found["ratio"]))
        table.rows.append(cells)
    return table


def end_to_end_tables(results: Json) -> list[Table]:
    """Epoch, small sets, import, size, memory."""
    end = results["end_to_end"]
    epoch = end["epoch"]
    title = f"Epoch of 784-512-512-10, batch 128, {epoch['rows_of_data']:,} rows"
    made = [comparison(title, ["data"], [epoch], lambda i: [i["data"]], "milliseconds")]
    if any(item["rows"] for item in end["small_sets"]):
        title = "fit of an MLPClassifier with default settings, a step"
        sets = end["small_sets"]
        made.append(comparison(title, ["set"], sets, lambda i: [i["set"]]))
    table = Table("Import, beyond NumPy's own", ["module", "milliseconds"])
    table.rows = [[name, number(s, 1e3)] for name, s in end["imports"].items()]
    made.append(table)
    table = Table("Installed size, without what it depends on", ["package", "MB"])
    table.rows = [[name, number(size, 1e-6)] for name, size in end["installed"].items()]
    made.append(table)
    if not end["memory"]:
        return made
    table = Table("Memory of a fresh process", ["library", "imported, MB", "peak of training, MB"])
    for item in end["memory"]:
        sizes = [number(item.get(key), 1e-6) for key in ("imported", "peak")]
        table.rows.append([item["variant"], *sizes])
    made.append(table)
    return made


def against_tables(results: Json) -> list[Table]:
    """Two versions of cmlp, section by section, and what became slower."""
    found = results["against"]
    made = []
    for section in dict.fromkeys(row["section"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["section"] == section]
        keys = [key for key in AGAINST_KEYS if key in rows[0]]
        if len({row["variant"] for row in rows}) == 1:
            keys.remove("variant")
        header = [*keys, "old, us", "new, us", "ratio", "95 % of it", "of bests"]
        table = Table(f"New against old: {section}", header, keys=len(keys))
        table.rows = [[*key_cells(row, keys), *ratio_cells(row)] for row in rows]
        made.append(table)
    made[-1].notes = against_notes(found)
    return made


AGAINST_KEYS = ("net", "rows", "op", "activation", "shape", "variant")


def key_cells(row: Json, keys: Sequence[str]) -> list[str]:
    """What a row is about."""
    shape = " x ".join(map(str, row.get("shape", ())))
    named = {**row, "shape": shape, "variant": row["variant"].removeprefix("cmlp ")}
    return [str(named[key]) for key in keys]


def ratio_cells(row: Json) -> list[str]:
    """Both times, their ratio, between what its median lies, the ratio of the best times."""
    if "problem" in row:
        return [MISSING] * 5
    low, high = row["interval"]
    return [
        number(row["old"], 1e6),
        number(row["new"], 1e6),
        f"{'! ' if row['slower'] else ''}{row['ratio']:.3f}",
        f"{low:.2f}-{high:.2f}",
        f"{row['ratio_of_bests']:.3f}",
    ]


def against_notes(found: Json) -> list[str]:
    """The whole in a few lines."""
    failed = [row for row in found["rows"] if "problem" in row]
    timed = [row for row in found["rows"] if "problem" not in row]
    lost = sum(row["slower"] for row in timed)
    won = sum(row["ratio"] < 1 / LIMIT for row in timed)
    same = sum(row["same_bits"] for row in timed)
    return [
        f"old: {found['python']}",
        "ratio: new over old, the median of all rounds, with its 95 % interval, and the ratio of"
        " the best times",
        f"of {len(timed)} rows {lost} slower by more than {100 * (LIMIT - 1):.0f} % (marked !),"
        f" {won} faster by more than that; {same} with the same bits as result",
        *(
            f"not timed: {' '.join(key_cells(row, [k for k in AGAINST_KEYS if k in row]))}:"
            f" {row['problem']}"
            for row in failed
        ),
    ]


def markdown(made: Sequence[Table]) -> str:
    """The tables in Markdown."""
    parts = []
    for table in made:
        lines = [
            f"### {table.title}\n",
            "| " + " | ".join(table.header) + " |",
            "|---" + "|---:" * (len(table.header) - 1) + "|",
            *("| " + " | ".join(row) + " |" for row in table.rows),
        ]
        lines += ["", *(f"- {note}" for note in table.notes)] if table.notes else []
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def plain(table: Table, width: int = 80) -> str:
    """A table in aligned text.

    One that is wider than `width` characters becomes several, one below the other, each with the
    key columns, which are never broken.
    """
    parts = [block(table, columns, width) for columns in blocks(table, width)]
    parts[0] = f"{table.title}\n{'=' * len(table.title)}\n{parts[0]}"
    notes = [
        textwrap.fill(note, width, initial_indent=GAP, subsequent_indent=2 * GAP)
        for note in table.notes
    ]
    return "\n".join(["\n\n".join(parts), *notes])


def column_width(table: Table, column: int) -> int:
    """Of the longest cell, or the longest word of the name, which may take several lines."""
    return max(map(len, [*table.header[column].split(), *(row[column] for row in table.rows)]))


def blocks(table: Table, width: int) -> list[list[int]]:
    """The columns shown side by side: the keys, then as many others as fit, at least one."""
    keys = list(range(table.keys))
    found: list[list[int]] = []
    for column in range(table.keys, len(table.header)):
        wanted = [*(found[-1] if found else keys), column]
        room = sum(column_width(table, c) for c in wanted) + len(GAP) * (len(wanted) - 1)
        if found and room <= width:
            found[-1].append(column)
        else:
            found.append([*keys, column])
    return found or [keys]


def block(table: Table, columns: list[int], width: int) -> str:
    """Some columns, names first; if even these are too wide, the last one's cells are broken."""
    widths = [column_width(table, column) for column in columns]
    rest = width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
    if len(columns) > table.keys:
        widths[-1] = min(widths[-1], max(rest, width // 4))

    def broken(row: list[str]) -> list[list[str]]:
        return [
            textwrap.wrap(row[column], w, break_on_hyphens=False)
            for column, w in zip(columns, widths, strict=True)
        ]

    names = broken(table.header)
    height = max(map(len, names))
    names = [[""] * (height - len(name)) + name for name in names]
    left = [is_text(table, column) for column in columns]
    rows = [names, *map(broken, table.rows)]
    return "\n".join(line for cells in rows for line in aligned(cells, widths, left))


def is_text(table: Table, column: int) -> bool:
    """Whether the column is aligned to the left: the first, and one that has words."""
    return column == 0 or any(row[column][:1].isalpha() for row in table.rows)


def aligned(cells: list[list[str]], widths: list[int], left: list[bool]) -> list[str]:
    """The lines of a row, whose cells have one or several lines each."""
    return [
        GAP.join(
            part.ljust(width) if to_left else part.rjust(width)
            for part, width, to_left in zip(parts, widths, left, strict=True)
        ).rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]


def show(made: Sequence[Table]) -> None:
    """Print the tables in the width of the terminal, or in 80 columns."""
    width = shutil.get_terminal_size().columns
    print("\n\n".join(plain(table, width) for table in made))


def write_markdown(path: Path, made: Sequence[Table]) -> None:
    """Write the tables to a file."""
    path.write_text(markdown(made), encoding="utf-8")
