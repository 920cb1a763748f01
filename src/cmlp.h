/* cmlp: multilayer perceptrons on a CPU.  The public C interface.
 *
 * Layers own their parameters.  An optimizer owns its settings and its state for a list of layers.  A plan
 * chains layers, with a loss and an optimizer or without, into ops over one workspace, and runs them: nothing
 * is allocated in a step, which is one minibatch and its update.  Plans of nets of the same shapes can share
 * their layout.
 *
 * Data is row-major and of one element type throughout: x (batch, n_in), y (batch, n_out), weights
 * (n_out, n_in), biases (n_out).  Inside, weights are packed in the order that the products want; get and set
 * convert.
 *
 * Errors: functions return a cmlp_status; below zero it is an error and nothing was changed, and
 * cmlp_last_error says which argument was wrong.  No function prints, exits or sets a signal handler.
 * Arguments: functions that return a cmlp_status refuse NULL where it is not allowed by name, numbers out of
 * the ranges given here, sizes that memory cannot hold, and objects that do not belong together.  They trust
 * that other pointers lead to arrays of the shape and type that is said, that labels are in their range, and
 * numbers finite where it matters (cmlp_all_within).  All other functions trust their arguments, but where it
 * is said. Threads: any number of threads may call cmlp_predict on one plan at once.  Everything else on a
 * plan, its layers or its optimizer is for one thread at a time; training a layer that is being trained gives
 * CMLP_E_BUSY.  Results have the same bits for any number of threads.
 * Ownership: the caller frees what it made, plans before the layers and the optimizer they use.  The free
 * functions take NULL.  Data stays the caller's: what goes in is not changed, and nothing is used after the
 * call.  Strings that come out are not to be freed.
 * Stability: CMLP_VERSION follows Semantic Versioning; before 1.0 a minor version may change this interface.
 * No binary interface is promised: compile with the header that the library came with.  A structure may get
 * members at its end in any version, for which 0 means what was done before; so fill structures by
 * initializers or memset.
 */
#ifndef CMLP_H
#define CMLP_H

#include <stddef.h>
#include <stdint.h>

#include "activations.h"
#include "losses.h"
#include "updates.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMLP_VERSION "0.1.0"

typedef enum {
    CMLP_OK = 0,
    CMLP_PAUSED = 1,         /* the number of steps asked for is done */
    CMLP_STOPPED = 2,        /* the poll function asked to stop; between two steps */
    CMLP_DIVERGED = 3,       /* the loss became NaN or infinite; last good epoch's parameters are back */
    CMLP_E_MEMORY = -1,      /* an allocation failed */
    CMLP_E_ARGUMENT = -2,    /* a size, name or range that makes no sense */
    CMLP_E_PAIR = -3,        /* this loss does not go with that output activation */
    CMLP_E_BUSY = -4,        /* a layer is being trained by another call */
    CMLP_E_FORKED = -5,      /* in the child of a fork that the poll function made: the other threads of the
                                call stayed with the parent, and its layers may be in the middle of a step */
    CMLP_E_FILE = -6,        /* a file cannot be opened, read or written */
    CMLP_E_FORMAT = -7       /* a file is damaged, or none of those that are read */
} cmlp_status;

/* What a status means, in a few words.  For any number; never NULL. */
const char *cmlp_strerror(cmlp_status status);
/* What was wrong in the last call of this thread that returned an error, in one line that names the argument
 * or the file, what came and what was expected: "spec->n_in is 0; expected 1 or more".  "" before the first
 * one; calls that succeed leave it as it is.  The text changes with the next error of the thread. */
const char *cmlp_last_error(void);

typedef enum { CMLP_F32, CMLP_F64 } cmlp_dtype;

