# The kernels on plain arrays.

cdef plain(str name, a):
    """An array-like as an array; masked entries and None are refused."""
    if type(a) is np.ndarray:
        return a
    if a is None or (isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a)):
        got = "None" if a is None else "a masked array with masked entries"
        raise ValueError(f"{name} is {got}; expected numbers")
    return np.asarray(a)


cdef tuple as_floats(tuple named, tuple optional=()):
    """Aligned C-contiguous arrays of one type: float32 if there is float32 or float16 and nothing wider, else float64."""
    cdef bint narrow = False, wide = False
    cdef int typenum
    cdef cnp.ndarray a
    arrays = []
    for name, value in named:
        if value is None and name in optional:
            arrays.append(None)
            continue
        a = plain(name, value)
        typenum = cnp.PyArray_TYPE(a)
        if cnp.PyTypeNum_ISFLOAT(typenum):
            narrow, wide = narrow or cnp.PyArray_ITEMSIZE(a) < 8, wide or cnp.PyArray_ITEMSIZE(a) >= 8
        elif not cnp.PyTypeNum_ISINTEGER(typenum) and not cnp.PyTypeNum_ISBOOL(typenum):
            raise TypeError(f"{name} has dtype {a.dtype}; expected numbers")
        arrays.append(a)
    typenum = cnp.NPY_FLOAT32 if narrow and not wide else cnp.NPY_FLOAT64
    return tuple([None if a is None else as_type(a, typenum) for a in arrays])


cdef object as_type(a, int typenum):
    """The array itself where it is aligned, C-contiguous and of this type already."""
    return cnp.PyArray_FROM_OTF(a, typenum, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)


cdef int thread_count(n_threads) except -1:
    return 0 if n_threads is None else whole("n_threads", n_threads, 2**16)


cdef cmlp_shape shape_of(cnp.ndarray a, Py_ssize_t batch, Py_ssize_t n_in, Py_ssize_t n_out, n_threads) except *:
    cdef cmlp_shape shape
    if batch < 1 or n_in < 1 or n_out < 1:
        name, n = ("batch", batch) if batch < 1 else ("n_in", n_in) if n_in < 1 else ("n_out", n_out)
        raise ValueError(f"{name} is {n}; expected 1 or more")
    shape.dtype = CMLP_F32 if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT32 else CMLP_F64
    shape.batch, shape.n_in, shape.n_out = batch, n_in, n_out
    shape.n_threads = thread_count(n_threads)
    return shape


cdef inline Py_ssize_t dim(a, int i):
    return cnp.PyArray_DIM(<cnp.ndarray>a, i)


cdef int expect(cnp.ndarray a, str name, Py_ssize_t rows, Py_ssize_t columns=-1) except -1:
    """One dimension without columns, else two."""
    cdef int ndim = 1 if columns < 0 else 2
    if a.ndim != ndim or dim(a, 0) != rows or (ndim == 2 and dim(a, 1) != columns):
        wanted = (rows, columns)[:ndim]
        raise ValueError(f"{name} has shape {shape_text(a)}; expected {wanted}")
    return 0


cdef int expect_2d(cnp.ndarray a, str name) except -1:
    if a.ndim != 2:
        raise ValueError(f"{name} has {a.ndim} dimensions; expected 2")
    return 0


cdef int expect_alike(cnp.ndarray a, str name, cnp.ndarray other) except -1:
    if not cnp.PyArray_SAMESHAPE(a, other):
        raise ValueError(f"{name} has shape {shape_text(a)}; expected {shape_text(other)}")
    return 0


