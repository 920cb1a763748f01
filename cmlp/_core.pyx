# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, freethreading_compatible=False
"""The compiled core.  Its interface is documented in _core.pyi; here shapes and types are checked, the GIL is
released, and cmlp.h is called."""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY, NAN, isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

import os

import numpy as np

cnp.import_array()

# ---- errors ----

cdef int check(cmlp_status status) except -1:
    """Raise for an error of the C library, whose message names the argument."""
    if status >= 0:
        return 0
    if status == CMLP_E_MEMORY:
        raise MemoryError("cmlp could not allocate its buffers")
    if status == CMLP_E_BUSY:
        raise RuntimeError("these layers are being trained by another call")
    text = cmlp_last_error().decode(errors="replace")
    if status == CMLP_E_FORKED:
        raise RuntimeError(text)
    raise ValueError(text)


cdef int activation_id(str name) except -1:
    cdef int i = cmlp_activation_id(name.encode())
    if i < 0:
        raise ValueError(f"activation is {name!r}; expected one of {', '.join(activations())}")
    return i


cdef int loss_id(str name) except -1:
    cdef int i = cmlp_loss_id(name.encode())
    if i < 0:
        raise ValueError(f"loss is {name!r}; expected one of {', '.join(losses())}")
    return i


cdef cmlp_dtype dtype_id(name) except *:
    name = np.dtype(name).name
    if name == "float32":
        return CMLP_F32
    if name == "float64":
        return CMLP_F64
    raise ValueError(f"dtype is {name!r}; expected 'float32' or 'float64'")


cdef int typenum_of(cmlp_dtype dtype) noexcept:
    return cnp.NPY_FLOAT32 if dtype == CMLP_F32 else cnp.NPY_FLOAT64


cdef str shape_text(cnp.ndarray a):
    return str(tuple([a.shape[i] for i in range(a.ndim)]))


cdef void *data_of(object value, str name, int typenum, int ndim, Py_ssize_t rows, Py_ssize_t columns,
                   bint writable=False) except? NULL:
    """The data of an array that must have this type, number of dimensions, rows and columns (-1: any), C order."""
    if not cnp.PyArray_CheckExact(value):  # a masked array, say, is more than its data
        raise TypeError(f"{name} is {type(value).__name__}; expected numpy.ndarray")
    cdef cnp.ndarray a = value
    if cnp.PyArray_TYPE(a) != typenum or not cnp.PyArray_ISCARRAY_RO(a):
        raise TypeError(f"{name} has dtype {a.dtype} and strides {(<object>a).strides}; expected C-contiguous "
                        f"{np.dtype(cnp.PyArray_TypeObjectFromType(typenum)).name} in native byte order")
    if a.ndim != ndim or (rows >= 0 and a.shape[0] != rows) or (ndim > 1 and columns >= 0 and a.shape[1] != columns):
        wanted = ", ".join(["any" if n < 0 else str(n) for n in (rows, columns)[:ndim]])
        raise ValueError(f"{name} has shape {shape_text(a)}; expected ({wanted})")
    if writable and not cnp.PyArray_ISWRITEABLE(a):
        raise ValueError(f"{name} is read-only; expected a writable array")
    return cnp.PyArray_DATA(a)


cdef cnp.ndarray new_array(int typenum, cnp.npy_intp rows, cnp.npy_intp columns=-1):
    cdef cnp.npy_intp dims[2]
    dims[0], dims[1] = rows, columns
    return cnp.PyArray_EMPTY(1 if columns < 0 else 2, dims, typenum, 0)


cdef int check_rate(str name, double value) except -1:
    if not isfinite(value):
        raise ValueError(f"{name} is {value}; expected a finite number")
    return 0