#define CMLP_ENUM_ACTIVATION(id, name, default_p, source, f, df) CMLP_##id,
#define CMLP_ENUM_LOSS(id, name, default_p, on_logits, value, slope) CMLP_##id,
#define CMLP_ENUM_OPTIMIZER(id, name, first, second, body) CMLP_##id,
typedef enum { CMLP_ACTIVATIONS(CMLP_ENUM_ACTIVATION) CMLP_SOFTMAX, CMLP_N_ACTIVATIONS } cmlp_activation;
typedef enum { CMLP_LOSSES(CMLP_ENUM_LOSS) CMLP_SOFTMAX_CROSS_ENTROPY, CMLP_N_LOSSES } cmlp_loss;
typedef enum { CMLP_OPTIMIZERS(CMLP_ENUM_OPTIMIZER) CMLP_N_OPTIMIZERS } cmlp_optimizer_kind;

/* ---- instruction sets and threads ---- */

/* Names of the sets that this build has and this processor can run, best first, NULL at the end. */
const char *const *cmlp_isas(void);
/* The set in use for layers made from now on: the best, or CMLP_ISA from the environment. */
const char *cmlp_isa(void);
cmlp_status cmlp_set_isa(const char *name);
/* A CMLP_ISA that cannot be used, or NULL. */
const char *cmlp_isa_refused(void);
int cmlp_has_openmp(void);
/* Threads that the calling thread gets where 0 is asked for: as many as its affinity, the control groups,
 * OMP_THREAD_LIMIT and OMP_NUM_THREADS allow; 1 within an OpenMP region. */
int cmlp_default_threads(void);
/* 0: calls get as many threads as they ask for, for tests on few processors.  1, the default: no more than
 * the calling thread has processors. */
void cmlp_limit_threads(int on);

/* ---- what there is, by name; -1 or NULL where unknown ---- */

int cmlp_activation_id(const char *name);
const char *cmlp_activation_name(int id);
double cmlp_activation_default(int id); /* CMLP_NO_PARAM: it has none */
int cmlp_loss_id(const char *name);
const char *cmlp_loss_name(int id);
double cmlp_loss_default(int id);
int cmlp_optimizer_id(const char *name);
const char *cmlp_optimizer_name(int id);
int cmlp_optimizer_slots(int id);
const char *cmlp_optimizer_slot_name(int id, int slot); /* slot from 0 on */

/* How an output activation goes with a loss: the loss works on the activation's input (the pair's delta is
 * y - t), or on its output by the chain rule, or not at all. */
typedef enum { CMLP_REFUSED, CMLP_FUSED, CMLP_CHAIN } cmlp_pair;
cmlp_pair cmlp_pair_mode(int activation, int loss);

/* ---- layers ---- */

typedef enum {
    CMLP_DENSE,
    CMLP_ACTIVATION,
    CMLP_PRELU,
    CMLP_RRELU,
    CMLP_DROPOUT,
    CMLP_CONV,
    CMLP_MAX_POOL,
    CMLP_AVERAGE_POOL,
    CMLP_RESHAPE,
    CMLP_SUBSAMPLE
} cmlp_layer_kind;

int cmlp_layer_kind_id(const char *name); /* "dense", "activation", ...; -1 where unknown */
const char *cmlp_layer_kind_name(int kind); /* NULL where unknown */

/* A shape without its batch; a flat one is (n, 1, 1). */
typedef struct {
    size_t channels, height, width;
} cmlp_extent;

