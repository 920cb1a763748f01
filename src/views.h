/* Random views of images: crops, shifts, rotations and elastic distortions, each a function of the seed, the
 * step and the place in the minibatch. */
#ifndef CMLP_VIEWS_H
#define CMLP_VIEWS_H

#include "internal.h"

typedef struct {
    cmlp_view_spec spec;
    const cmlp_kernels *k;
    size_t image, view;   /* numbers in an image and in a view */
    size_t radius;        /* of the blur */
    char *weights;        /* (radius + 1) of it; NULL: no elastic distortion */
    size_t scratch_bytes; /* that a view wants */
} viewer;

cmlp_status cmlp_viewer_new(const cmlp_view_spec *spec, cmlp_dtype dtype, viewer **out);
void cmlp_viewer_free(viewer *v);
/* y (view) = what a training with this seed sees in step t of the image x (image) at this place of its
 * minibatch.  scratch: scratch_bytes, aligned to a cache line. */
void cmlp_view(const viewer *v, uint64_t seed, uint64_t t, size_t row, const char *x, char *y, char *scratch);

#endif
