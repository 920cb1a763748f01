# Plans: training, prediction, and passes for the caller's own loss.

cdef int poll_signals(void *ctx) noexcept nogil:
    """Lets Python handle signals; 1 leaves the exception to the call that released the GIL."""
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<list>ctx).append(error)
            return 1
    return 0


@cython.final
cdef class Cursor:
    cdef public uint64_t epoch, step_in_epoch, step_count
    cdef public double loss_sum
    cdef object keeper  # the plan that keeps the good parameters, or they themselves

    def __init__(self, epoch=0, step_in_epoch=0, loss_sum=0.0, step_count=0, good=None):
        self.epoch, self.step_in_epoch, self.step_count = epoch, step_in_epoch, step_count
        self.loss_sum, self.keeper = loss_sum, good

    @property
    def good(self):
        return (<Plan>self.keeper).get_good() if isinstance(self.keeper, Plan) else self.keeper

    @good.setter
    def good(self, value):
        self.keeper = value

    def __reduce__(self):
        return Cursor, (self.epoch, self.step_in_epoch, self.loss_sum, self.step_count, self.good)

    def __repr__(self):
        return (f"Cursor(epoch={self.epoch}, step_in_epoch={self.step_in_epoch}, loss_sum={self.loss_sum}, "
                f"step_count={self.step_count})")

    cdef void enter(self, cmlp_cursor *at) noexcept:
        at.epoch, at.step = self.epoch, self.step_in_epoch
        at.loss_sum = self.loss_sum

    cdef void leave(self, const cmlp_cursor *at, uint64_t steps_per_epoch) noexcept:
        self.step_count += (at.epoch - self.epoch) * steps_per_epoch + at.step - self.step_in_epoch
        self.epoch, self.step_in_epoch = at.epoch, at.step
        self.loss_sum = at.loss_sum


cdef cmlp_view_spec view_of(dict options) except *:
    cdef cmlp_view_spec spec
    spec.image.channels, spec.image.height, spec.image.width = options["image"]
    spec.height, spec.width, spec.shift = options["height"], options["width"], options["shift"]
    spec.rotate, spec.fill = options["rotate"], options["fill"]
    spec.elastic, spec.smoothness = options["elastic"], options["smoothness"]
    return spec


def views(cnp.ndarray x, uint64_t seed, uint64_t step, **options):
    cdef cmlp_view_spec spec = view_of(options)
    cdef int typenum = cnp.PyArray_TYPE(x)
    cdef void *px = data_of(x, "x", typenum, 2, -1, spec.image.channels * spec.image.height * spec.image.width)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0)
    cdef cmlp_dtype dtype = CMLP_F32 if typenum == cnp.NPY_FLOAT32 else CMLP_F64
    cdef cnp.ndarray y = new_array(typenum, n, spec.image.channels * spec.height * spec.width)
    cdef void *py = cnp.PyArray_DATA(y)
    cdef cmlp_status status
    with nogil:
        status = cmlp_views(dtype, &spec, n, px, seed, step, 0, py)
    check(status)
    return y


@cython.final
@cython.auto_pickle(False)
cdef class Pause:
    cdef int waiting

    def __enter__(self):
        self.waiting += 1  # under the GIL; fit reads it without
        return self

    def __exit__(self, *error):
        self.waiting -= 1

    @property
    def is_asked(self):
        return self.waiting > 0


cdef double loss_param(loss) except *:
    """The setting of a loss (name, param or None) as a plan takes it."""
    name, param = loss
    cdef double value = cmlp_loss_default(loss_id(name)) if param is None else param
    return 0.0 if value == CMLP_NO_PARAM else value


cdef int fill_data(cmlp_data *data, x, y, sample_weight, int typenum, Py_ssize_t n_in, Py_ssize_t n_out,
                   bint takes_labels) except -1:
    """Pointers to checked arrays; nothing is copied."""
    data.x = data_of(x, "x", typenum, 2, -1, n_in)
    cdef Py_ssize_t n = cnp.PyArray_DIM(<cnp.ndarray>x, 0), i
    cdef const int64_t *labels
    data.n = n
    data.labels, data.t, data.weight, data.rows = NULL, NULL, NULL, NULL
    if n == 0:
        raise ValueError("x is empty; expected one row or more")
    if takes_labels and isinstance(y, cnp.ndarray) and cnp.PyArray_NDIM(<cnp.ndarray>y) == 1:
        labels = <const int64_t *>data_of(y, "y", cnp.NPY_INT64, 1, n, -1)
        for i in range(n):
            if labels[i] < 0 or labels[i] >= n_out:
                raise ValueError(f"y has label {labels[i]} in row {i}; expected 0 to {n_out - 1}")
        data.labels = labels
    else:
        data.t = data_of(y, "y", typenum, 2, n, n_out)
    if sample_weight is not None:
        data.weight = data_of(sample_weight, "sample_weight", typenum, 1, n, -1)
    return 0