typedef struct {
    cmlp_layer_kind kind;
    size_t n_in, n_out; /* 1 or more; equal except for CMLP_DENSE, CMLP_CONV and pooling */
    int activation; /* a cmlp_activation.  CMLP_DENSE, CMLP_CONV, CMLP_SUBSAMPLE: fused; CMLP_ACTIVATION: the
                       function */
    double param[2]; /* of the activation: leaky_relu [0, inf), elu (0, inf); dropout: the rate [0, 1); rrelu:
                        lower [0, inf) and upper [lower, inf) slope; prelu: the first slope, finite */
    int bias; /* CMLP_DENSE, CMLP_CONV: 0 leaves the bias out */
    /* Layers of planes, whose samples are (channels, height, width) in C order; n_in and n_out are the
     * numbers in these shapes.  CMLP_RESHAPE takes any shape of n_in numbers and gives `out`. */
    cmlp_extent in, out;
    size_t kernel[2], stride[2]; /* rows, columns; of convolution and pooling */
    size_t pad[4]; /* top, left, bottom, right, less than the kernel: zeros; max pooling: minus infinity */
    /* Convolution: (channels out, channels in), which input feeds which output; NULL: all.  The weight is
     * then (connections, rows, columns), in C order of the table.  Read when the layer is made. */
    const unsigned char *connections;
    size_t ragged[2]; /* average pooling: of those at the bottom and right, what a mean does not count */
} cmlp_layer_spec;

/* The output shape of such a layer for an input shape; CMLP_E_ARGUMENT if that does not fit. */
cmlp_status cmlp_layer_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out);

enum { CMLP_WEIGHT, CMLP_BIAS, CMLP_MOST_PARTS }; /* the parts of a dense layer; the most that a layer has */
/* A part of a layer's parameters.  Dense layers have a weight (n_out, n_in) and a bias (n_out), a PReLU its
 * slopes (n_out). */
typedef struct {
    const char *name;
    int ndim;
    size_t shape[4];
    int decays; /* weight decay and L1 act on it */
    double start; /* its values in a new layer */
} cmlp_part;

typedef struct cmlp_layer cmlp_layer;

/* Parameters start as their parts say: zeros, PReLU's slopes as param[0]. */
cmlp_status cmlp_layer_new(cmlp_dtype dtype, const cmlp_layer_spec *spec, cmlp_layer **out);
void cmlp_layer_free(cmlp_layer *layer);
const cmlp_layer_spec *cmlp_layer_get_spec(const cmlp_layer *layer);
const char *cmlp_layer_isa(const cmlp_layer *layer);
/* The layer's parts, in the order of the flat vector: `part` is from 0 to cmlp_layer_parts(layer) - 1. */
int cmlp_layer_parts(const cmlp_layer *layer);
const cmlp_part *cmlp_layer_part(const cmlp_layer *layer, int part);
/* Elements of a part in the user's layout; 0 if the layer does not have it. */
size_t cmlp_layer_count(const cmlp_layer *layer, int part);
cmlp_status cmlp_layer_set(cmlp_layer *layer, int part, const void *values);
cmlp_status cmlp_layer_get(const cmlp_layer *layer, int part, void *values);
/* Gradients of the last backward pass, zeros before. */
cmlp_status cmlp_layer_set_grad(cmlp_layer *layer, int part, const void *values);
cmlp_status cmlp_layer_get_grad(const cmlp_layer *layer, int part, void *values);
/* Off: plans and optimizers made from now on leave its parameters alone and spend nothing on their gradients,
 * which are zeros.  On at first. */
void cmlp_layer_set_trainable(cmlp_layer *layer, int on);
int cmlp_layer_trainable(const cmlp_layer *layer);

/* ---- the parameters of a net's layers as one vector: layer after layer, part after part, each in C order
 * ---- */

typedef enum { CMLP_VALUES, CMLP_GRADIENTS } cmlp_what;

/* Moves the parameters of layers of one type and instruction set into one block, in the order of the flat
 * vector, each part packed.  Nobody else may use the layers meanwhile; plans stay valid. */
cmlp_status cmlp_layers_join(cmlp_layer *const *layers, size_t n_layers);
size_t cmlp_flat_count(cmlp_layer *const *layers, size_t n_layers);
cmlp_status cmlp_flat_get(cmlp_layer *const *layers, size_t n_layers, cmlp_what what, void *values);
cmlp_status cmlp_flat_set(cmlp_layer *const *layers, size_t n_layers, cmlp_what what, const void *values);
/* w <- (1 - tau) w + tau w_other, over layers of the same shapes, type and instruction set. */
cmlp_status cmlp_flat_lerp(cmlp_layer *const *layers, cmlp_layer *const *others, size_t n_layers, double tau);