cdef whole(str name, value, most):
    """A whole number from 1 to most."""
    if type(value) is not int and (not isinstance(value, (int, np.integer)) or isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    if not 0 < value <= most:
        raise ValueError(f"{name} is {value}; expected 1 to {most}")
    return int(value)


# ---- what there is ----

def activations():
    return {cmlp_activation_name(i).decode(): {
                "param": None if cmlp_activation_default(i) == CMLP_NO_PARAM else cmlp_activation_default(i),
                "trainable": cmlp_activation_name(i) != b"step",
                "elementwise": i != CMLP_SOFTMAX,
                "needs_input": i != CMLP_SOFTMAX and bool(cmlp_activation_needs_input(i))}
            for i in range(CMLP_N_ACTIVATIONS)}


def losses():
    return {cmlp_loss_name(i).decode(): {
                "param": None if cmlp_loss_default(i) == CMLP_NO_PARAM else cmlp_loss_default(i),
                "labels": i == CMLP_SOFTMAX_CROSS_ENTROPY}
            for i in range(CMLP_N_LOSSES)}


cdef list slot_names(int kind):
    return [cmlp_optimizer_slot_name(kind, i).decode() for i in range(cmlp_optimizer_slots(kind))]


def optimizers():
    return {cmlp_optimizer_name(i).decode(): {"slots": slot_names(i)} for i in range(CMLP_N_OPTIMIZERS)}


def layer_kinds():
    kinds = []
    while cmlp_layer_kind_name(len(kinds)) != NULL:
        kinds.append(cmlp_layer_kind_name(len(kinds)).decode())
    return kinds


def pair_mode(str activation, str loss):
    mode = cmlp_pair_mode(activation_id(activation), loss_id(loss))
    return "fused" if mode == CMLP_FUSED else "chain" if mode == CMLP_CHAIN else "refused"


def available_isas():
    cdef const char *const *names = cmlp_isas()
    found = []
    while names[len(found)] != NULL:
        found.append(names[len(found)].decode())
    return found


def get_isa():
    return cmlp_isa().decode()


def set_isa(str name):
    if cmlp_set_isa(name.encode()) < 0:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(available_isas())}")


def default_threads():
    return cmlp_default_threads()


def limit_threads(bint on):
    cmlp_limit_threads(on)


cdef extern from *:
    """
    #if defined(__clang__)
    #define CMLP_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define CMLP_COMPILER "gcc " __VERSION__
    #else
    #define CMLP_COMPILER "unknown"
    #endif
    """
    const char *CMLP_COMPILER


def info():
    refused = cmlp_isa_refused()
    return {"version": CMLP_VERSION.decode(), "isa": get_isa(), "isas": available_isas(),
            "isa_refused": None if refused == NULL else refused.decode(errors="replace"),
            "threads": cmlp_default_threads(), "openmp": bool(cmlp_has_openmp()),
            "compiler": CMLP_COMPILER.decode()}


def permutation(n, seed, epoch):
    if n < 0:
        raise ValueError(f"n is {n}; expected 0 or more")
    cdef uint64_t count = n, key = seed, number = epoch
    cdef cnp.ndarray order = new_array(cnp.NPY_INT64, n)
    cdef int64_t *data = <int64_t *>cnp.PyArray_DATA(order)
    with nogil:
        cmlp_permutation(count, key, number, data)
    return order


def fma_peak(n_threads=1, double seconds=0.2, dtype="float32"):
    cdef cmlp_dtype d = dtype_id(dtype)
    cdef int n = n_threads
    cdef double flops
    with nogil:
        flops = cmlp_fma_peak(d, n, seconds)
    return flops / 1e9


# ---- layers ----

cdef cmlp_extent extent_of(shape):
    cdef cmlp_extent e
    e.channels, e.height, e.width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return e


