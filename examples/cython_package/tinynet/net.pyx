"""A net with one hidden layer, by cmlp's C interface."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cmlp cimport *

import numpy as np


cdef int check(cmlp_status status) except -1:
    if status != CMLP_OK:
        raise RuntimeError(f"cmlp: status {<int>status}")
    return 0


cdef class Net:
    """A dense layer with tanh and one without, trained by Adam on the squared error.

    x is (n, n_in), t is (n, n_out), both float32 and C-contiguous.
    """

    cdef cmlp_layer *layers[2]
    cdef cmlp_optimizer *optimizer
    cdef cmlp_plan *plan
    cdef size_t n_in, n_out

    def __cinit__(self, size_t n_in, size_t n_hidden, size_t n_out, uint64_t seed=0):
        rng = np.random.default_rng(seed)
        self.n_in, self.n_out = n_in, n_out
        self.layers[0] = new_layer(n_in, n_hidden, CMLP_TANH, rng)
        self.layers[1] = new_layer(n_hidden, n_out, CMLP_IDENTITY, rng)

        # What is not named must be 0.
        cdef cmlp_optimizer_spec rule
        memset(&rule, 0, sizeof(rule))
        rule.kind, rule.beta1, rule.beta2, rule.eps = CMLP_ADAM, 0.9, 0.999, 1e-8
        check(cmlp_optimizer_new(&rule, self.layers, 2, &self.optimizer))
        cdef cmlp_plan_spec spec
        memset(&spec, 0, sizeof(spec))
        spec.loss, spec.batch, spec.n_threads, spec.seed = CMLP_SQUARED_ERROR, 32, 1, seed
        check(cmlp_plan_new(&spec, self.layers, 2, self.optimizer, &self.plan))

    def __dealloc__(self):
        cmlp_plan_free(self.plan)
        cmlp_optimizer_free(self.optimizer)
        cmlp_layer_free(self.layers[0])
        cmlp_layer_free(self.layers[1])

    def fit(self, const float[:, ::1] x, const float[:, ::1] t, uint64_t epochs, double lr=0.01):
        """Train, and return the mean loss of each epoch."""
        if x.shape[0] != t.shape[0] or t.shape[1] != self.n_out:
            raise ValueError("t: the shape does not go with x and the net")
        self.check_x(x)
        cdef double[::1] losses = np.empty(epochs + 1)
        cdef cmlp_data data
        memset(&data, 0, sizeof(data))
        data.x, data.t, data.n = &x[0, 0], &t[0, 0], x.shape[0]
        cdef cmlp_run run
        memset(&run, 0, sizeof(run))
        run.epochs, run.shuffle, run.lr, run.n_lr, run.losses = epochs, 1, &lr, 1, &losses[0]
        cdef cmlp_status status
        with nogil:
            status = cmlp_fit(self.plan, &data, &run)
        check(status)
        return np.asarray(losses)[:epochs]

    def predict(self, const float[:, ::1] x):
        """The outputs, (n, n_out)."""
        self.check_x(x)
        cdef float[:, ::1] y = np.empty((x.shape[0], self.n_out), np.float32)
        cdef cmlp_status status
        with nogil:
            status = cmlp_predict(self.plan, x.shape[0], &x[0, 0], 0, &y[0, 0])
        check(status)
        return np.asarray(y)

    cdef int check_x(self, const float[:, ::1] x) except -1:
        if x.shape[0] == 0 or x.shape[1] != self.n_in:
            raise ValueError("x: the shape does not go with the net")
        return 0


cdef cmlp_layer *new_layer(size_t n_in, size_t n_out, cmlp_activation activation, rng) except NULL:
    """A dense layer with weights even over -1 to 1."""
    cdef cmlp_layer_spec spec
    memset(&spec, 0, sizeof(spec))
    spec.kind, spec.n_in, spec.n_out, spec.activation, spec.bias = CMLP_DENSE, n_in, n_out, activation, 1
    cdef float[:, ::1] w = rng.uniform(-1, 1, (n_out, n_in)).astype(np.float32)
    cdef cmlp_layer *layer
    check(cmlp_layer_new(CMLP_F32, &spec, &layer))
    cmlp_layer_set(layer, CMLP_WEIGHT, &w[0, 0])
    return layer