/* Keeps everybody but their holder from training the layers; CMLP_E_BUSY if one of them is held or being
 * trained.  A run whose `held` is set is the holder's. */
cmlp_status cmlp_layers_hold(cmlp_layer *const *layers, size_t n_layers);
void cmlp_layers_release(cmlp_layer *const *layers, size_t n_layers);

/* ---- starting values ---- */

/* Normal or uniform, of mean 0 and a deviation by a layer's widths: He sqrt(2 / n_in), Xavier sqrt(1 / n_in),
 * Glorot sqrt(2 / (n_in + n_out)). */
typedef enum {
    CMLP_HE_NORMAL,
    CMLP_HE_UNIFORM,
    CMLP_XAVIER_NORMAL,
    CMLP_XAVIER_UNIFORM,
    CMLP_GLOROT_NORMAL,
    CMLP_GLOROT_UNIFORM
} cmlp_initializer;

/* Draws a layer's weights; its other parts get their start values.  The values follow from init, seed and
 * stream, a number for each layer of a net; they are not those that the Python package draws from a seed. */
cmlp_status cmlp_layer_init(cmlp_layer *layer, cmlp_initializer init, uint64_t seed, uint64_t stream);
/* Layer i of a net from stream i: CMLP_HE_NORMAL before rectifiers and their smooth forms, CMLP_XAVIER_NORMAL
 * before all else. */
cmlp_status cmlp_init_layers(cmlp_layer *const *layers, size_t n_layers, uint64_t seed);

/* ---- optimizers ---- */

/* Which of these a kind looks at, and what it does with them, is in updates.h; the others must be in their
 * range too.  Start from cmlp_optimizer_defaults: a structure of zeros is refused where eps may not be 0. */
typedef struct {
    int kind; /* a cmlp_optimizer_kind */
    double momentum; /* [0, 1) */
    double nesterov; /* not 0: Nesterov's form of it */
    double weight_decay, l1; /* [0, inf); on parts that decay */
    double beta1, beta2; /* [0, 1) */
    double eps; /* (0, inf); [0, inf) for CMLP_SGD */
    double rho; /* [0, 1) */
    double clip_value, clip_norm; /* [0, inf); 0: gradients are not clipped */
    double decay_over_batch; /* not 0: weight_decay and l1 are divided by the minibatch's rows */
    double eps_inside; /* not 0: Adam's eps is not scaled by the bias correction */
} cmlp_optimizer_spec;

typedef struct cmlp_optimizer cmlp_optimizer;

/* The usual settings of a kind: beta1 0.9, beta2 0.999, rho 0.9 (Adadelta: 0.95), eps 1e-8 (Adagrad: 1e-10),
 * AdamW's weight_decay 0.01, all others 0. */
cmlp_optimizer_spec cmlp_optimizer_defaults(int kind);

cmlp_status cmlp_optimizer_new(const cmlp_optimizer_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                               cmlp_optimizer **out);
void cmlp_optimizer_free(cmlp_optimizer *opt);
/* Settings may change between steps; the kind may not. */
cmlp_optimizer_spec *cmlp_optimizer_settings(cmlp_optimizer *opt);
uint64_t cmlp_optimizer_steps(const cmlp_optimizer *opt);
void cmlp_optimizer_set_steps(cmlp_optimizer *opt, uint64_t steps);
/* A slot of the optimizer's state, in the order of the flat vector. */
cmlp_status cmlp_optimizer_get_slot(const cmlp_optimizer *opt, int slot, void *values);
cmlp_status cmlp_optimizer_set_slot(cmlp_optimizer *opt, int slot, const void *values);
/* One update of every trainable layer from the gradients in it, those of a minibatch of so many rows. */
cmlp_status cmlp_optimizer_step(cmlp_optimizer *opt, double lr, size_t rows);

