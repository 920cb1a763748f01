"""The C interface for Cython: ``cimport cmlp`` or ``from cmlp cimport ...``.

What each function does stands in cmlp.h, which lies in ``cmlp.get_include()``.
"""

from libc.stdint cimport int64_t, uint64_t


cdef extern from "cmlp.h" nogil:
    const char *CMLP_VERSION
    ctypedef enum cmlp_status:
        CMLP_OK, CMLP_PAUSED, CMLP_STOPPED, CMLP_DIVERGED
        CMLP_E_MEMORY, CMLP_E_ARGUMENT, CMLP_E_PAIR, CMLP_E_BUSY, CMLP_E_FORKED, CMLP_E_FILE, CMLP_E_FORMAT
    ctypedef enum cmlp_dtype:
        CMLP_F32, CMLP_F64
    ctypedef enum cmlp_pair:
        CMLP_REFUSED, CMLP_FUSED, CMLP_CHAIN
    ctypedef enum cmlp_layer_kind:
        CMLP_DENSE, CMLP_ACTIVATION, CMLP_PRELU, CMLP_RRELU, CMLP_DROPOUT
        CMLP_CONV, CMLP_MAX_POOL, CMLP_AVERAGE_POOL, CMLP_RESHAPE, CMLP_SUBSAMPLE
    ctypedef enum cmlp_what:
        CMLP_VALUES, CMLP_GRADIENTS
    enum:
        CMLP_WEIGHT, CMLP_BIAS, CMLP_MOST_PARTS
    ctypedef enum cmlp_activation:
        CMLP_IDENTITY, CMLP_SIGMOID, CMLP_TANH, CMLP_RELU, CMLP_LEAKY_RELU, CMLP_ELU, CMLP_GELU, CMLP_SILU
        CMLP_SOFTPLUS, CMLP_SOFTSIGN, CMLP_SCALED_TANH, CMLP_STEP, CMLP_SOFTMAX, CMLP_N_ACTIVATIONS
    ctypedef enum cmlp_loss:
        CMLP_SQUARED_ERROR, CMLP_BINARY_CROSS_ENTROPY, CMLP_ABSOLUTE_ERROR, CMLP_HUBER, CMLP_PERCEPTRON
        CMLP_POISSON, CMLP_SOFTMAX_CROSS_ENTROPY, CMLP_N_LOSSES
    ctypedef enum cmlp_optimizer_kind:
        CMLP_SGD, CMLP_ADAM, CMLP_ADAMW, CMLP_RMSPROP, CMLP_ADAGRAD, CMLP_ADADELTA, CMLP_N_OPTIMIZERS
    double CMLP_NO_PARAM

    const char *cmlp_strerror(cmlp_status status)
    const char *cmlp_last_error()

    const char *const *cmlp_isas()
    const char *cmlp_isa()
    const char *cmlp_isa_refused()
    cmlp_status cmlp_set_isa(const char *name)
    int cmlp_has_openmp()
    int cmlp_default_threads()
    void cmlp_limit_threads(int on)

    int cmlp_activation_id(const char *name)
    const char *cmlp_activation_name(int id)
    double cmlp_activation_default(int id)
    int cmlp_activation_needs_input(int id)
    int cmlp_loss_id(const char *name)
    const char *cmlp_loss_name(int id)
    double cmlp_loss_default(int id)
    int cmlp_optimizer_id(const char *name)
    const char *cmlp_optimizer_name(int id)
    int cmlp_optimizer_slots(int id)
    const char *cmlp_optimizer_slot_name(int id, int slot)
    cmlp_pair cmlp_pair_mode(int activation, int loss)

    ctypedef struct cmlp_layer:
        pass
    ctypedef struct cmlp_extent:
        size_t channels, height, width
    ctypedef struct cmlp_layer_spec:
        cmlp_layer_kind kind
        size_t n_in, n_out
        int activation
        double param[2]
        int bias
        cmlp_extent in_ "in"
        cmlp_extent out
        size_t kernel[2]
        size_t stride[2]
        size_t pad[4]
        size_t ragged[2]
        const unsigned char *connections
    ctypedef struct cmlp_part:
        const char *name
        int ndim
        size_t shape[4]
        int decays
        double start
    int cmlp_layer_kind_id(const char *name)
    const char *cmlp_layer_kind_name(int kind)
    cmlp_status cmlp_layer_shape(const cmlp_layer_spec *spec, const cmlp_extent *in_, cmlp_extent *out)
    cmlp_status cmlp_layer_new(cmlp_dtype dtype, const cmlp_layer_spec *spec, cmlp_layer **out)
    void cmlp_layer_free(cmlp_layer *layer)
    const cmlp_layer_spec *cmlp_layer_get_spec(const cmlp_layer *layer)
    const char *cmlp_layer_isa(const cmlp_layer *layer)
    int cmlp_layer_parts(const cmlp_layer *layer)
    const cmlp_part *cmlp_layer_part(const cmlp_layer *layer, int part)
    size_t cmlp_layer_count(const cmlp_layer *layer, int part)
    cmlp_status cmlp_layer_set(cmlp_layer *layer, int part, const void *values)
    cmlp_status cmlp_layer_get(const cmlp_layer *layer, int part, void *values)
    cmlp_status cmlp_layer_set_grad(cmlp_layer *layer, int part, const void *values)
    cmlp_status cmlp_layer_get_grad(const cmlp_layer *layer, int part, void *values)
    void cmlp_layer_set_trainable(cmlp_layer *layer, int on)
    int cmlp_layer_trainable(const cmlp_layer *layer)
    cmlp_status cmlp_layers_join(cmlp_layer **layers, size_t n_layers)
    size_t cmlp_flat_count(cmlp_layer **layers, size_t n_layers)
    cmlp_status cmlp_flat_get(cmlp_layer **layers, size_t n_layers, cmlp_what what, void *values)
    cmlp_status cmlp_flat_set(cmlp_layer **layers, size_t n_layers, cmlp_what what, const void *values)
    cmlp_status cmlp_flat_lerp(cmlp_layer **layers, cmlp_layer **others, size_t n_layers, double tau)
    cmlp_status cmlp_layers_hold(cmlp_layer **layers, size_t n_layers)
    void cmlp_layers_release(cmlp_layer **layers, size_t n_layers)

    ctypedef enum cmlp_initializer:
        CMLP_HE_NORMAL, CMLP_HE_UNIFORM, CMLP_XAVIER_NORMAL, CMLP_XAVIER_UNIFORM
        CMLP_GLOROT_NORMAL, CMLP_GLOROT_UNIFORM
    cmlp_status cmlp_layer_init(cmlp_layer *layer, cmlp_initializer init, uint64_t seed, uint64_t stream)
    cmlp_status cmlp_init_layers(cmlp_layer **layers, size_t n_layers, uint64_t seed)

    ctypedef struct cmlp_optimizer:
        pass
    ctypedef struct cmlp_optimizer_spec:
        int kind
        double momentum, nesterov, weight_decay, l1, beta1, beta2, eps, rho, clip_value, clip_norm
        double decay_over_batch, eps_inside
    cmlp_optimizer_spec cmlp_optimizer_defaults(int kind)
    cmlp_status cmlp_optimizer_new(const cmlp_optimizer_spec *spec, cmlp_layer **layers, size_t n_layers,
                                   cmlp_optimizer **out)
    void cmlp_optimizer_free(cmlp_optimizer *opt)
    cmlp_optimizer_spec *cmlp_optimizer_settings(cmlp_optimizer *opt)
    uint64_t cmlp_optimizer_steps(const cmlp_optimizer *opt)
    void cmlp_optimizer_set_steps(cmlp_optimizer *opt, uint64_t steps)
    cmlp_status cmlp_optimizer_get_slot(const cmlp_optimizer *opt, int slot, void *values)
    cmlp_status cmlp_optimizer_set_slot(cmlp_optimizer *opt, int slot, const void *values)
    cmlp_status cmlp_optimizer_step(cmlp_optimizer *opt, double lr, size_t rows)

    ctypedef struct cmlp_model:
        cmlp_dtype dtype
        uint64_t seed
        size_t n_layers
        cmlp_layer **layers
        char *about
    cmlp_status cmlp_load(const char *path, cmlp_model *model)
    void cmlp_model_free(cmlp_model *model)
    cmlp_status cmlp_save(const char *path, const cmlp_model *model)

    ctypedef struct cmlp_plan:
        pass
    ctypedef struct cmlp_plan_spec:
        int loss
        double loss_param
        size_t batch
        int n_threads
        uint64_t seed
        size_t first_layer
    ctypedef struct cmlp_data:
        const void *x
        const int64_t *labels
        const void *t
        const void *weight
        size_t n
        const int64_t *rows
    ctypedef struct cmlp_cursor:
        uint64_t epoch, step
        double loss_sum
    ctypedef struct cmlp_run:
        uint64_t epochs, max_steps
        int shuffle
        const int64_t *order
        uint64_t epoch_rows, first
        const double *lr
        size_t n_lr
        const double *momentum
        size_t n_momentum
        double *losses
        double *norms
        uint64_t n_losses
        int (*poll)(void *ctx) noexcept nogil
        void *poll_ctx
        int held
        const int *pause
    cmlp_status cmlp_plan_new(const cmlp_plan_spec *spec, cmlp_layer **layers, size_t n_layers,
                              cmlp_optimizer *opt, cmlp_plan **out)
    cmlp_status cmlp_plan_like(const cmlp_plan *like, uint64_t seed, cmlp_layer **layers, size_t n_layers,
                               cmlp_optimizer *opt, cmlp_plan **out)
    void cmlp_plan_free(cmlp_plan *plan)
    cmlp_cursor *cmlp_plan_cursor(cmlp_plan *plan)
    int cmlp_plan_get_good(const cmlp_plan *plan, void *values)
    cmlp_status cmlp_plan_set_good(cmlp_plan *plan, const void *values)
    ctypedef struct cmlp_view_spec:
        cmlp_extent image
        size_t height, width, shift
        double rotate, elastic, smoothness, fill
    cmlp_status cmlp_views(cmlp_dtype dtype, const cmlp_view_spec *spec, size_t n, const void *x, uint64_t seed,
                           uint64_t t, size_t row, void *y) nogil
    cmlp_status cmlp_plan_augment(cmlp_plan *plan, const cmlp_view_spec *spec)
    void cmlp_plan_seek(cmlp_plan *plan, uint64_t draw)
    int cmlp_plan_threads(const cmlp_plan *plan)
    size_t cmlp_plan_bytes(const cmlp_plan *plan)
    cmlp_status cmlp_fit(cmlp_plan *plan, const cmlp_data *data, cmlp_run *run)
    cmlp_status cmlp_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss)
    cmlp_status cmlp_gradient(cmlp_plan *plan, const cmlp_data *data, double *loss)
    int cmlp_all_within(cmlp_dtype dtype, size_t n, const void *x, double low, double high)
    cmlp_status cmlp_predict(const cmlp_plan *plan, size_t n, const void *x, int logits, void *y)
    cmlp_status cmlp_forward(cmlp_plan *plan, size_t n, const void *x, int training, void *y)
    cmlp_status cmlp_backward(cmlp_plan *plan, const void *dy, void *dx)
    cmlp_status cmlp_deltas(const cmlp_plan *plan, double *norms)

    ctypedef struct cmlp_net_spec:
        cmlp_dtype dtype
        const cmlp_layer_spec *layers
        size_t n_layers
        const unsigned char *frozen
        cmlp_plan_spec plan
    ctypedef struct cmlp_job:
        const cmlp_net_spec *net
        cmlp_optimizer_spec optimizer
        uint64_t seed
        void *values
        void *slots[2]
        uint64_t steps
        cmlp_cursor cursor
        cmlp_data data
        cmlp_run run
        cmlp_data held_out
        double *scores
        uint64_t patience
        double min_delta
        void *best_values
        void *good_values
        int has_good
        double best
        uint64_t best_epoch, waited
        cmlp_status status
        double seconds
    ctypedef struct cmlp_many:
        int n_threads
        int (*poll)(void *ctx, size_t done, double best) noexcept nogil
        void *poll_ctx
    cmlp_status cmlp_fit_many(cmlp_job *jobs, size_t n_jobs, const cmlp_many *many)
    cmlp_status cmlp_predict_many(const cmlp_net_spec **nets, const void **values, size_t n_nets, size_t n,
                                  const void *x, int activation, const cmlp_many *many, void *y, void *mean,
                                  void *deviation)

    ctypedef struct cmlp_shape:
        cmlp_dtype dtype
        size_t batch, n_in, n_out
        int n_threads
    cmlp_status cmlp_dense_forward(const cmlp_shape *shape, const void *x, const void *w, const void *b,
                                   int activation, double param, void *y)
    cmlp_status cmlp_dense_backward_dx(const cmlp_shape *shape, const void *dy, const void *w, const void *y,
                                       int activation, double param, void *dx)
    cmlp_status cmlp_dense_backward_dw(const cmlp_shape *shape, const void *dy, const void *x, void *dw, void *db)
    cmlp_status cmlp_dense_backward_update(const cmlp_shape *shape, const void *dy, const void *x, void *w,
                                           void *b, const cmlp_optimizer_spec *spec, void **slots, double lr,
                                           uint64_t t)
    cmlp_status cmlp_activation_forward(const cmlp_shape *shape, int activation, double param, const void *x,
                                        void *y)
    cmlp_status cmlp_activation_backward(const cmlp_shape *shape, int activation, double param, const void *dy,
                                         const void *s, void *dx)
    cmlp_status cmlp_softmax(const cmlp_shape *shape, int as_log, const void *x, void *y)
    cmlp_status cmlp_loss_delta(const cmlp_shape *shape, int loss, double param, const void *z,
                                const int64_t *labels, const void *t, const void *weight, void *dz, double *value)
    cmlp_status cmlp_update(cmlp_dtype dtype, const cmlp_optimizer_spec *spec, size_t n, void *w,
                            const void *dw, void *s1, void *s2, double lr, uint64_t t, int n_threads)
    double cmlp_fma_peak(cmlp_dtype dtype, int n_threads, double seconds)
    void cmlp_permutation(uint64_t n, uint64_t seed, uint64_t epoch, int64_t *order)
