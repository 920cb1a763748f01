/* The table of one instruction set and element type: all that the rest of the library sees of it. */
#include "kernels.h"

#include "tiles.h"

#ifdef CMLP_DOUBLE
#define DTYPE CMLP_F64
#define SIZE sizeof(double)
#else
#define DTYPE CMLP_F32
#define SIZE sizeof(float)
#endif

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
#define ENTRY(name) .name = CMLP_NAME(name),

extern const cmlp_kernels CMLP_NAME(kernels);
const cmlp_kernels CMLP_NAME(kernels) = {.isa = TEXT(CMLP_ISA),
                                         .dtype = DTYPE,
                                         .size = SIZE,
                                         .vw = VBYTES / SIZE,
                                         .nv_max = NV_MAX,
                                         CMLP_KERNEL_LIST(ENTRY)};