@cython.final
cdef class Layer:
    cdef cmlp_layer *ptr
    cdef cmlp_layer_spec spec
    cdef cmlp_dtype type
    cdef readonly str kind
    cdef readonly str activation
    cdef readonly Py_ssize_t rows
    cdef cnp.ndarray connections

    def __cinit__(self, str kind, n_in, n_out, dtype="float32", str activation="identity", param=None, bint bias=True,
                  shapes=None, window=None, connections=None):
        cdef int number = cmlp_layer_kind_id(kind.encode())
        cdef cmlp_extent shape
        if number < 0:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(layer_kinds())}")
        n_in, n_out = whole("n_in", n_in, 2**48), whole("n_out", n_out, 2**48)
        self.type = dtype_id(dtype)
        self.kind, self.activation = kind, activation
        self.spec.kind, self.spec.n_in, self.spec.n_out = <cmlp_layer_kind>number, n_in, n_out
        self.spec.activation, self.spec.bias = activation_id(activation), bias
        if shapes is not None:
            self.spec.in_, self.spec.out = extent_of(shapes[0]), extent_of(shapes[1])
        if window is not None:
            for i in range(2):
                self.spec.kernel[i], self.spec.stride[i], self.spec.ragged[i] = window[i], window[2 + i], window[8 + i]
            for i in range(4):
                self.spec.pad[i] = window[4 + i]
        shape.channels, shape.height, shape.width = n_in, 1, 1
        if cmlp_layer_shape(&self.spec, &shape, &shape) < 0 or shape.channels * shape.height * shape.width != n_out:
            raise ValueError(f"n_out is {n_out}; expected {shape.channels}, the same as n_in")
        if param is None:
            param = cmlp_activation_default(self.spec.activation)
        low, high = param if isinstance(param, tuple) else (param, 0.0)
        self.spec.param[0], self.spec.param[1] = low, high
        if connections is not None:
            self.connections = np.ascontiguousarray(connections, dtype=np.uint8)
            if self.connections.size != self.spec.out.channels * self.spec.in_.channels:
                raise ValueError(f"connections has shape {connections.shape}; expected (channels_out, channels_in)")
            self.spec.connections = <const unsigned char *>cnp.PyArray_DATA(self.connections)
        check(cmlp_layer_new(self.type, &self.spec, &self.ptr))
        self.spec.connections = cmlp_layer_get_spec(self.ptr).connections

    def __dealloc__(self):
        cmlp_layer_free(self.ptr)

    @property
    def n_in(self):
        return self.spec.n_in

    @property
    def n_out(self):
        return self.spec.n_out

    @property
    def dtype(self):
        return "float32" if self.type == CMLP_F32 else "float64"

    @property
    def isa(self):
        return cmlp_layer_isa(self.ptr).decode()

    @property
    def param(self):
        return (self.spec.param[0], self.spec.param[1])

    @property
    def n_parameters(self):
        return sum([cmlp_layer_count(self.ptr, i) for i in range(cmlp_layer_parts(self.ptr))])

    @property
    def shapes(self):
        found = {}
        cdef const cmlp_part *part
        for i in range(cmlp_layer_parts(self.ptr)):
            part = cmlp_layer_part(self.ptr, i)
            found[part.name.decode()] = tuple([part.shape[a] for a in range(part.ndim)])
        return found

    @property
    def decays(self):
        return {cmlp_layer_part(self.ptr, i).name.decode(): bool(cmlp_layer_part(self.ptr, i).decays)
                for i in range(cmlp_layer_parts(self.ptr))}

    @property
    def trainable(self):
        return bool(cmlp_layer_trainable(self.ptr))

    @trainable.setter
    def trainable(self, bint on):
        cmlp_layer_set_trainable(self.ptr, on)

    cdef int part(self, str name) except -1:
        for i in range(cmlp_layer_parts(self.ptr)):
            if cmlp_layer_part(self.ptr, i).name.decode() == name:
                return i
        raise ValueError(f"name is {name!r}; expected one of {', '.join(self.shapes) or 'none'}")

    cdef cnp.ndarray empty(self, int number):
        cdef const cmlp_part *part = cmlp_layer_part(self.ptr, number)
        cdef cnp.npy_intp dims[4]
        for a in range(part.ndim):
            dims[a] = part.shape[a]
        return cnp.PyArray_EMPTY(part.ndim, dims, typenum_of(self.type), 0)

    cdef cnp.ndarray packable(self, str name, value):
        a = np.require(value, self.dtype, ["C", "A", "E"])
        if a.shape != self.shapes[name]:
            raise ValueError(f"{name} has shape {a.shape}; expected {self.shapes[name]}")
        return a

    def get(self, str name):
        cdef int part = self.part(name)
        cdef cnp.ndarray out = self.empty(part)
        check(cmlp_layer_get(self.ptr, part, cnp.PyArray_DATA(out)))
        out.flags.writeable = False
        return out

    def set(self, str name, value):
        cdef int part = self.part(name)
        check(cmlp_layer_set(self.ptr, part, cnp.PyArray_DATA(self.packable(name, value))))

    def get_grad(self, str name):
        cdef int part = self.part(name)
        cdef cnp.ndarray out = self.empty(part)
        check(cmlp_layer_get_grad(self.ptr, part, cnp.PyArray_DATA(out)))
        out.flags.writeable = False
        return out

    def set_grad(self, str name, value):
        cdef int part = self.part(name)
        check(cmlp_layer_set_grad(self.ptr, part, cnp.PyArray_DATA(self.packable(name, value))))

    cdef tuple geometry(self):
        cdef cmlp_layer_spec *s = &self.spec
        shapes = tuple([(e.channels, e.height, e.width) for e in (s.in_, s.out)])
        window = tuple([n for part in (s.kernel, s.stride, s.pad, s.ragged) for n in part])
        return shapes, window, self.connections

    def copy(self):
        cdef Layer other = Layer.__new__(Layer, self.kind, self.n_in, self.n_out, self.dtype, self.activation,
                                         self.param, bool(self.spec.bias), *self.geometry())
        for name in self.shapes:
            other.set(name, self.get(name))
        return other


