# Many nets in one call: jobs that share their data, and prediction of all.

cdef int poll_many(void *ctx, size_t done, double best) noexcept nogil:
    """Lets Python handle signals and hear of the progress; 1 where it wants to stop."""
    with gil:
        told, errors = <tuple>ctx
        try:
            PyErr_CheckSignals()
            return told is not None and bool(told(done, best))
        except BaseException as error:
            (<list>errors).append(error)
            return 1
    return 0


@cython.final
cdef class NetSpec:
    cdef cmlp_net_spec spec
    cdef cmlp_layer_spec *layers
    cdef unsigned char *frozen
    cdef readonly object key
    cdef list tables
    cdef readonly Py_ssize_t n_in, n_out, n_parameters

    def __cinit__(self, layers, batch_size=1, loss=None):
        layers = tuple(layers)
        check_alike(layers)
        cdef size_t n = len(layers)
        cdef Layer layer
        self.layers = <cmlp_layer_spec *>calloc(n, sizeof(cmlp_layer_spec))
        self.frozen = <unsigned char *>calloc(n, 1)
        if self.layers == NULL or self.frozen == NULL:
            raise MemoryError()
        parts, self.tables = [], []
        for i in range(n):
            layer = layers[i]
            self.layers[i], self.frozen[i] = layer.spec, not layer.trainable
            parts.append((layer.kind, layer.n_in, layer.n_out, layer.activation, layer.param, bool(layer.spec.bias),
                          layer.geometry()[:2],
                          None if layer.connections is None else layer.connections.tobytes(), layer.trainable))
            if layer.connections is not None:
                self.tables.append(layer)  # the spec points into it
            self.n_parameters += layer.n_parameters
        self.spec.dtype, self.spec.layers, self.spec.n_layers = (<Layer>layers[0]).type, self.layers, n
        self.spec.frozen = self.frozen
        self.n_in, self.n_out = layers[0].n_in, layers[n - 1].n_out
        self.spec.plan.batch, self.spec.plan.loss = whole("batch_size", batch_size, 2**40), -1
        if loss is not None:
            self.spec.plan.loss, self.spec.plan.loss_param = loss_id(loss[0]), loss_param(loss)
        self.key = (layers[0].dtype, tuple(parts), int(self.spec.plan.batch), loss)

    def __dealloc__(self):
        free(self.layers)
        free(self.frozen)

    @property
    def dtype(self):
        return "float32" if self.spec.dtype == CMLP_F32 else "float64"

    cdef int typenum(self) noexcept:
        return typenum_of(self.spec.dtype)

    cdef int fill(self, cmlp_data *data, given) except -1:
        """(x, y, sample_weight or None, rows or None) checked."""
        x, y, weight, rows = given
        cdef bint takes_labels = self.spec.plan.loss == CMLP_SOFTMAX_CROSS_ENTROPY
        fill_data(data, x, y, weight, self.typenum(), self.n_in, self.n_out, takes_labels)
        if rows is None:
            return 0
        data.rows = <const int64_t *>data_of(rows, "rows", cnp.NPY_INT64, 1, -1, -1)
        cdef Py_ssize_t n = cnp.PyArray_DIM(<cnp.ndarray>rows, 0), i
        if n == 0:
            raise ValueError("rows is empty; expected one row or more")
        for i in range(n):
            if data.rows[i] < 0 or <size_t>data.rows[i] >= data.n:
                raise ValueError(f"rows has {data.rows[i]} in place {i}; expected 0 to {data.n - 1}")
        data.n = n
        return 0


