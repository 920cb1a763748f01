"""Several runs from different starts."""

import signal

import numpy as np
import pytest
from trainer_parts import X, Y, build, ctrl_c_after

import cmlp


class TestBestOf:
    def build(self, seed):
        return cmlp.Trainer(build(seed=seed), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.05))

    def test_keeps_the_best(self, points):
        found = cmlp.best_of(self.build, points, n_runs=4, validation=points, epochs=3)
        alone = []
        for seed in range(4):
            trainer = self.build(seed)
            trainer.fit(*points, epochs=3)
            alone.append(trainer.evaluate(*points)["loss"])
        assert found.losses == alone
        assert found.seeds == [0, 1, 2, 3]
        assert found.best is found.trainers[int(np.argmin(alone))]
        assert found.net is found.best.net
        assert len(found.history) == 3

    def test_callbacks_are_made_for_each_run(self, points):
        found = cmlp.best_of(
            self.build, points, seeds=[7, 9], validation=points, epochs=4,
            callbacks=lambda: [cmlp.EarlyStopping(1, min_delta=9.0)],
        )  # fmt: skip
        assert [len(trainer.history) for trainer in found.trainers] == [2, 2]

    def test_diverged_runs_count_as_infinite(self, rng):
        x = rng.normal(size=(64, 4))

        def make(seed):
            net = cmlp.Sequential(cmlp.Dense(4, 1), dtype="float64", seed=seed)
            return cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e3 if seed else 1e-3))

        found = cmlp.best_of(make, (x, x[:, :1]), n_runs=2, epochs=200)
        assert found.losses[1] == float("inf")
        assert found.best is found.trainers[0]
        with pytest.raises(cmlp.DivergenceError, match="all 1 runs"):
            cmlp.best_of(make, (x, x[:, :1]), seeds=[1], epochs=200)

    @pytest.mark.parametrize("restarts_calls", [False, True])
    def test_ctrl_c_ends_all_runs(self, restarts_calls, points):
        # the handlers of polars and asyncio let system calls go on
        signal.siginterrupt(signal.SIGINT, not restarts_calls)
        timer = ctrl_c_after(0.2)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                cmlp.best_of(self.build, points, n_runs=4, epochs=10**8)
        finally:
            timer.cancel()
            signal.siginterrupt(signal.SIGINT, True)

    def test_trainers_get_their_threads_back(self, points):
        found = cmlp.best_of(self.build, points, n_runs=2, epochs=1)
        assert [trainer.n_threads for trainer in found.trainers] == [None, None]

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"callbacks": [cmlp.EarlyStopping()]}, TypeError, "expected a function that makes"),
            ({"build": 3}, TypeError, "build is 3"),
            ({"build": lambda seed: seed}, TypeError, "build gave 0"),
            ({"data": X}, TypeError, "data is ndarray"),
            ({"n_runs": 0}, ValueError, "n_runs is 0"),
            ({"seeds": []}, ValueError, "seeds is empty"),
            ({"seeds": ["a"]}, TypeError, "seeds is 'a'"),
        ],
    )
    def test_errors(self, arguments, error, words):
        with pytest.raises(error, match=words):
            cmlp.best_of(**{"build": self.build, "data": (X, Y), **arguments})
