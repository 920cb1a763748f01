/* Samples between rows and planes, the same loops for every instruction set: kernels.h, "planes". */
#include "kernels.h"

#ifdef CMLP_DOUBLE
typedef double real;
#else
typedef float real;
#endif

void CMLP_NAME(to_planes)(size_t rows, size_t n, const void *x_, size_t ldx, void *planes_)
{
    const real *x = x_;
    real *planes = planes_;
    for (size_t l = 0; l < rows; l++)
        for (size_t j = 0; j < n; j++)
            planes[j * rows + l] = x[l * ldx + j];
}

void CMLP_NAME(from_planes)(size_t rows, size_t n, const void *planes_, void *y_, size_t ldy)
{
    const real *planes = planes_;
    real *y = y_;
    for (size_t l = 0; l < rows; l++)
        for (size_t j = 0; j < n; j++)
            y[l * ldy + j] = planes[j * rows + l];
}