cdef cnp.ndarray output(out, str name, cnp.ndarray like, tuple inputs, Py_ssize_t rows=-1, Py_ssize_t columns=-1):
    """out if it fits and lies apart from the inputs, or a new array; of like's shape where no rows are given."""
    cdef int typenum = cnp.PyArray_TYPE(like)
    if out is None and rows < 0:
        return cnp.PyArray_EMPTY(like.ndim, cnp.PyArray_DIMS(like), typenum, 0)
    if out is None:
        return new_array(typenum, rows, columns)
    if not cnp.PyArray_Check(out) or cnp.PyArray_TYPE(out) != typenum or not cnp.PyArray_ISCARRAY_RO(out):
        got = f"{out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"{name} is {got}; expected a C-contiguous array of {like.dtype}")
    if not cnp.PyArray_ISWRITEABLE(out):
        raise ValueError(f"{name} is read-only; expected a writable array")
    if rows < 0:
        expect_alike(out, name, like)
    else:
        expect(out, name, rows, columns)
    for a in inputs:
        if a is not None:
            check_apart(out, a)
    return out


cdef bint begins_with(out, cnp.ndarray a):
    """out is a, or another view of it."""
    return cnp.PyArray_Check(out) and cnp.PyArray_DATA(<cnp.ndarray>out) == cnp.PyArray_DATA(a)


cdef inline void *pointer(a):
    return NULL if a is None else cnp.PyArray_DATA(<cnp.ndarray>a)


cdef double param_of(int activation, param) except? -2.0:
    return cmlp_activation_default(activation) if param is None else param