/* ---- model files: what `net.save` of the Python package writes, and cmlp.load reads ---- */

typedef struct {
    cmlp_dtype dtype;
    uint64_t seed;
    size_t n_layers;
    cmlp_layer **layers; /* (n_layers) */
    char *about; /* what else the file says of the net, as the text of a JSON object: "classes", the labels of
                    a classifier; "link", from outputs to probabilities; "metadata".  NULL: nothing */
} cmlp_model;

/* Reads a net, or that of a checkpoint.  Nothing in a file is trusted: damaged or inconsistent ones give
 * CMLP_E_FORMAT before memory of the size that they claim is allocated, and so do layers written in Python,
 * more than 2^31 parameters, numbers that are not finite.  To be freed by cmlp_model_free, after an error
 * too, which leaves it empty.  Layers that were saved frozen are not trainable. */
cmlp_status cmlp_load(const char *path, cmlp_model *model);
void cmlp_model_free(cmlp_model *model);
/* Writes a net: all of the file or nothing, what was at the path before is replaced at the end. */
cmlp_status cmlp_save(const char *path, const cmlp_model *model);

/* ---- random views of images, to train on ---- */

/* A view is `height` rows and `width` columns of an image of (channels, height, width) numbers: from a place
 * drawn evenly among all where it lies inside, or up to `shift` pixels outside, turned by up to `rotate`
 * degrees either way about its middle, and its pixels moved by two random fields: numbers from -elastic to
 * elastic, smoothed by a Gaussian of a deviation of `smoothness` pixels (zeros outside the view).  Places
 * between pixels are interpolated linearly; `fill` is outside.  What is drawn follows from a seed, the
 * number of the step, and the place in the minibatch. */
typedef struct {
    cmlp_extent image; /* sides 1 to 32768 */
    size_t height, width; /* 1 to those of the image */
    size_t shift; /* less than height and width */
    double rotate; /* [0, 180] */
    double elastic; /* [0, 1e6]; 0: none */
    double smoothness; /* [0.01, 64], where there is an elastic */
    double fill; /* [-1e30, 1e30] */
} cmlp_view_spec;

/* y (n, view) = views of x (n, image), those of rows row.. of a minibatch in step t of a training with this
 * seed.  y may not overlap x. */
cmlp_status cmlp_views(cmlp_dtype dtype, const cmlp_view_spec *spec, size_t n, const void *x, uint64_t seed,
                       uint64_t t, size_t row, void *y);

/* ---- plans ---- */

typedef struct cmlp_plan cmlp_plan;

typedef struct {
    int loss; /* a cmlp_loss, or -1 for none, without an optimizer only */
    double loss_param; /* huber: where it turns linear, (0, inf); softmax cross-entropy: label smoothing, [0,
                          1) */
    size_t batch; /* most rows of a minibatch, 1 or more */
    int n_threads; /* most threads; 0 or less: cmlp_default_threads() */
    uint64_t seed; /* of the order of samples and of random factors */
    size_t first_layer; /* place of the first layer in a net of several plans: layers draw by their place */
} cmlp_plan_spec;

/* Data to train on: exactly one of labels and t.  Nothing is copied or changed. */
typedef struct {
    const void *x; /* (n, n_in) */
    const int64_t *labels; /* (n), 0..n_out-1 */
    const void *t; /* (n, n_out) */
    const void *weight; /* (n), each >= 0, or NULL: factors of the samples' losses; a minibatch's loss is the
                         * sum of these products divided by its rows */
    size_t n;
    const int64_t *rows; /* (n): which rows of the arrays these are, which then may have any number of them;
                            for cmlp_fit and jobs.  NULL: the first n */
} cmlp_data;