cdef int check_alike(tuple layers) except -1:
    if not layers:
        raise ValueError("layers is empty; expected one or more")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers holds {type(layer).__name__}; expected Layer")
        if layer.dtype != layers[0].dtype or layer.isa != layers[0].isa:
            raise ValueError("layers are of different dtypes or instruction sets; expected one of each")
    if len({id(layer) for layer in layers}) != len(layers):
        raise ValueError("layers holds the same layer twice; expected different ones")
    return 0


@cython.final
cdef class LayerList:
    cdef cmlp_layer **ptr
    cdef size_t n
    cdef readonly tuple layers
    cdef readonly Py_ssize_t n_parameters

    def __cinit__(self, layers):
        self.layers = tuple(layers)
        check_alike(self.layers)
        self.n = len(self.layers)
        self.ptr = layer_pointers(self.layers)
        self.n_parameters = cmlp_flat_count(self.ptr, self.n)

    def __dealloc__(self):
        free(self.ptr)

    def join(self):
        check(cmlp_layers_join(self.ptr, self.n))

    def get(self, bint gradients=False):
        cdef cnp.ndarray values = new_array(typenum_of((<Layer>self.layers[0]).type), self.n_parameters)
        check(cmlp_flat_get(self.ptr, self.n, CMLP_GRADIENTS if gradients else CMLP_VALUES, cnp.PyArray_DATA(values)))
        return values

    def set(self, values, bint gradients=False):
        cdef void *data = data_of(values, "values", typenum_of((<Layer>self.layers[0]).type), 1,
                                  self.n_parameters, -1)
        check(cmlp_flat_set(self.ptr, self.n, CMLP_GRADIENTS if gradients else CMLP_VALUES, data))

    def lerp(self, LayerList other not None, double tau):
        if other.n != self.n:
            raise ValueError(f"other has {other.n} layers; expected {self.n}")
        check(cmlp_flat_lerp(self.ptr, other.ptr, self.n, tau))


cdef cmlp_layer **layer_pointers(tuple layers) except NULL:
    cdef cmlp_layer **pointers = <cmlp_layer **>calloc(len(layers), sizeof(cmlp_layer *))
    if pointers == NULL:
        raise MemoryError()
    for i, layer in enumerate(layers):
        pointers[i] = (<Layer?>layer).ptr
    return pointers


# ---- who trains ----

# id of a layer -> the thread that holds it; only ever touched under the GIL, between two bytecodes.
cdef dict HELD = {}
os.register_at_fork(after_in_child=HELD.clear)


@cython.final
@cython.auto_pickle(False)
cdef class Hold:
    cdef tuple layers

    def __init__(self, layers):
        self.layers = tuple(layers)

    def __enter__(self):
        for layer in self.layers:
            if id(layer) in HELD:
                raise RuntimeError("the net is being trained by another call" if
                                   HELD[id(layer)] != PyThread_get_thread_ident() else
                                   "the net is being trained by another call, in this thread; a callback "
                                   "cannot train it too")
        for layer in self.layers:
            HELD[id(layer)] = PyThread_get_thread_ident()
        return self

    def take(self):
        for layer in self.layers:
            HELD[id(layer)] = PyThread_get_thread_ident()

    def rest(self):
        for layer in self.layers:
            HELD[id(layer)] = 0

    def __exit__(self, *error):
        for layer in self.layers:
            HELD.pop(id(layer), None)


