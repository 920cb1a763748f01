"""Programs with the library in them: plug-ins that come and go, small stacks, limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from native import PROGRAMS, needs_compiler, program, run, tool

import cmlp

pytestmark = [
    *needs_compiler,
    pytest.mark.skipif(sys.platform != "linux", reason="the programs read /proc"),
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no sources beside the tests"),
]
ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
OPENMP = cmlp.info()["openmp"]
needs_two = pytest.mark.skipif(
    len(ALLOWED) < 2 or cmlp.info()["threads"] < 2, reason="needs two processors"
)
SECONDS = 120  # a program that has not ended by then hangs


# ---- plug-ins ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture(scope="module")
def host(folder):
    target = folder / "host"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    run(tool("cc"), "-std=c11", *warnings, PROGRAMS / "host.c", "-o", target, "-ldl", "-lpthread")
    return target


@pytest.fixture(scope="module")
def plugins(folder):
    """Two files of the same plug-in: two copies of the library where both are loaded."""
    one = program(folder / "one.so", PROGRAMS / "plugin.c", "-shared", "-fPIC")
    return one, shutil.copy(one, folder / "two.so")


def test_a_plugin_is_loaded_and_unloaded_a_hundred_times(host, plugins):
    """No thread outlives it, and the file is really unmapped."""
    run(host, "reload", "100", plugins[0], timeout=SECONDS)


@pytest.mark.parametrize("way", ["reload", "at-once"])
def test_two_copies_in_one_process(way, host, plugins):
    run(host, way, "20", *plugins, timeout=SECONDS)


def test_a_plugin_is_left_loaded_at_exit(host, plugins):
    run(host, "exit", plugins[0], timeout=SECONDS)


# ---- a program of its own ----


@pytest.fixture(scope="module")
def process(folder):
    return program(folder / "process", PROGRAMS / "process.c", "-Wl,--wrap=pthread_create")


@pytest.mark.parametrize("way", ["exit-idle", "exit-busy", "exit-in-poll"])
def test_exit(way, process):
    for _ in range(10):
        run(process, way, timeout=SECONDS)


def test_children_of_children(process):
    """Thirty processes, one of which is the child of the child of the child of the first."""
    run(process, "forks", "4", timeout=SECONDS)


@pytest.mark.parametrize("given", [0, 1, 2, 3])
def test_threads_are_refused(given, process):
    """The work is done by those there are."""
    run(process, "refused", str(given), timeout=SECONDS)


SMALL_STACK = 160 << 10  # bytes


def test_small_stacks(process):
    """Every function, on every instruction set."""
    shown = run(process, "stack", str(SMALL_STACK), timeout=10 * SECONDS)
    assert 2000 < int(shown.split()[0]) < SMALL_STACK


@pytest.mark.parametrize("kilobytes", [SMALL_STACK >> 10, 512, 16384])
def test_stacks_set_by_the_shell(kilobytes, process):
    """`ulimit -s` decides about the default stack of new threads."""
    limits = f"ulimit -s {kilobytes} && exec {process} refused 1000"
    run("bash", "-c", limits, timeout=SECONDS)


# ---- where threads run ----


def threads(process, *before, **env):
    """Default number of threads; processors of the main thread; those of each other thread."""
    lines = run(*before, process, "threads", env=env, timeout=SECONDS).splitlines()
    found = [line.split() for line in lines[1:]]
    main, *workers = [numbers(where) for kind, where in sorted(found, key=lambda f: f[0])]
    return int(lines[0].split()[0]), main, workers


def numbers(text):
    """Processors of a list such as 0-2,5."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def test_no_limits(process):
    default, main, workers = threads(process)
    assert main == ALLOWED
    assert len(workers) < max(2, default)
    assert all(worker == ALLOWED for worker in workers)


@needs_two
def test_affinity(process):
    one = ALLOWED[-1]
    assert threads(process, tool("taskset"), "-c", str(one)) == (1, [one], [])
    two = f"{ALLOWED[0]},{one}"
    assert threads(process, tool("taskset"), "-c", two) == (
        2,
        [ALLOWED[0], one],
        [[ALLOWED[0], one]],
    )