/* Where training stands.  The order of samples is a function of the seed and the epoch. */
typedef struct {
    uint64_t epoch, step; /* epochs done; steps done in this one */
    double loss_sum; /* of the rows of the epoch so far */
} cmlp_cursor;

typedef struct {
    uint64_t epochs; /* to run, counted from the cursor's epoch; 1 or more */
    uint64_t max_steps; /* stop after so many steps; 0: no limit */
    int shuffle;
    const int64_t *order; /* (epochs, n) samples in the order wanted, shuffle is then not looked at;
                             or NULL */
    uint64_t epoch_rows, first; /* the data are a window of an epoch of epoch_rows samples, the first of them
                                   number `first` in it, a multiple of the batch size; the window ends with a
                                   whole minibatch or with the epoch, epochs is 1, and shuffle is not looked
                                   at.  0, 0: the data are all of an epoch */
    const double *lr; /* one value, finite, or one for every step to come */
    size_t n_lr;
    const double *momentum; /* likewise; NULL: the optimizer's setting */
    size_t n_momentum;
    double *losses; /* (epochs) mean loss of each epoch finished here */
    double *norms; /* (epochs) or NULL: of each epoch, the mean over its steps of the sum of
                      squares of all weights before the step; with this plan from the epoch's start */
    uint64_t n_losses; /* out: how many */
    int (*poll)(void *ctx); /* called by the calling thread about every 50 ms; not 0: stop */
    void *poll_ctx;
    int held; /* not 0: the caller holds the layers (cmlp_layers_hold) */
    const int *pause; /* or NULL: another thread sets it to not 0 to pause the run after the step under way */
} cmlp_run;

/* optimizer may be NULL: such a plan only computes (forward, backward, predict). */
cmlp_status cmlp_plan_new(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                          cmlp_optimizer *opt, cmlp_plan **out);
/* A plan for another net of the same shapes, type and trainable layers, which shares the layout of `like`:
 * the memory is its own.  opt as in `like`: one, or NULL. */
cmlp_status cmlp_plan_like(const cmlp_plan *like, uint64_t seed, cmlp_layer *const *layers, size_t n_layers,
                           cmlp_optimizer *opt, cmlp_plan **out);
/* From now on cmlp_fit, cmlp_step and cmlp_gradient take images, x (n, image), and compute on views of them,
 * drawn by the plan's seed and the optimizer's steps (the number of the draw without one); spec NULL: on
 * samples as they are.  A view has as many numbers as the plan has inputs.  Not taken over by
 * cmlp_plan_like. */
cmlp_status cmlp_plan_augment(cmlp_plan *plan, const cmlp_view_spec *spec);
void cmlp_plan_free(cmlp_plan *plan);
cmlp_cursor *cmlp_plan_cursor(cmlp_plan *plan);
/* The parameters that a diverging cmlp_fit goes back to: those with which the last epoch began whose first
 * loss was finite, whatever the calls it was cut into.  In the order of cmlp_flat_get.  get: whether there
 * are any; values may be NULL.  set: before a plan goes on with another's training; NULL where training
 * begins anew. */
int cmlp_plan_get_good(const cmlp_plan *plan, void *values);
cmlp_status cmlp_plan_set_good(cmlp_plan *plan, const void *values);
/* The number that random layers draw by in the next cmlp_forward or cmlp_gradient; it counts up from there,
 * at first from 0.  Training draws by the optimizer's steps instead. */
void cmlp_plan_seek(cmlp_plan *plan, uint64_t draw);
int cmlp_plan_threads(const cmlp_plan *plan);
size_t cmlp_plan_bytes(const cmlp_plan *plan);

