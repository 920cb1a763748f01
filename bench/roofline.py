"""A roofline picture: training steps under the limits of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .rounds import Json
from .train import OURS

MARKS = "osD^v<>PX*"


def draw(results: Json, path: Path) -> bool:
    """Draw GFLOP/s over arithmetic intensity for every net and variant.

    The roof is min(peak, intensity x bandwidth); see "Roofline: an insightful visual performance
    model for multicore architectures", S. Williams et al.  Intensity counts the bytes that a step
    must move if nothing stays cached between steps, so small nets, which do stay in the caches, may
    lie above the slope.

    Returns
    -------
    bool
        Whether it was drawn: it needs training steps and the limits of the machine.
    """
    limits, measured = results.get("limits"), results.get("train")
    roofs = usable_roofs(limits) if limits else []
    if not measured or not roofs:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    intensities = [item["flops"] / item["bytes"] for item in measured]
    low, high = min(intensities) / 3, max(intensities) * 3
    for threads, peak, bandwidth in roofs:
        draw_roof(axes, threads, peak, bandwidth, (low, high))
    draw_points(axes, measured)
    name_nets(axes, measured)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        xlabel="arithmetic intensity of a training step, FLOP/byte",
        ylabel="GFLOP/s",
    )
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8, loc="lower right")
    figure.suptitle("Training steps in {dtype}, {threads} threads".format(**results["settings"]))
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True


def usable_roofs(limits: Json) -> list[tuple[str, float, float]]:
    """(threads, peak in GFLOP/s, bandwidth in GB/s) of each number of threads that has both."""
    return [
        (n, peak, limits["copy_gbs"][n])
        for n, peak in limits["fma_gflops"].items()
        if peak is not None and limits["copy_gbs"][n] is not None
    ]


def draw_roof(
    axes: Any, threads: str, peak: float, bandwidth: float, ends: tuple[float, float]
) -> None:
    """The roof of one number of threads."""
    ridge = peak / bandwidth
    xs = sorted({*ends, min(max(ridge, ends[0]), ends[1])})
    ys = [min(peak, x * bandwidth) for x in xs]
    label = (
        f"{threads} thread{'s' if threads != '1' else ''}: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s"
    )
    axes.plot(xs, ys, color="black", linestyle="-" if threads != "1" else "--", label=label)


def draw_points(axes: Any, measured: list[Json]) -> None:
    """A mark for each variant at each net, ours filled."""
    variants = list(dict.fromkeys(row["variant"] for item in measured for row in item["rows"]))
    for number, variant in enumerate(variants):
        points = [
            (item["flops"] / item["bytes"], row["gflops"])
            for item in measured
            for row in item["rows"]
            if row["variant"] == variant and "gflops" in row
        ]
        if points:
            ours = variant in OURS
            axes.scatter(
                *zip(*points, strict=True),
                marker=MARKS[number % len(MARKS)],
                s=60 if ours else 35,
                facecolors=f"C{number}" if ours else "none",
                edgecolors=f"C{number}",
                label=variant,
                zorder=3 if ours else 2,
            )


def name_nets(axes: Any, measured: list[Json]) -> None:
    """Names above the picture, kept apart where intensities are close."""
    least = 1.22  # ratio of neighbours' places
    place = 0.0
    for item in sorted(measured, key=lambda item: float(item["flops"] / item["bytes"])):
        x = item["flops"] / item["bytes"]
        place = max(x, place * least)
        axes.axvline(x, color="grey", linewidth=0.4, zorder=0)
        axes.annotate(
            f"{item['title']}, b {item['batch']}",
            xy=(x, 1.0),
            xytext=(place, 1.04),
            xycoords=("data", "axes fraction"),
            textcoords=("data", "axes fraction"),
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.4},
            rotation=40,
            fontsize=7,
        )