BINDINGS = [
    {"OMP_PROC_BIND": "true"},
    {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"},
    {"OMP_PROC_BIND": "spread", "OMP_PLACES": "threads"},
    {"OMP_PROC_BIND": "spread", "OMP_PLACES": "sockets"},
    {"OMP_PLACES": "{%d},{%d}"},
    {"OMP_PROC_BIND": "false"},
    {"OMP_PROC_BIND": "false", "OMP_PLACES": "cores"},
]


@needs_two
@pytest.mark.parametrize("binding", BINDINGS, ids=str)
def test_bound_by_openmp(binding, process):
    """OpenMP binds the main thread to one place; a team may use all of them, as its own would."""
    two = (ALLOWED[0], ALLOWED[1])
    env = {k: v % two if "%d" in v else v for k, v in binding.items()}
    default, main, workers = threads(process, **env)
    places = list(two) if "%d" in str(binding) else ALLOWED
    assert default == min(len(places), cmlp.info()["threads"])
    assert set(main) <= set(places)
    assert len(workers) == default - 1
    assert all(worker == places for worker in workers)


LIMITS = [
    {"OMP_THREAD_LIMIT": "1"},
    {"OMP_PROC_BIND": "primary"},
    {"OMP_PROC_BIND": "master"},
    {"OMP_PLACES": "{%d}"},
    {"GOMP_CPU_AFFINITY": "%d"},
]


@needs_two
@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_limited_by_openmp_to_one(limit, process):
    env = {k: v % ALLOWED[-1] if "%d" in v else v for k, v in limit.items()}
    default, _, workers = threads(process, **env)
    assert (default, workers) == (1, [])


@needs_two
def test_number_by_openmp(process):
    """OMP_NUM_THREADS is the default; who asks for more gets it, up to the processors."""
    default, _, workers = threads(process, OMP_NUM_THREADS="1")
    assert default == 1
    assert len(workers) == cmlp.info()["threads"] - 1
    assert threads(process, OMP_NUM_THREADS="1000")[0] == cmlp.info()["threads"]


@needs_two
def test_affinity_under_openmp_s_binding(process):
    """Places are those that the process may use."""
    one = str(ALLOWED[0])
    found = threads(process, tool("taskset"), "-c", one, OMP_PROC_BIND="true")
    assert found == (1, [ALLOWED[0]], [])


@needs_two
def test_python_under_openmp_s_binding():
    """Threads that Python starts are born where OpenMP has bound the main thread."""
    code = """
import os, threading, cmlp, numpy as np
def work():
    net = cmlp.Sequential(cmlp.Dense(100, 200), cmlp.Dense(200, 10), seed=0)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1))
    x, y = np.ones((512, 100), "f"), np.zeros(512, int)
    trainer.fit(x, y, epochs=1, batch_size=256, progress=False)
thread = threading.Thread(target=work)
thread.start()
thread.join()
tasks = os.listdir("/proc/self/task")
print(cmlp.info()["threads"], *[len(os.sched_getaffinity(int(t))) for t in tasks])
"""
    shown = run(sys.executable, "-c", code, env={"OMP_PROC_BIND": "true"}, timeout=SECONDS)
    default, *sets = map(int, shown.split())
    assert default == min(len(ALLOWED), cmlp.info()["threads"])
    assert max(sets) == len(ALLOWED)


# ---- the program's own calls ----


REGION = """
#include "job.h"
int main(void)
{
    int failed = 0;
    job j[4];
    uint64_t want = job_run(1);
    cmlp_limit_threads(0);
    for (int i = 0; i < 4; i++)
        failed |= job_new(&j[i], 4);
#pragma omp parallel for num_threads(4) reduction(| : failed)
    for (int i = 0; i < 4; i++) {
        failed |= cmlp_default_threads() != 1;
        failed |= job_train(&j[i], 2, NULL, NULL) != CMLP_OK || job_bits(&j[i]) != want;
    }
    return failed;
}
"""


@pytest.mark.skipif(not OPENMP, reason="no OpenMP")
def test_in_an_openmp_region(folder):
    """The program has its threads already, also for a plan that was made outside."""
    source = folder / "region.c"
    source.write_text(REGION)
    run(program(folder / "region", source, f"-I{PROGRAMS}", "-fopenmp"), timeout=SECONDS)


def test_a_wrong_use_is_noticed(host, plugins):
    """The host's checks themselves: a plug-in that is not there."""
    done = subprocess.run([host, "reload", "1", "/nowhere.so"], capture_output=True, text=True)
    assert done.returncode == 1 and "dlopen" in done.stderr