/* Whole epochs from where the cursor stands.  Returns CMLP_OK, PAUSED, STOPPED, DIVERGED or an error. */
cmlp_status cmlp_fit(cmlp_plan *plan, const cmlp_data *data, cmlp_run *run);
/* One minibatch of data->n <= batch rows; *loss: its mean loss before the update. */
cmlp_status cmlp_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss);
/* The same without an update, for a plan without optimizer: the gradients are left in the layers. */
cmlp_status cmlp_gradient(cmlp_plan *plan, const cmlp_data *data, double *loss);
/* 1 if all n numbers are finite and from low to high, both of which may be infinite. */
int cmlp_all_within(cmlp_dtype dtype, size_t n, const void *x, double low, double high);
/* y (n, n_out) = outputs of x (n, n_in), any n; logits: without the output activation of a fused pair.
 * y may not overlap x. */
cmlp_status cmlp_predict(const cmlp_plan *plan, size_t n, const void *x, int logits, void *y);
/* The same for n <= batch rows, keeping what backward needs. */
cmlp_status cmlp_forward(cmlp_plan *plan, size_t n, const void *x, int training, void *y);
/* Gradients of the last forward's rows, given dy (n, n_out): left in the layers; dx (n, n_in) or NULL. */
cmlp_status cmlp_backward(cmlp_plan *plan, const void *dy, void *dx);
/* Norm of dL/du of each layer in the last backward pass; norms (n_layers). */
cmlp_status cmlp_deltas(const cmlp_plan *plan, double *norms);

/* ---- many nets in one call: threads take whole nets, and no bit of a net depends on the others ---- */

/* What nets have in common that are trained alike. */
typedef struct {
    cmlp_dtype dtype;
    const cmlp_layer_spec *layers; /* (n_layers) */
    size_t n_layers;
    const unsigned char *frozen; /* (n_layers) not 0: the layer is not trained; NULL: all are */
    cmlp_plan_spec plan; /* seed and n_threads are not looked at */
} cmlp_net_spec;

/* One net to be trained as by cmlp_fit.  Any number of jobs may share a net's spec and the data; what is
 * written is each job's own. */
typedef struct {
    const cmlp_net_spec *net;
    cmlp_optimizer_spec optimizer;
    uint64_t seed; /* of the order of samples and of random factors */
    void *values; /* in, out: the parameters, in the order of the flat vector */
    void *slots[2]; /* in, out: the optimizer's state likewise; all NULL: it begins with zeros and is not kept
                     */
    uint64_t steps; /* in, out: updates so far */
    cmlp_cursor cursor; /* in, out */
    cmlp_data data;
    cmlp_run run; /* of it epochs, shuffle, order, lr, momentum and losses are looked at */
    cmlp_data held_out; /* for a score after each epoch; n = 0: none */
    double *scores; /* (epochs) mean losses of the held-out data; NULL without them */
    uint64_t patience; /* stop after so many epochs in a row without a better score (the epoch's own loss
                          without held-out data); 0: never */
    double min_delta; /* a smaller change is not better */
    void *best_values; /* in, out: the parameters of the best epoch; NULL: they are not kept */
    void *good_values; /* in, out: what divergence goes back to (cmlp_plan_get_good), if has_good; NULL: each
                          call begins anew */
    int has_good; /* in, out */
    double best; /* in, out, as are the next two: the best score; NaN before the first */
    uint64_t best_epoch, waited; /* the cursor's epoch after it; epochs since */
    cmlp_status status; /* out: as of cmlp_fit; CMLP_PAUSED where it was not begun */
    double seconds; /* out: that its training took */
} cmlp_job;

typedef struct {
    int n_threads; /* most threads; 0 or less: cmlp_default_threads() */
    /* Called by the calling thread about every 50 ms with the number of jobs that are done and the best score
     * (or last loss) of those; not 0: stop.  NULL: nobody is asked. */
    int (*poll)(void *ctx, size_t done, double best);
    void *poll_ctx;
} cmlp_many;

/* Trains all jobs, the first ones first, each on one thread; the last ones on several where fewer are left
 * than threads and each has work for all.  A job that diverges or fails leaves the others alone.  Returns
 * CMLP_OK, CMLP_STOPPED where poll asked for it (jobs under way stop between two steps), or the first error,
 * also in a job's status; jobs with an error are as before. */
