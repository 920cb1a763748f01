/* Random views of images.  What is drawn for one comes from Philox by its place alone (rng.c). */
#include "views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RADIANS 0.017453292519943295769
#define MOST_ELASTIC 1e6
#define MOST_SMOOTHNESS 64.0

/* ---- what is wanted ---- */

static cmlp_status check_range(const char *name, double value, double low, double high)
{
    return value >= low && value <= high
               ? CMLP_OK
               : cmlp_fail(CMLP_E_ARGUMENT, "spec->%s is %g; expected %g to %g", name, value, low, high);
}

static cmlp_status check_size(const char *name, size_t value, size_t most)
{
    return value && value <= most
               ? CMLP_OK
               : cmlp_fail(CMLP_E_ARGUMENT, "spec->%s is %zu; expected 1 to %zu", name, value, most);
}

static cmlp_status check_spec(const cmlp_view_spec *s)
{
    enum { MOST = 1 << 15 };
    cmlp_status status = check_size("image.channels", s->image.channels, MOST);
    if (!status)
        status = check_size("image.height", s->image.height, MOST);
    if (!status)
        status = check_size("image.width", s->image.width, MOST);
    if (!status)
        status = check_size("height", s->height, s->image.height);
    if (!status)
        status = check_size("width", s->width, s->image.width);
    if (!status && s->shift >= cmlp_min(s->height, s->width))
        status = cmlp_fail(CMLP_E_ARGUMENT, "spec->shift is %zu; expected less than %zu, the view's side",
                           s->shift, cmlp_min(s->height, s->width));
    if (!status)
        status = check_range("rotate", s->rotate, 0.0, 180.0);
    if (!status)
        status = check_range("elastic", s->elastic, 0.0, MOST_ELASTIC);
    if (!status && s->elastic > 0.0)
        status = check_range("smoothness", s->smoothness, 0.01, MOST_SMOOTHNESS);
    return status ? status : check_range("fill", s->fill, -1e30, 1e30);
}

/* A Gaussian cut off at three deviations, with sum 1 over both sides. */
static cmlp_status make_weights(viewer *v)
{
    double deviation = v->spec.smoothness, sum = 0.0;
    v->radius = (size_t)ceil(3.0 * deviation);
    v->weights = cmlp_alloc((v->radius + 1) * v->k->size);
    if (!v->weights)
        return cmlp_no_memory();
    for (size_t i = 0; i <= v->radius; i++)
        sum += (i ? 2.0 : 1.0) * exp(-0.5 * (double)(i * i) / (deviation * deviation));
    for (size_t i = 0; i <= v->radius; i++)
        cmlp_set_element(v->k->dtype, v->weights, i,
                         exp(-0.5 * (double)(i * i) / (deviation * deviation)) / sum);
    return CMLP_OK;
}

cmlp_status cmlp_viewer_new(const cmlp_view_spec *spec, cmlp_dtype dtype, viewer **out)
{
    NEED(spec);
    cmlp_status status = check_spec(spec);
    if (status)
        return status;
    viewer *v = calloc(1, sizeof *v);
    if (!v)
        return cmlp_no_memory();
    v->spec = *spec;
    v->k = cmlp_kernels_for(dtype);
    v->image = spec->image.channels * spec->image.height * spec->image.width;
    v->view = spec->image.channels * spec->height * spec->width;
    if (spec->elastic > 0.0) {
        v->scratch_bytes = cmlp_round_up(3 * spec->height * spec->width * v->k->size, CMLP_LINE);
        status = make_weights(v);
    }
    if (status)
        cmlp_viewer_free(v);
    else
        *out = v;
    return status;
}

void cmlp_viewer_free(viewer *v)
{
    if (!v)
        return;
    cmlp_free(v->weights);
    free(v);
}

/* ---- a view ---- */

/* What is drawn for a view, beside its fields. */
typedef struct {
    ptrdiff_t top, left;
    double angle;
} placement;

static void keys(uint64_t seed, uint32_t key[2])
{
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32) ^ 1; /* layers change the upper half of it */
}

/* One of the places from -shift to rest + shift. */
static ptrdiff_t offset(uint32_t bits, size_t rest, size_t shift)
{
    return (ptrdiff_t)((uint64_t)bits * (rest + 2 * shift + 1) >> 32) - (ptrdiff_t)shift;
}