def dense_forward(x, w, b=None, str activation="identity", param=None, out=None, n_threads=None):
    x, w, b = as_floats((("x", x), ("w", w), ("b", b)), ("b",))
    expect_2d(x, "x")
    expect(w, "w", dim(w, 0) if (<cnp.ndarray>w).ndim else 0, dim(x, 1))
    if b is not None:
        expect(b, "b", dim(w, 0))
    cdef cmlp_shape shape = shape_of(x, dim(x, 0), dim(w, 1), dim(w, 0), n_threads)
    out = output(out, "out", x, (x, w, b), shape.batch, shape.n_out)
    cdef int act = activation_id(activation)
    cdef double p = param_of(act, param)
    cdef void *px = pointer(x)
    cdef void *pw = pointer(w)
    cdef void *pb = pointer(b)
    cdef void *po = pointer(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_dense_forward(&shape, px, pw, pb, act, p, po)
    check(status)
    return out


def dense_backward_dx(dy, w, y=None, str activation="identity", param=None, out=None, n_threads=None):
    dy, w, y = as_floats((("dy", dy), ("w", w), ("y", y)), ("y",))
    expect_2d(dy, "dy")
    expect_2d(w, "w")
    expect(w, "w", dim(dy, 1), dim(w, 1))
    if y is not None:
        expect(y, "y", dim(dy, 0), dim(w, 1))
    cdef cmlp_shape shape = shape_of(dy, dim(dy, 0), dim(w, 1), dim(w, 0), n_threads)
    out = output(out, "out", dy, (dy, w, y), shape.batch, shape.n_in)
    cdef int act = activation_id(activation)
    if activation in ("softmax", "step"):
        raise ValueError(f"activation is {activation!r}; expected an elementwise one with a slope")
    if act != CMLP_IDENTITY and y is None:
        raise ValueError("y is None; expected the activation's values")
    cdef double p = param_of(act, param)
    cdef void *pd = pointer(dy)
    cdef void *pw = pointer(w)
    cdef void *py = pointer(y)
    cdef void *po = pointer(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_dense_backward_dx(&shape, pd, pw, py, act, p, po)
    check(status)
    return out


def dense_backward_dw(dy, x, out=None, out_db=None, n_threads=None):
    dy, x = as_floats((("dy", dy), ("x", x)))
    expect_2d(dy, "dy")
    expect_2d(x, "x")
    expect(x, "x", dim(dy, 0), dim(x, 1))
    cdef cmlp_shape shape = shape_of(dy, dim(dy, 0), dim(x, 1), dim(dy, 1), n_threads)
    out = output(out, "out", dy, (dy, x), shape.n_out, shape.n_in)
    out_db = output(out_db, "out_db", dy, (dy, x, out), shape.n_out)
    cdef void *pd = pointer(dy)
    cdef void *px = pointer(x)
    cdef void *pw = pointer(out)
    cdef void *pb = pointer(out_db)
    cdef cmlp_status status
    with nogil:
        status = cmlp_dense_backward_dw(&shape, pd, px, pw, pb)
    check(status)
    return out, out_db


def dense_backward_update(dy, x, w, b, str kind, slots, double lr, step=1, n_threads=None, **options):
    dy, x = as_floats((("dy", dy), ("x", x)))
    expect_2d(dy, "dy")
    expect_2d(x, "x")
    expect(x, "x", dim(dy, 0), dim(x, 1))
    cdef cmlp_shape shape = shape_of(dy, dim(dy, 0), dim(x, 1), dim(dy, 1), n_threads)
    cdef cmlp_optimizer_spec spec = settings_of(kind, options)
    cdef int n = cmlp_optimizer_slots(spec.kind), i
    if len(slots) != 2 * n:
        raise ValueError(f"slots has {len(slots)} arrays; expected {2 * n}: those of w, then those of b")
    if step < 1:
        raise ValueError(f"step is {step}; expected 1 or more")
    w = output(w, "w", dy, (dy, x), shape.n_out, shape.n_in)
    b = output(b, "b", dy, (dy, x, w), shape.n_out)
    cdef void *pointers[4]
    for i in range(2 * n):
        columns = shape.n_in if i < n else -1
        pointers[i] = pointer(output(slots[i], f"slots[{i}]", dy, (dy, x, w, b), shape.n_out, columns))
    cdef void *pd = pointer(dy)
    cdef void *px = pointer(x)
    cdef void *pw = pointer(w)
    cdef void *pb = pointer(b)
    cdef uint64_t t = step
    cdef cmlp_status status
    with nogil:
        status = cmlp_dense_backward_update(&shape, pd, px, pw, pb, &spec, pointers, lr, t)
    check(status)


cdef cmlp_shape rows_of(cnp.ndarray x, n_threads) except *:
    """Everything but the last dimension is a row."""
    cdef Py_ssize_t n = max(dim(x, x.ndim - 1) if x.ndim else 1, 1)
    return shape_of(x, max(cnp.PyArray_SIZE(x) // n, 1), 1, n, n_threads)


def activation_forward(x, str activation, param=None, out=None, n_threads=None):
    (x,) = as_floats((("x", x),))
    cdef int act = activation_id(activation)
    cdef cmlp_shape shape = rows_of(x, n_threads)
    out = output(out, "out", x, () if begins_with(out, x) else (x,))
    if cnp.PyArray_SIZE(x) == 0:
        return out
    cdef double p = param_of(act, param)
    cdef void *px = pointer(x)
    cdef void *po = pointer(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_activation_forward(&shape, act, p, px, po)
    check(status)
    return out


def activation_backward(dy, y, str activation, param=None, out=None, n_threads=None):
    dy, y = as_floats((("dy", dy), ("y", y)))
    expect_alike(y, "y", dy)
    cdef int act = activation_id(activation)
    if activation == "step":
        raise ValueError("activation is 'step', which has no slope; expected another")
    cdef cmlp_shape shape = rows_of(dy, n_threads)
    out = output(out, "out", dy, (y,) if begins_with(out, dy) else (dy, y))
    if cnp.PyArray_SIZE(dy) == 0:
        return out
    cdef double p = param_of(act, param)
    cdef void *pd = pointer(dy)
    cdef void *py = pointer(y)
    cdef void *po = pointer(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_activation_backward(&shape, act, p, pd, py, po)
    check(status)
    return out


cdef softmax_of(x, bint as_log, out, n_threads):
    (x,) = as_floats((("x", x),))
    cdef cmlp_shape shape = rows_of(x, n_threads)
    out = output(out, "out", x, () if begins_with(out, x) else (x,))
    if cnp.PyArray_SIZE(x) == 0:
        return out
    cdef void *px = pointer(x)
    cdef void *po = pointer(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_softmax(&shape, as_log, px, po)
    check(status)
    return out


def softmax(x, out=None, n_threads=None):
    return softmax_of(x, False, out, n_threads)


def log_softmax(x, out=None, n_threads=None):
    return softmax_of(x, True, out, n_threads)


cdef double loss_of(str name, param, y, t, w, cnp.ndarray out) except? -1.0:
    """Mean loss; the gradient goes to out unless that is None."""
    for label, a in (("y", y), ("t", t)):
        if not isinstance(a, np.ndarray):
            raise TypeError(f"{label} is {type(a).__name__}; expected numpy.ndarray")
    cdef int loss = loss_id(name), typenum = cnp.PyArray_TYPE(<cnp.ndarray>y)
    if typenum not in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64):
        raise TypeError(f"y has dtype {y.dtype}; expected float32 or float64")
    cdef void *pz = data_of(y, "y", typenum, 2, -1, -1)
    cdef cmlp_shape shape = shape_of(y, y.shape[0], 1, y.shape[1], 1)
    cdef const int64_t *labels = NULL
    cdef void *pt = NULL
    cdef size_t i
    if loss == CMLP_SOFTMAX_CROSS_ENTROPY and t.ndim == 1:
        labels = <const int64_t *>data_of(t, "t", cnp.NPY_INT64, 1, y.shape[0], -1)
        for i in range(shape.batch):
            if labels[i] < 0 or labels[i] >= <int64_t>shape.n_out:
                raise ValueError(f"t has label {labels[i]} in row {i}; expected 0 to {y.shape[1] - 1}")
    else:
        pt = data_of(t, "t", typenum, 2, y.shape[0], y.shape[1])
    cdef void *pw = NULL if w is None else data_of(w, "w", typenum, 1, y.shape[0], -1)
    cdef double p = cmlp_loss_default(loss) if param is None else param, value = 0.0
    if p == CMLP_NO_PARAM:
        p = 0.0
    cdef void *po = NULL if out is None else cnp.PyArray_DATA(out)
    cdef cmlp_status status
    with nogil:
        status = cmlp_loss_delta(&shape, loss, p, pz, labels, pt, pw, po, &value)
    check(status)
    return value


def loss_value(str name, param, y, t, w=None):
    return loss_of(name, param, y, t, w, None)


def loss_delta(str name, param, y, t, w=None, out=None):
    if not isinstance(y, np.ndarray):
        raise TypeError(f"y is {type(y).__name__}; expected numpy.ndarray")
    apart = tuple([a for a in (y, t, w) if isinstance(a, np.ndarray)])
    out = out if out is y else output(out, "out", y, apart)
    return out, loss_of(name, param, y, t, w, out)


def update(str kind, w, dw, slots, double lr, step=1, n_threads=None, **options):
    cdef cmlp_optimizer_spec spec = settings_of(kind, options)
    cdef int n = cmlp_optimizer_slots(spec.kind), threads = thread_count(n_threads)
    if not isinstance(w, np.ndarray) or w.dtype not in (np.float32, np.float64):
        raise TypeError("w is no array of float32 or float64; expected one")
    if len(slots) != n:
        raise ValueError(f"slots has {len(slots)} arrays; expected {n}")
    if step < 1:
        raise ValueError(f"step is {step}; expected 1 or more")
    dw = as_type(plain("dw", dw), cnp.PyArray_TYPE(w))
    expect_alike(dw, "dw", w)
    output(w, "w", w, (dw,))
    cdef void *pointers[2]
    pointers[0], pointers[1] = NULL, NULL
    for i in range(n):
        pointers[i] = pointer(output(slots[i], f"slots[{i}]", w, (w, dw)))
    cdef cmlp_dtype dtype = dtype_id(w.dtype)
    cdef size_t size = w.size
    cdef uint64_t t = step
    cdef void *pw = pointer(w)
    cdef void *pd = pointer(dw)
    cdef cmlp_status status
    with nogil:
        status = cmlp_update(dtype, &spec, size, pw, pd, pointers[0], pointers[1], lr, t, threads)
    check(status)