cmlp_status cmlp_fit_many(cmlp_job *jobs, size_t n_jobs, const cmlp_many *many);

/* Outputs of n_nets nets, whose flat vectors are in `values`, for the same rows x (n, n_in): y (n_nets, n,
 * n_out), and over the nets their mean and standard deviation (n, n_out), that of the population; each may be
 * NULL.  nets: (n_nets), with the same n_in, n_out and dtype; activation: of the outputs, as in cmlp_softmax
 * and cmlp_activation_forward, or CMLP_IDENTITY. */
cmlp_status cmlp_predict_many(const cmlp_net_spec *const *nets, const void *const *values, size_t n_nets,
                              size_t n, const void *x, int activation, const cmlp_many *many, void *y,
                              void *mean, void *deviation);

/* ---- kernels on plain arrays: C-contiguous, w (n_out, n_in); outputs are overwritten and may not overlap
 * inputs unless said; n_threads as in cmlp_plan_spec ---- */

typedef struct {
    cmlp_dtype dtype;
    size_t batch, n_in, n_out;
    int n_threads;
} cmlp_shape;

/* y = f(x w^T + b); b may be NULL */
cmlp_status cmlp_dense_forward(const cmlp_shape *shape, const void *x, const void *w, const void *b,
                               int activation, double param, void *y);
/* dx = (dy w) f'(.), with f' from y (batch, n_in), the output of the activation before (its input where the
 * derivative is written in that); y may be NULL: no activation */
cmlp_status cmlp_dense_backward_dx(const cmlp_shape *shape, const void *dy, const void *w, const void *y,
                                   int activation, double param, void *dx);
/* dw (n_out, n_in) = dy^T x and db (n_out) = sum of dy over the batch */
cmlp_status cmlp_dense_backward_dw(const cmlp_shape *shape, const void *dy, const void *x, void *dw,
                                   void *db);
/* The same gradients used at once for step number t on w and b; slots: of w, then of b, as many as the
 * optimizer has; no gradient is stored */
cmlp_status cmlp_dense_backward_update(const cmlp_shape *shape, const void *dy, const void *x, void *w,
                                       void *b, const cmlp_optimizer_spec *spec, void *const *slots,
                                       double lr, uint64_t t);
/* y = f(x) over n elements (softmax: rows of n_out of shape); y may be x */
cmlp_status cmlp_activation_forward(const cmlp_shape *shape, int activation, double param, const void *x,
                                    void *y);
/* dx = dy f'(s), s the activation's output, or its input where the derivative is written in that */
cmlp_status cmlp_activation_backward(const cmlp_shape *shape, int activation, double param, const void *dy,
                                     const void *s, void *dx);
int cmlp_activation_needs_input(int activation);
cmlp_status cmlp_softmax(const cmlp_shape *shape, int as_log, const void *x, void *y);
/* Mean loss of z (batch, n_out), each row's times its weight unless that is NULL, and, unless dz is NULL, its
 * gradient. */
cmlp_status cmlp_loss_delta(const cmlp_shape *shape, int loss, double param, const void *z,
                            const int64_t *labels, const void *t, const void *weight, void *dz,
                            double *value);
/* Step number t over n elements; s1, s2: the slots */
cmlp_status cmlp_update(cmlp_dtype dtype, const cmlp_optimizer_spec *spec, size_t n, void *w, const void *dw,
                        void *s1, void *s2, double lr, uint64_t t, int n_threads);
/* Floating-point operations a second of independent multiply-adds in registers. */
double cmlp_fma_peak(cmlp_dtype dtype, int n_threads, double seconds);

/* The order of n samples in an epoch. */
void cmlp_permutation(uint64_t n, uint64_t seed, uint64_t epoch, int64_t *order);

#ifdef __cplusplus
}
#endif
#endif
