/* Vector widths and register tiles, one block per instruction set: the only place that names them.
 *
 * A panel of packed weights is NV vectors wide.  CMLP_TILES(F) lists every register tile F(mr, nv) that
 * is compiled: mr rows by nv vectors.  TILE_ROWS gives the rows wanted for each nv: as many accumulators
 * as leave registers for one row of the panel and a broadcast.  The figures behind the choice stand in
 * bench/README.md.
 */
#ifndef CMLP_TILES_H
#define CMLP_TILES_H

#define UPTO_4(F, nv) F(1, nv) F(2, nv) F(3, nv) F(4, nv)
#define UPTO_6(F, nv) UPTO_4(F, nv) F(5, nv) F(6, nv)
#define UPTO_8(F, nv) UPTO_6(F, nv) F(7, nv) F(8, nv)
#define UPTO_12(F, nv) UPTO_8(F, nv) F(9, nv) F(10, nv) F(11, nv) F(12, nv)

#if defined(CMLP_ISA_avx512)
#define VBYTES 64
#define NV_MAX 4
#define TILE_ROWS {0, 12, 12, 8, 6}
#define CMLP_TILES(F) UPTO_12(F, 1) UPTO_12(F, 2) UPTO_8(F, 3) UPTO_6(F, 4)
#elif defined(CMLP_ISA_avx2)
#define VBYTES 32
#define NV_MAX 2
#define TILE_ROWS {0, 8, 6}
#define CMLP_TILES(F) UPTO_8(F, 1) UPTO_6(F, 2)
#elif defined(CMLP_ISA_v2)
#define VBYTES 16
#define NV_MAX 2
#define TILE_ROWS {0, 8, 6}
#define CMLP_TILES(F) UPTO_8(F, 1) UPTO_6(F, 2)
#elif defined(CMLP_ISA_neon)
#define VBYTES 16
#define NV_MAX 3
#define TILE_ROWS {0, 12, 12, 8}
#define CMLP_TILES(F) UPTO_12(F, 1) UPTO_12(F, 2) UPTO_8(F, 3)
#else /* the reference kernels: plain loops, panels of 8 columns */
#ifdef CMLP_DOUBLE
#define VBYTES 8
#else
#define VBYTES 4
#endif
#define NV_MAX 8
#endif

/* Blocks of the products, in rows of the second operand.  PRODUCT_BLOCK rows of a panel stay in L2, and the
 * tile of the other operand in L1; a result is read and written again for each block.  OUTER_BLOCK rows of
 * both operands of a weight gradient stay in L2, with the part of the gradient that they make.  Where the
 * rows of dy lie OUTER_APART bytes apart or more, OUTER_TILES tiles are worth a copy of their panel. */
#define PRODUCT_BLOCK 1024
/* Terms of a product that are summed in one chain: their number sets the error, and each block costs an
 * addition to the result in the first cache, one for 256 multiply-adds. */
#define SUM_BLOCK ((size_t)256)
#define OUTER_BLOCK 256
#define OUTER_APART 8192
#define OUTER_TILES 16

#endif