cdef int check_not_held(tuple layers) except -1:
    """Refuse what would change layers that another thread holds."""
    if HELD:
        for layer in layers:
            if HELD.get(id(layer), PyThread_get_thread_ident()) != PyThread_get_thread_ident():
                raise RuntimeError("the net is being trained by another call")
    return 0


# ---- optimizers ----

cdef int fill_settings(cmlp_optimizer_spec *spec, dict options) except -1:
    for name, value in options.items():
        if name == "momentum": spec.momentum = value
        elif name == "nesterov": spec.nesterov = value
        elif name == "weight_decay": spec.weight_decay = value
        elif name == "l1": spec.l1 = value
        elif name == "beta1": spec.beta1 = value
        elif name == "beta2": spec.beta2 = value
        elif name == "eps": spec.eps = value
        elif name == "rho": spec.rho = value
        elif name == "clip_value": spec.clip_value = value
        elif name == "clip_norm": spec.clip_norm = value
        elif name == "decay_over_batch": spec.decay_over_batch = value
        elif name == "eps_inside": spec.eps_inside = value
        else:
            raise TypeError(f"{name} is no option of an optimizer")
    return 0


cdef cmlp_optimizer_spec settings_of(str kind, dict options) except *:
    cdef int number = cmlp_optimizer_id(kind.encode())
    if number < 0:
        names = [cmlp_optimizer_name(i).decode() for i in range(CMLP_N_OPTIMIZERS)]
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(names)}")
    cdef cmlp_optimizer_spec spec = cmlp_optimizer_defaults(number)
    fill_settings(&spec, options)
    return spec


@cython.final
cdef class State:
    cdef cmlp_optimizer *ptr
    cdef LayerList of
    cdef readonly str kind

    def __cinit__(self, layers, str kind, **options):
        cdef cmlp_optimizer_spec spec = settings_of(kind, options)
        self.of, self.kind = LayerList(layers), kind
        check(cmlp_optimizer_new(&spec, self.of.ptr, self.of.n, &self.ptr))

    def __dealloc__(self):
        cmlp_optimizer_free(self.ptr)

    @property
    def layers(self):
        return self.of.layers

    @property
    def step_count(self):
        return cmlp_optimizer_steps(self.ptr)

    @step_count.setter
    def step_count(self, n):
        cmlp_optimizer_set_steps(self.ptr, n)

    def set_options(self, **options):
        fill_settings(cmlp_optimizer_settings(self.ptr), options)

    def get_slots(self):
        found = {}
        cdef cnp.ndarray values
        for slot, name in enumerate(slot_names(cmlp_optimizer_settings(self.ptr).kind)):
            values = np.empty(self.of.n_parameters, self.layers[0].dtype)
            check(cmlp_optimizer_get_slot(self.ptr, slot, cnp.PyArray_DATA(values)))
            found[name] = values
        return found

    def set_slots(self, slots):
        names = slot_names(cmlp_optimizer_settings(self.ptr).kind)
        total = self.of.n_parameters
        if set(slots) != set(names):
            raise ValueError(f"slots has {sorted(slots)}; expected {sorted(names)}")
        flat = {name: np.require(slots[name], self.layers[0].dtype, ["C", "A", "E"]) for name in names}
        for name in names:
            if flat[name].shape != (total,):
                raise ValueError(f"slots[{name!r}] has shape {flat[name].shape}; expected ({total},)")
        for slot, name in enumerate(names):
            check(cmlp_optimizer_set_slot(self.ptr, slot, cnp.PyArray_DATA(<cnp.ndarray>flat[name])))

    def step(self, double lr, rows=1):
        check_rate("lr", lr)
        check_not_held(self.layers)
        cdef size_t of = whole("rows", rows, 2**40)
        cdef cmlp_status status
        with nogil:
            status = cmlp_optimizer_step(self.ptr, lr, of)
        check(status)


include "_core_plan.pxi"
include "_core_many.pxi"
include "_core_kernels.pxi"
