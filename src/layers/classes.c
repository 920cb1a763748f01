/* The classes of layers in model files, which the Python package calls by the same names: a line for each
 * kind and each activation. */
#include "classes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ANY -HUGE_VAL, HUGE_VAL, 1, 1
#define NOT_NEGATIVE 0.0, HUGE_VAL, 0, 1
#define POSITIVE 0.0, HUGE_VAL, 1, 1
#define BELOW_ONE 0.0, 1.0, 0, 1
#define NONE .name = NULL

#define FUNCTION(name, id, ...) {name, CMLP_ACTIVATION, id, 0, 0, {{__VA_ARGS__}}}
#define RECTIFIER(name, id, ...) {name, CMLP_ACTIVATION, id, 1, 0, {{__VA_ARGS__}}}
#define LAYER(name, kind, widths, ...) {name, kind, CMLP_IDENTITY, 0, widths, {__VA_ARGS__}}
static const layer_class classes[] = {
    LAYER("Dense", CMLP_DENSE, 1, {NONE}),
    LAYER("Conv2D", CMLP_CONV, 1, {NONE}),
    LAYER("MaxPool2D", CMLP_MAX_POOL, 0, {NONE}),
    LAYER("AvgPool2D", CMLP_AVERAGE_POOL, 0, {NONE}),
    LAYER("SubSample2D", CMLP_SUBSAMPLE, 1, {NONE}),
    LAYER("Reshape", CMLP_RESHAPE, 0, {NONE}),
    LAYER("Flatten", CMLP_RESHAPE, 0, {NONE}),
    LAYER("Dropout", CMLP_DROPOUT, 0, {"rate", 0.5, BELOW_ONE}),
    LAYER("PReLU", CMLP_PRELU, 0, {"init", 0.25, ANY}),
    LAYER("RReLU", CMLP_RRELU, 0, {"lower", 1.0 / 8, NOT_NEGATIVE}, {"upper", 1.0 / 3, NOT_NEGATIVE}),
    FUNCTION("Identity", CMLP_IDENTITY, NONE),
    FUNCTION("Sigmoid", CMLP_SIGMOID, NONE),
    FUNCTION("Tanh", CMLP_TANH, NONE),
    RECTIFIER("ReLU", CMLP_RELU, NONE),
    RECTIFIER("LeakyReLU", CMLP_LEAKY_RELU, "slope", 0.01, NOT_NEGATIVE),
    RECTIFIER("ELU", CMLP_ELU, "alpha", 1.0, POSITIVE),
    RECTIFIER("GELU", CMLP_GELU, NONE),
    RECTIFIER("SiLU", CMLP_SILU, NONE),
    RECTIFIER("Softplus", CMLP_SOFTPLUS, NONE),
    FUNCTION("Softsign", CMLP_SOFTSIGN, NONE),
    FUNCTION("ScaledTanh", CMLP_SCALED_TANH, NONE),
    FUNCTION("Step", CMLP_STEP, NONE),
    FUNCTION("Softmax", CMLP_SOFTMAX, NONE),
};
enum { N_CLASSES = sizeof classes / sizeof classes[0], OTHERS = 10 };
_Static_assert(N_CLASSES == OTHERS + CMLP_N_ACTIVATIONS, "each activation needs its class here");

const layer_class *cmlp_class_named(const char *name)
{
    for (int i = 0; i < N_CLASSES; i++)
        if (strcmp(classes[i].name, name) == 0)
            return &classes[i];
    return NULL;
}

static double lowest(const class_setting *s, int i, const double *param)
{
    return i ? fmax(s->low, param[0]) : s->low;
}

int cmlp_setting_fits(const layer_class *class, int i, const double *param)
{
    const class_setting *s = &class->settings[i];
    double low = lowest(s, i, param);
    return !s->name || (param[i] >= low && param[i] <= s->high && !(s->above && param[i] == low) &&
                        !(s->below && param[i] == s->high));
}

const char *cmlp_setting_range(const layer_class *class, int i, const double *param, char text[RANGE_TEXT])
{
    const class_setting *s = &class->settings[i];
    snprintf(text, RANGE_TEXT, "a number in %c%g, %g%c", s->above ? '(' : '[', lowest(s, i, param), s->high,
             s->below ? ')' : ']');
    return text;
}

/* Only an activation layer is told by its activation too. */
const layer_class *cmlp_class_of(const cmlp_layer_spec *spec)
{
    const layer_class *found = NULL;
    for (int i = 0; i < N_CLASSES; i++)
        if (classes[i].kind == (int)spec->kind && (!found || classes[i].activation == spec->activation))
            found = &classes[i];
    return found;
}

const layer_class *cmlp_class_with_settings(const cmlp_layer_spec *spec)
{
    const layer_class *found = cmlp_class_of(spec);
    for (int i = OTHERS; found->has_widths && i < N_CLASSES; i++)
        if (classes[i].activation == spec->activation)
            return &classes[i];
    return found;
}

int cmlp_rectifies(int activation)
{
    for (int i = OTHERS; i < N_CLASSES; i++)
        if (classes[i].activation == activation)
            return classes[i].rectifies;
    return 0;
}