@cython.final
cdef class Plan:
    cdef cmlp_plan *ptr
    cdef LayerList of
    cdef readonly State state
    cdef public Cursor cursor
    cdef readonly Py_ssize_t batch_size
    cdef Py_ssize_t n_in, n_out, sample, rows_at_once
    cdef cmlp_dtype dtype
    cdef int typenum
    cdef bint takes_labels
    cdef bint has_loss
    cdef Py_ssize_t forward_rows
    cdef bytes trained
    cdef public bint keep_norms
    cdef readonly object last_norms

    def __cinit__(self, layers, batch_size, loss=None, State state=None, n_threads=None, seed=0,
                  Py_ssize_t first_layer=0):
        cdef cmlp_plan_spec spec
        self.of, self.state, self.cursor = LayerList(layers), state, Cursor()
        self.batch_size = spec.batch = whole("batch_size", batch_size, 2**40)
        spec.n_threads = thread_count(n_threads)
        spec.seed, spec.first_layer = seed & 0xFFFFFFFFFFFFFFFF, first_layer
        spec.loss, spec.loss_param = -1, 0.0
        self.has_loss = loss is not None
        if loss is not None:
            spec.loss, spec.loss_param = loss_id(loss[0]), loss_param(loss)
            self.takes_labels = spec.loss == CMLP_SOFTMAX_CROSS_ENTROPY
        self.check_chain(loss)
        self.trained = bytes([layer.trainable for layer in self.of.layers])
        check(cmlp_plan_new(&spec, self.of.ptr, self.of.n, NULL if state is None else state.ptr, &self.ptr))
        self.n_in, self.n_out = self.layers[0].n_in, self.layers[len(self.layers) - 1].n_out
        self.sample = self.n_in
        self.dtype = (<Layer>self.layers[0]).type
        self.typenum = typenum_of(self.dtype)
        # Some 50 milliseconds of prediction: so long may a signal wait.
        weights = sum([layer.n_in * layer.n_out for layer in self.layers])
        self.rows_at_once = max(1, int(2.5e9 / weights) // 96) * 96

    def __dealloc__(self):
        cmlp_plan_free(self.ptr)

    cdef int check_chain(self, loss) except -1:
        if self.state is not None:
            if loss is None:
                raise ValueError("loss is None; expected one, as the plan has an optimizer")
            if len(self.state.layers) != len(self.layers) or any(
                    [a is not b for a, b in zip(self.state.layers, self.layers)]):
                raise ValueError("state is of other layers; expected those of the plan")
        for a, b in zip(self.layers, self.layers[1:]):
            if a.n_out != b.n_in:
                raise ValueError(f"layers has one of {a.n_out} outputs before one of {b.n_in} inputs")
        if loss is None:
            return 0
        for layer in self.layers:
            if layer.activation == "step":
                raise ValueError("layers has a step, which has no slope; expected layers that can be trained")
        last = self.layers[len(self.layers) - 1]
        if last.kind in ("dense", "activation") and pair_mode(last.activation, loss[0]) == "refused":
            raise ValueError(f"loss is {loss[0]}, which does not go with {last.activation} outputs; give the last layer "
                             "no activation, or the one that belongs to the loss")
        return 0

    @property
    def layers(self):
        return self.of.layers

    @property
    def n_threads(self):
        return cmlp_plan_threads(self.ptr)

    @property
    def n_bytes(self):
        return cmlp_plan_bytes(self.ptr)

    def augment(self, **options):
        cdef cmlp_view_spec spec = view_of(options)
        check(cmlp_plan_augment(self.ptr, &spec))
        self.sample = spec.image.channels * spec.image.height * spec.image.width

    cdef int fill_data(self, cmlp_data *data, x, y, sample_weight) except -1:
        return fill_data(data, x, y, sample_weight, self.typenum, self.sample, self.n_out, self.takes_labels)

    cdef get_good(self):
        """The parameters that divergence goes back to, as a flat vector; None if there are none."""
        if not cmlp_plan_get_good(self.ptr, NULL):
            return None
        cdef cnp.ndarray good = new_array(self.typenum, sum([layer.n_parameters for layer in self.layers]))
        cmlp_plan_get_good(self.ptr, cnp.PyArray_DATA(good))
        return good

    cdef int take_good(self) except -1:
        """Keep what the cursor says is kept."""
        if self.cursor.keeper is self:
            return 0
        good = self.cursor.good
        total = sum([layer.n_parameters for layer in self.layers])
        check(cmlp_plan_set_good(
            self.ptr, NULL if good is None else data_of(good, "good", self.typenum, 1, total, -1)))
        return 0

    cdef int check_ready(self) except -1:
        """Refuse to change layers that another thread holds, or whose training has been switched on or off."""
        cdef const unsigned char *trained = self.trained
        for i in range(self.of.n):
            if cmlp_layer_trainable(self.of.ptr[i]) != trained[i]:
                raise ValueError(f"layers[{i}].trainable has changed since the plan was made")
        return check_not_held(self.of.layers)

    def fit(self, x, y, sample_weight, epochs, bint shuffle, lr, momentum=None, max_steps=None,
            order=None, window=None, Pause pause=None):
        cdef cmlp_data data
        cdef cmlp_run run
        cdef cmlp_status status
        if self.state is None:
            raise ValueError("state is None; expected one to fit with")
        epochs = whole("epochs", epochs, 2**40)
        if max_steps is not None:
            max_steps = whole("max_steps", max_steps, 2**60)
        self.fill_data(&data, x, y, sample_weight)
        cdef Py_ssize_t n_rows = data.n
        run.first, run.epoch_rows = (0, 0) if window is None else window
        if window is not None and order is not None:
            data.n = order.size
        cdef uint64_t n_epoch = data.n if window is None else run.epoch_rows
        cdef uint64_t per_epoch = (n_epoch + self.batch_size - 1) // self.batch_size
        cdef Cursor cursor = self.cursor
        if cursor.step_in_epoch >= per_epoch:
            raise ValueError(f"step_in_epoch is {cursor.step_in_epoch}; expected below {per_epoch}, "
                             "the steps of an epoch of these data")
        cdef uint64_t end = per_epoch
        if window is not None:
            end = (run.first + data.n + self.batch_size - 1) // self.batch_size
            if cursor.step_in_epoch >= end:
                raise ValueError(f"step_in_epoch is {cursor.step_in_epoch}; expected below {end}, the end of the window")
        cdef uint64_t to_do = epochs * end - cursor.step_in_epoch
        if max_steps is not None:
            to_do = min(to_do, max_steps)
        cdef cnp.ndarray rates = step_values("lr", lr, to_do)
        cdef cnp.ndarray momenta = None if momentum is None else step_values("momentum", momentum, to_do)
        cdef cnp.ndarray results = new_array(cnp.NPY_FLOAT64, epochs)
        cdef list errors = []
        run.epochs, run.shuffle, run.order = epochs, shuffle, NULL
        if order is not None:
            run.order = <const int64_t *>data_of(order, "order", cnp.NPY_INT64, 2, epochs, data.n)
            if order.min() < 0 or order.max() >= n_rows:
                raise ValueError(f"order has values {order.min()} to {order.max()}; expected 0 to {n_rows - 1}")
        run.max_steps = 0 if max_steps is None else max_steps
        run.lr, run.n_lr = <double *>cnp.PyArray_DATA(rates), rates.size
        run.momentum, run.n_momentum = NULL, 0
        if momenta is not None:
            run.momentum, run.n_momentum = <double *>cnp.PyArray_DATA(momenta), momenta.size
        run.losses, run.n_losses = <double *>cnp.PyArray_DATA(results), 0
        run.norms = NULL
        if self.keep_norms:
            norms = new_array(cnp.NPY_FLOAT64, epochs)
            run.norms = <double *>cnp.PyArray_DATA(<cnp.ndarray>norms)
        run.poll, run.poll_ctx, run.held = poll_signals, <void *>errors, 0
        run.pause = NULL if pause is None else &pause.waiting
        self.check_ready()
        self.take_good()
        cursor.enter(cmlp_plan_cursor(self.ptr))
        with nogil:
            status = cmlp_fit(self.ptr, &data, &run)
        cursor.leave(cmlp_plan_cursor(self.ptr), per_epoch)
        if cmlp_plan_get_good(self.ptr, NULL):
            cursor.keeper = self
        check(status)
        if errors:
            raise errors[0]
        if self.keep_norms:
            self.last_norms = norms[:run.n_losses]
        outcome = "diverged" if status == CMLP_DIVERGED else "paused" if status == CMLP_PAUSED else "done"
        return results[:run.n_losses], outcome

    cdef double run_step(self, cmlp_data *data, double lr, momentum) except? -1.0:
        """One update, or without an optimizer the gradients alone."""
        cdef cmlp_status status
        cdef double loss = 0.0, gamma = 0.0
        check_rate("lr", lr)
        self.check_ready()
        if data.n > <size_t>self.batch_size:
            raise ValueError(f"x has {data.n} rows; expected {self.batch_size} at most")
        if self.state is None:
            if not self.has_loss:
                raise ValueError("loss is None; expected one for a step")
            with nogil:
                status = cmlp_gradient(self.ptr, data, &loss)
            self.forward_rows = data.n
            self.note_gradients(data.n)
        else:
            gamma = cmlp_optimizer_settings(self.state.ptr).momentum if momentum is None else momentum
            with nogil:
                status = cmlp_step(self.ptr, data, lr, gamma, &loss)
            if status == CMLP_OK:
                self.cursor.step_count += 1
        check(status)
        return loss

    def step(self, x, y, sample_weight, double lr, momentum=None):
        """One update with data whose numbers have been checked."""
        cdef cmlp_data data
        self.fill_data(&data, x, y, sample_weight)
        return self.run_step(&data, lr, momentum)

    def check_and_step(self, x, y, sample_weight, double lr, limits):
        """The same with data as they come; limits: of the targets, None where only labels will do."""
        cdef cmlp_data data
        self.fill_data(&data, x, y, sample_weight)
        if data.n != <size_t>self.batch_size:
            raise ValueError(f"x has {data.n} rows; expected {self.batch_size}")
        self.check_numbers("x", data.x, data.n * self.sample, -INFINITY, INFINITY)
        if data.t != NULL:
            if limits is None:
                raise TypeError("y has rows of targets; expected labels")
            self.check_numbers("y", data.t, data.n * self.n_out, limits[0], limits[1])
        if data.weight != NULL:
            self.check_numbers("sample_weight", data.weight, data.n, 0.0, INFINITY)
            if cmlp_all_within(self.dtype, data.n, data.weight, 0.0, 0.0):
                raise ValueError("sample_weight has values in [0, 0]; expected >= 0, not all 0")
        return self.run_step(&data, lr, None)

    cdef int check_numbers(self, str name, const void *a, size_t n, double low, double high) except -1:
        if not cmlp_all_within(self.dtype, n, a, low, high):
            raise ValueError(f"{name} has other values; expected finite numbers from {low:g} to {high:g}")
        return 0

    def step_one(self, x, y, double lr, limits=None, double weight=1.0):
        cdef cmlp_data data
        cdef int64_t label
        cdef double value
        cdef float narrow, narrow_weight = <float>weight
        data.x = data_of(x, "x", self.typenum, 1, self.sample, -1)
        self.check_numbers("x", data.x, self.sample, -INFINITY, INFINITY)
        data.n, data.labels, data.t, data.weight, data.rows = 1, NULL, NULL, NULL, NULL
        if weight != 1.0:
            data.weight = <void *>&narrow_weight if self.typenum == cnp.NPY_FLOAT32 else <void *>&weight
        if isinstance(y, cnp.ndarray) and cnp.PyArray_NDIM(<cnp.ndarray>y) == 1:
            data.t = data_of(y, "y", self.typenum, 1, self.n_out, -1)
        elif self.takes_labels:
            label = y
            if label < 0 or label >= self.n_out:
                raise ValueError(f"y is {label}; expected a label from 0 to {self.n_out - 1}")
            data.labels = &label
        elif self.n_out == 1:
            value = y
            narrow = <float>value
            data.t = <void *>&narrow if self.typenum == cnp.NPY_FLOAT32 else <void *>&value
        else:
            raise TypeError(f"y is {type(y).__name__}; expected an array of {self.n_out} numbers")
        if data.t != NULL and limits is not None:
            self.check_numbers("y", data.t, self.n_out, limits[0], limits[1])
        return self.run_step(&data, lr, None)

    def predict_one(self, x, out=None, bint logits=False):
        cdef void *px = data_of(x, "x", self.typenum, 1, self.n_in, -1)
        if out is None:
            out = new_array(self.typenum, self.n_out)
        cdef void *py = data_of(out, "out", self.typenum, 1, self.n_out, -1, True)
        check_apart(<cnp.ndarray>out, <cnp.ndarray>x)
        cdef cmlp_status status
        with nogil:
            status = cmlp_predict(self.ptr, 1, px, logits, py)
        check(status)
        return out

    def predict(self, x, out=None, bint logits=False):
        cdef void *px = data_of(x, "x", self.typenum, 2, -1, self.n_in)
        cdef Py_ssize_t n = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
        if out is None:
            out = new_array(self.typenum, n, self.n_out)
        cdef void *py = data_of(out, "out", self.typenum, 2, n, self.n_out, True)
        check_apart(<cnp.ndarray>out, <cnp.ndarray>x)
        if n <= self.rows_at_once:
            self.predict_rows(n, px, logits, py)
            return out
        cdef Py_ssize_t at, rows, size = cnp.PyArray_ITEMSIZE(<cnp.ndarray>x)
        for at in range(0, n, self.rows_at_once):
            rows = min(self.rows_at_once, n - at)
            self.predict_rows(rows, <char *>px + at * self.n_in * size, logits,
                              <char *>py + at * self.n_out * size)
            PyErr_CheckSignals()
        return out

    cdef int predict_rows(self, Py_ssize_t n, const void *x, bint logits, void *y) except -1:
        cdef cmlp_status status
        if n * 2500 < self.rows_at_once:
            # To give Python's lock away and take it back costs more than twenty microseconds of work.
            status = cmlp_predict(self.ptr, n, x, logits, y)
        else:
            with nogil:
                status = cmlp_predict(self.ptr, n, x, logits, y)
        check(status)
        return 0

    def seek(self, uint64_t draw):
        cmlp_plan_seek(self.ptr, draw)

    def forward(self, x, bint training=False):
        if self.state is not None:
            raise RuntimeError("forward of a plan that trains; expected one without an optimizer")
        cdef void *px = data_of(x, "x", self.typenum, 2, -1, self.n_in)
        cdef Py_ssize_t n = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
        if not 0 < n <= self.batch_size:
            raise ValueError(f"x has {n} rows; expected 1 to {self.batch_size}")
        cdef cnp.ndarray y = new_array(self.typenum, n, self.n_out)
        cdef void *py = cnp.PyArray_DATA(y)
        cdef cmlp_status status
        with nogil:
            status = cmlp_forward(self.ptr, n, px, training, py)
        check(status)
        self.forward_rows = n
        return y

    def backward(self, dy, bint need_dx=True):
        if not self.forward_rows:
            raise RuntimeError("backward before forward")
        self.check_ready()
        cdef void *pdy = data_of(dy, "dy", self.typenum, 2, self.forward_rows, self.n_out)
        dx = new_array(self.typenum, self.forward_rows, self.n_in) if need_dx else None
        cdef void *pdx = cnp.PyArray_DATA(<cnp.ndarray>dx) if need_dx else NULL
        cdef cmlp_status status
        with nogil:
            status = cmlp_backward(self.ptr, pdy, pdx)
        check(status)
        self.note_gradients(self.forward_rows)
        return dx

    cdef int note_gradients(self, Py_ssize_t rows) except -1:
        """Let the layers know of how many rows the gradients in them are."""
        for layer in self.of.layers:
            (<Layer>layer).rows = rows
        return 0

    def deltas(self):
        cdef cnp.ndarray norms = new_array(cnp.NPY_FLOAT64, len(self.layers))
        check(cmlp_deltas(self.ptr, <double *>cnp.PyArray_DATA(norms)))
        return norms.tolist()


cdef int check_apart(cnp.ndarray out, cnp.ndarray x) except -1:
    """Both are C-contiguous: they overlap when their byte ranges do."""
    cdef char *a = <char *>cnp.PyArray_DATA(out)
    cdef char *b = <char *>cnp.PyArray_DATA(x)
    if a < b + cnp.PyArray_NBYTES(x) and b < a + cnp.PyArray_NBYTES(out):
        raise ValueError("out overlaps x; expected memory of its own")
    return 0


cdef cnp.ndarray step_values(str name, value, uint64_t steps):
    """One value, or one for each step."""
    a = np.require(value, np.float64, ["C", "A", "E"]).reshape(-1)
    if a.size != 1 and <uint64_t>a.size < steps:
        raise ValueError(f"{name} has {a.size} values; expected 1 or at least {steps}, one for each step")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} has values that are not finite; expected finite numbers")
    return a
