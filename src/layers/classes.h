/* What kinds of layers, and activations, are called in model files. */
#ifndef CMLP_CLASSES_H
#define CMLP_CLASSES_H

#include "../cmlp.h"

/* A number that a layer is made with; in its spec it is param[i]. */
typedef struct {
    const char *name;   /* NULL: no such */
    double usual;       /* where a file does not say */
    double low, high;   /* its range: all of it, */
    int above, below;   /* but for these ends where set */
} class_setting;

typedef struct {
    const char *name;
    int kind, activation;
    int rectifies; /* an activation: it is a rectifier, or a smooth form of one */
    int has_widths; /* n_in, n_out, activation, its param, and bias are settings of their own */
    class_setting settings[2]; /* the second is not below the first */
} layer_class;

/* NULL where there is none. */
const layer_class *cmlp_class_named(const char *name);
const layer_class *cmlp_class_of(const cmlp_layer_spec *spec);
/* The class whose settings the spec's param are: of a layer with an activation within, the activation's. */
const layer_class *cmlp_class_with_settings(const cmlp_layer_spec *spec);
/* Whether an activation is a rectifier, or a smooth form of one: He's starting values suit it. */
int cmlp_rectifies(int activation);
/* 1 if param[i] is in the range of that setting, or means nothing. */
int cmlp_setting_fits(const layer_class *class, int i, const double *param);
/* That range in words, "a number in [0, 1)"; returns the text. */
#define RANGE_TEXT 64
const char *cmlp_setting_range(const layer_class *class, int i, const double *param, char text[RANGE_TEXT]);

#endif
