/* Starting values of weights. */
#include "layer.h"
#include "layers/classes.h"

#include <math.h>
#include <stdlib.h>

/* p[0] + p[1] x + ... + p[7] x^7 */
static double polynomial(const double p[8], double x)
{
    double sum = p[7];
    for (int i = 6; i >= 0; i--)
        sum = sum * x + p[i];
    return sum;
}

/* The inverse of the normal distribution function by Wichura, "Algorithm AS 241: the percentage points of the
 * normal distribution" (1988); to about 1 in 10^16. */
static double normal_quantile(double p)
{
    static const double near[2][8] = {
        {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
         1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
         3.3430575583588128105e+4, 2.5090809287301226727e+3},
        {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
         2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
         5.2264952788528545610e+3}};
    static const double tail[2][8] = {
        {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
         3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
         2.27238449892691845833e-2, 7.74545014278341407640e-4},
        {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
         1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
         1.05075007164441684324e-9}};
    static const double far[2][8] = {
        {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
         2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
         2.71155556874348757815e-5, 2.01033439929228813265e-7},
        {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
         2.04426310338993978564e-15}};
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(near[0], r) / polynomial(near[1], r);
    }
    double r = sqrt(-log(q < 0.0 ? p : 1.0 - p));
    const double (*c)[8] = r <= 5.0 ? tail : far;
    r -= r <= 5.0 ? 1.6 : 5.0;
    return copysign(polynomial(c[0], r) / polynomial(c[1], r), q);
}

/* Number k of a stream, uniform in (0, 1). */
static double uniform(uint64_t seed, uint64_t stream, uint64_t k)
{
    /* Apart from the numbers that shuffle samples under the same seed. */
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ 0x57656967u};
    const uint32_t counter[4] = {(uint32_t)(k / 2), (uint32_t)(k >> 33), (uint32_t)stream,
                                 (uint32_t)(stream >> 32)};
    uint32_t out[4];
    cmlp_philox(counter, key, out);
    uint64_t bits = (uint64_t)out[2 * (k % 2)] << 32 | out[2 * (k % 2) + 1];
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

typedef struct {
    int is_uniform;
    double (*deviation)(double n_in, double n_out);
} initializer;

static double he(double n_in, double n_out) { return (void)n_out, sqrt(2.0 / n_in); }
static double xavier(double n_in, double n_out) { return (void)n_out, sqrt(1.0 / n_in); }
static double glorot(double n_in, double n_out) { return sqrt(2.0 / (n_in + n_out)); }

static const initializer initializers[] = {
    [CMLP_HE_NORMAL] = {0, he},         [CMLP_HE_UNIFORM] = {1, he},
    [CMLP_XAVIER_NORMAL] = {0, xavier}, [CMLP_XAVIER_UNIFORM] = {1, xavier},
    [CMLP_GLOROT_NORMAL] = {0, glorot}, [CMLP_GLOROT_UNIFORM] = {1, glorot}};
enum { N_INITIALIZERS = sizeof initializers / sizeof initializers[0] };

/* Values of one part; the others of a layer draw from streams of their own. */
static void draw(const initializer *init, const cmlp_part *part, size_t n, uint64_t seed, uint64_t stream,
                 cmlp_dtype dtype, void *values)
{
    double n_out = (double)part->shape[0], n_in = (double)n / n_out, deviation = init->deviation(n_in, n_out);
    for (size_t k = 0; k < n; k++) {
        double u = uniform(seed, stream, k), value = part->start;
        if (part->ndim > 1)
            value = deviation * (init->is_uniform ? sqrt(3.0) * (2.0 * u - 1.0) : normal_quantile(u));
        cmlp_set_element(dtype, values, k, value);
    }
}

cmlp_status cmlp_layer_init(cmlp_layer *layer, cmlp_initializer init, uint64_t seed, uint64_t stream)
{
    NEED(layer);
    if ((int)init < 0 || (int)init >= N_INITIALIZERS)
        return cmlp_fail(CMLP_E_ARGUMENT, "init is %d; expected 0 to %d", (int)init, N_INITIALIZERS - 1);
    for (int part = 0; part < layer->n_parts; part++) {
        size_t n = cmlp_layer_count(layer, part);
        void *values = malloc(n * layer->k->size);
        if (!values)
            return cmlp_no_memory();
        draw(&initializers[init], cmlp_layer_part(layer, part), n, seed,
             CMLP_MOST_PARTS * stream + (uint64_t)part, layer->k->dtype, values);
        cmlp_layer_set(layer, part, values);
        free(values);
    }
    return CMLP_OK;
}

/* Whether a layer's outputs meet a rectifier first, or its smooth form: in the layer itself or behind it,
 * layers that compute nothing in prediction apart. */
static int before_rectifier(cmlp_layer *const *layers, size_t n, size_t i)
{
    if (layers[i]->spec.activation != CMLP_IDENTITY)
        return cmlp_rectifies(layers[i]->spec.activation);
    for (size_t k = i + 1; k < n; k++) {
        const layer_kind *kind = layers[k]->kind;
        if (kind->rectifies || kind->only_activates)
            return kind->rectifies || cmlp_rectifies(layers[k]->spec.activation);
        if (kind->takes_activation)
            return 0;
    }
    return 0;
}

cmlp_status cmlp_init_layers(cmlp_layer *const *layers, size_t n_layers, uint64_t seed)
{
    cmlp_status status = cmlp_check_layers(layers, n_layers);
    for (size_t i = 0; !status && i < n_layers; i++)
        status = cmlp_layer_init(
            layers[i], before_rectifier(layers, n_layers, i) ? CMLP_HE_NORMAL : CMLP_XAVIER_NORMAL, seed, i);
    return status;
}