static placement draw(const cmlp_view_spec *s, uint64_t seed, uint64_t t, size_t row)
{
    /* the fields count from 0 on */
    const uint32_t counter[4] = {UINT32_MAX, (uint32_t)row, (uint32_t)t, (uint32_t)(t >> 32)};
    uint32_t key[2], out[4];
    keys(seed, key);
    cmlp_philox(counter, key, out);
    return (placement){.top = offset(out[0], s->image.height - s->height, s->shift),
                       .left = offset(out[1], s->image.width - s->width, s->shift),
                       .angle = s->rotate * RADIANS * ((double)out[2] * 0x1p-31 - 1.0)};
}

/* Two fields of numbers from -elastic to elastic, smoothed. */
static void draw_fields(const viewer *v, uint64_t seed, uint64_t t, size_t row, char *fields)
{
    const cmlp_view_spec *s = &v->spec;
    size_t n = s->height * s->width, bytes = n * v->k->size;
    /* Slopes are drawn for negative numbers. */
    cmlp_random_args args = {.t = t, .row = row, .slopes = 1, .low = -s->elastic, .high = s->elastic};
    keys(seed, args.key);
    for (size_t i = 0; i < 2 * n; i++)
        cmlp_set_element(v->k->dtype, fields, i, -1.0);
    v->k->random_factors(1, 2 * n, 2 * n, fields, &args, fields);
    for (int i = 0; i < 2; i++)
        v->k->blur(s->height, s->width, v->radius, v->weights, fields + (size_t)i * bytes,
                   fields + 2 * bytes);
}

static void fill(const viewer *v, char *y, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        cmlp_set_element(v->k->dtype, y, i, v->spec.fill);
}

/* Whole pixels, row by row; what lies outside is filled. */
static void copy_pixels(const viewer *v, const placement *at, const char *x, char *y)
{
    const cmlp_view_spec *s = &v->spec;
    ptrdiff_t columns = (ptrdiff_t)s->width, width = (ptrdiff_t)s->image.width;
    ptrdiff_t begin = at->left < 0 ? -at->left : 0;
    ptrdiff_t end = at->left + columns > width ? width - at->left : columns;
    size_t size = v->k->size, place = 0;
    for (size_t c = 0; c < s->image.channels; c++)
        for (size_t i = 0; i < s->height; i++, place += s->width) {
            ptrdiff_t row = at->top + (ptrdiff_t)i;
            int inside = row >= 0 && row < (ptrdiff_t)s->image.height && begin < end;
            ptrdiff_t from = inside ? begin : 0, to = inside ? end : 0;
            fill(v, y, place, place + (size_t)from);
            fill(v, y, place + (size_t)to, place + s->width);
            if (inside)
                memcpy(
                    y + (place + (size_t)from) * size,
                    x + ((c * s->image.height + (size_t)row) * s->image.width + (size_t)(at->left + from)) *
                            size,
                    (size_t)(to - from) * size);
        }
}

void cmlp_view(const viewer *v, uint64_t seed, uint64_t t, size_t row, const char *x, char *y, char *scratch)
{
    const cmlp_view_spec *s = &v->spec;
    const placement at = draw(s, seed, t, row);
    if (!v->weights && s->rotate == 0.0) {
        copy_pixels(v, &at, x, y);
        return;
    }
    if (v->weights)
        draw_fields(v, seed, t, row, scratch);
    const cmlp_warp_args args = {.channels = s->image.channels,
                                 .height = s->image.height,
                                 .width = s->image.width,
                                 .rows = s->height,
                                 .columns = s->width,
                                 .top = (double)at.top,
                                 .left = (double)at.left,
                                 .cosine = cos(at.angle),
                                 .sine = sin(at.angle),
                                 .fields = v->weights ? scratch : NULL,
                                 .fill = s->fill};
    v->k->warp(&args, x, y);
}

cmlp_status cmlp_views(cmlp_dtype dtype, const cmlp_view_spec *spec, size_t n, const void *x, uint64_t seed,
                       uint64_t t, size_t row, void *y)
{
    NEED(spec);
    NEED(x);
    NEED(y);
    viewer *v;
    cmlp_status status = cmlp_check_dtype(dtype);
    if (!status)
        status = cmlp_viewer_new(spec, dtype, &v);
    if (status)
        return status;
    char *scratch = v->scratch_bytes ? cmlp_borrow(v->scratch_bytes) : NULL;
    if (v->scratch_bytes && !scratch)
        status = cmlp_no_memory();
    for (size_t i = 0; !status && i < n; i++)
        cmlp_view(v, seed, t, row + i, (const char *)x + i * v->image * v->k->size,
                  (char *)y + i * v->view * v->k->size, scratch);
    if (scratch)
        cmlp_give_back(scratch);
    cmlp_viewer_free(v);
    return status;
}
