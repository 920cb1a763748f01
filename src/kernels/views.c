/* Views of images whose pixels lie between those of the image, and the random fields that move them.  Shared
 * by the reference kernels: without fused products the numbers are the same everywhere. */
#include "kernels.h"

#ifdef CMLP_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* to += weight * from */
static void add_weighted(size_t n, real weight, const real *from, real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] += weight * from[i];
}

/* A row blurred: to (n) = sum over k of weights[|k|] from[. + k], zeros outside. */
static void blur_row(size_t n, size_t radius, const real *weights, const real *from, real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = weights[0] * from[i];
    for (size_t k = 1; k <= radius && k < n; k++) {
        add_weighted(n - k, weights[k], from + k, to);
        add_weighted(n - k, weights[k], from, to + k);
    }
}

void CMLP_NAME(blur)(size_t height, size_t width, size_t radius, const void *weights_, void *field_,
                     void *scratch_)
{
    const real *weights = weights_;
    real *field = field_, *rows = scratch_;
    for (size_t i = 0; i < height; i++)
        blur_row(width, radius, weights, field + i * width, rows + i * width);
    for (size_t i = 0; i < height; i++) {
        real *to = field + i * width;
        for (size_t j = 0; j < width; j++)
            to[j] = weights[0] * rows[i * width + j];
        for (size_t k = 1; k <= radius && k < height; k++) {
            if (i + k < height)
                add_weighted(width, weights[k], rows + (i + k) * width, to);
            if (i >= k)
                add_weighted(width, weights[k], rows + (i - k) * width, to);
        }
    }
}

/* A pixel of a plane, or what is outside. */
static real pixel(const cmlp_warp_args *a, const real *plane, ptrdiff_t i, ptrdiff_t j)
{
    int inside = i >= 0 && j >= 0 && i < (ptrdiff_t)a->height && j < (ptrdiff_t)a->width;
    return inside ? plane[i * (ptrdiff_t)a->width + j] : (real)a->fill;
}

/* The plane at a place between its pixels, linear in both directions. */
static real between(const cmlp_warp_args *a, const real *plane, real y, real x)
{
    if (!(y > -1 && x > -1 && y < (real)a->height && x < (real)a->width))
        return (real)a->fill;
    ptrdiff_t i = (ptrdiff_t)(y + 1) - 1, j = (ptrdiff_t)(x + 1) - 1; /* rounded down, from -1 on */
    real down = y - (real)i, right = x - (real)j;
    real above = pixel(a, plane, i, j), below = pixel(a, plane, i + 1, j);
    above += right * (pixel(a, plane, i, j + 1) - above);
    below += right * (pixel(a, plane, i + 1, j + 1) - below);
    return above + down * (below - above);
}

void CMLP_NAME(warp)(const cmlp_warp_args *a, const void *x_, void *y_)
{
    const real *dy = a->fields, *dx = dy ? dy + a->rows * a->columns : NULL;
    const real cosine = (real)a->cosine, sine = (real)a->sine;
    const real middle_y = (real)(a->rows - 1) / 2, middle_x = (real)(a->columns - 1) / 2;
    const real to_y = (real)a->top + middle_y, to_x = (real)a->left + middle_x;
    real *y = y_;
    for (size_t c = 0; c < a->channels; c++) {
        const real *plane = (const real *)x_ + c * a->height * a->width;
        for (size_t i = 0; i < a->rows; i++)
            for (size_t j = 0; j < a->columns; j++, y++) {
                size_t at = i * a->columns + j;
                real v = (real)i - middle_y, u = (real)j - middle_x;
                real from_y = to_y + (sine * u + cosine * v), from_x = to_x + (cosine * u - sine * v);
                *y = between(a, plane, dy ? from_y + dy[at] : from_y, dx ? from_x + dx[at] : from_x);
            }
    }
}