@cython.final
cdef class Job:
    cdef cmlp_job job
    cdef readonly NetSpec net
    cdef object kept, good  # arrays that the job points into
    cdef readonly object losses, scores, values, slots, best_values

    def __cinit__(self, NetSpec net not None, str kind, dict options, seed, values, slots, data, held_out, epochs,
                  bint shuffle, lr, momentum=None, Cursor cursor=None, steps=0, patience=0, double min_delta=0.0,
                  best_values=None, bint in_pieces=False):
        cdef cmlp_job *job = &self.job
        cdef int typenum = net.typenum(), n_slots
        self.net, self.values, self.best_values = net, values, best_values
        job.net, job.optimizer = &net.spec, settings_of(kind, options)
        job.seed = seed & 0xFFFFFFFFFFFFFFFF
        job.values = data_of(values, "values", typenum, 1, net.n_parameters, -1, True)
        self.slots = tuple(slots or ())
        n_slots = cmlp_optimizer_slots(job.optimizer.kind)
        if self.slots and len(self.slots) != n_slots:
            raise ValueError(f"slots has {len(self.slots)} arrays; expected {n_slots}")
        for i, slot in enumerate(self.slots):
            job.slots[i] = data_of(slot, "slots", typenum, 1, net.n_parameters, -1, True)
        net.fill(&job.data, data)
        if held_out is not None:
            net.fill(&job.held_out, held_out)
        self.kept = [data, held_out]
        job.run.shuffle, job.steps = shuffle, steps
        job.patience, job.min_delta = patience, min_delta
        if best_values is not None:
            job.best_values = data_of(best_values, "best_values", typenum, 1, net.n_parameters, -1, True)
        if in_pieces:
            self.good = np.empty_like(values)
            job.good_values = cnp.PyArray_DATA(<cnp.ndarray>self.good)
        job.best = NAN
        if cursor is not None:
            cursor.enter(&job.cursor)
        self.go_on(epochs, lr, momentum)

    def go_on(self, epochs, lr, momentum=None):
        """More epochs from where the job stands, in the next call."""
        cdef cmlp_job *job = &self.job
        epochs = whole("epochs", epochs, 2**40)
        cdef uint64_t per_epoch = self.steps_per_epoch, steps = epochs * per_epoch
        rates = step_values("lr", lr, steps)
        momenta = None if momentum is None else step_values("momentum", momentum, steps)
        self.losses = np.zeros(epochs)
        self.scores = np.full(epochs, np.nan) if job.held_out.n else None
        job.run.epochs = epochs
        job.run.lr, job.run.n_lr = <double *>cnp.PyArray_DATA(<cnp.ndarray>rates), rates.size
        job.run.momentum, job.run.n_momentum = NULL, 0
        if momenta is not None:
            job.run.momentum, job.run.n_momentum = <double *>cnp.PyArray_DATA(<cnp.ndarray>momenta), momenta.size
        job.run.losses = <double *>cnp.PyArray_DATA(<cnp.ndarray>self.losses)
        job.scores = NULL if self.scores is None else <double *>cnp.PyArray_DATA(<cnp.ndarray>self.scores)
        self.kept[2:] = [rates, momenta]

    @property
    def steps_per_epoch(self):
        return (self.job.data.n + self.job.net.plan.batch - 1) // self.job.net.plan.batch

    @property
    def n_epochs(self):
        """Epochs finished in the last call."""
        return self.job.run.n_losses

    @property
    def status(self):
        if self.job.status < 0:
            return "failed"
        return ("done", "paused", "stopped", "diverged")[self.job.status]

    @property
    def steps(self):
        return self.job.steps

    @property
    def best(self):
        return self.job.best

    @property
    def best_epoch(self):
        return self.job.best_epoch

    @property
    def waited(self):
        return self.job.waited

    @property
    def seconds(self):
        return self.job.seconds

    def move(self, Cursor cursor not None):
        """Move a cursor to where the job stands."""
        cursor.leave(&self.job.cursor, self.steps_per_epoch)


def fit_many(jobs, n_threads=None, told=None):
    jobs = list(jobs)
    cdef size_t n = len(jobs), i
    cdef cmlp_many many
    cdef cmlp_status status
    cdef list errors = []
    cdef tuple context = (told, errors)
    if len({id((<Job?>job)) for job in jobs}) != len(jobs):
        raise ValueError("jobs holds the same job twice; expected different ones")
    many.n_threads, many.poll, many.poll_ctx = thread_count(n_threads), poll_many, <void *>context
    cdef cmlp_job *array = <cmlp_job *>calloc(n + 1, sizeof(cmlp_job))
    if array == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            array[i] = (<Job>jobs[i]).job
        with nogil:
            status = cmlp_fit_many(array, n, &many)
        for i in range(n):
            (<Job>jobs[i]).job = array[i]
    finally:
        free(array)
    if errors:
        raise errors[0]
    check(status)
    return status == CMLP_STOPPED


def predict_many(nets, values, x, str activation="identity", n_threads=None, bint keep=True, bint summary=True):
    cdef size_t n = len(nets), i
    if n == 0 or len(values) != n:
        raise ValueError(f"values has {len(values)} nets; expected {n}, one or more")
    cdef NetSpec first = <NetSpec?>nets[0], net
    cdef int typenum = first.typenum(), act = activation_id(activation)
    cdef const void *px = data_of(x, "x", typenum, 2, -1, first.n_in)
    cdef Py_ssize_t rows = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
    cdef cmlp_many many
    cdef cmlp_status status
    cdef list errors = []
    cdef tuple context = (None, errors)
    y = np.empty((n, rows, first.n_out), first.dtype) if keep else None
    mean = np.empty((rows, first.n_out), first.dtype) if summary else None
    deviation = np.empty((rows, first.n_out), first.dtype) if summary else None
    cdef void *py = NULL if y is None else cnp.PyArray_DATA(<cnp.ndarray>y)
    cdef void *pmean = NULL if mean is None else cnp.PyArray_DATA(<cnp.ndarray>mean)
    cdef void *pdeviation = NULL if deviation is None else cnp.PyArray_DATA(<cnp.ndarray>deviation)
    many.n_threads, many.poll, many.poll_ctx = thread_count(n_threads), poll_many, <void *>context
    cdef const cmlp_net_spec **specs = <const cmlp_net_spec **>calloc(n, sizeof(void *))
    cdef const void **pointers = <const void **>calloc(n, sizeof(void *))
    try:
        if specs == NULL or pointers == NULL:
            raise MemoryError()
        for i in range(n):
            net = <NetSpec?>nets[i]
            specs[i] = &net.spec
            pointers[i] = data_of(values[i], "values", net.typenum(), 1, net.n_parameters, -1)
        with nogil:
            status = cmlp_predict_many(specs, pointers, n, rows, px, act, &many, py, pmean, pdeviation)
    finally:
        free(specs)
        free(pointers)
    if errors:
        raise errors[0]
    check(status)
    return y, mean, deviation
