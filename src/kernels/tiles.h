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

/* Tiles of convolutions: CONV_GROUP outputs by CONV_COLUMNS places of a row, and by CONV_TAPS taps for their
 * gradients: as many accumulators as leave registers for the operands. */
#if defined(CMLP_ISA_avx512) || defined(CMLP_ISA_neon)
#define CONV_COLUMNS 6
#define CONV_TAPS 5
#define CONV_UPTO(F, co) F(co, 1) F(co, 2) F(co, 3) F(co, 4) F(co, 5) F(co, 6)
#define CONV_DW_UPTO(F, co) F(co, 1) F(co, 2) F(co, 3) F(co, 4) F(co, 5)
#else
#define CONV_COLUMNS 3
#define CONV_TAPS 2
#define CONV_UPTO(F, co) F(co, 1) F(co, 2) F(co, 3)
#define CONV_DW_UPTO(F, co) F(co, 1) F(co, 2)
#endif
#define CONV_TILES(F) CONV_UPTO(F, 1) CONV_UPTO(F, 2) CONV_UPTO(F, 3) CONV_UPTO(F, 4)
#define CONV_DW_TILES(F) CONV_DW_UPTO(F, 1) CONV_DW_UPTO(F, 2) CONV_DW_UPTO(F, 3) CONV_DW_UPTO(F, 4)

/* ---- blocks of the products, in terms of a sum: rows of the second operand ----
 *
 * GFLOP/s: one core of a machine with AVX-512 whose peak is 174. */

/* Rows of a panel that stay in L2, with the tile of the other operand in L1: 4096 wide 158 GFLOP/s, 1024 wide
 * 163; with blocks of 256, between which every result goes to memory and back, 141 and 159. */
#define PRODUCT_BLOCK 1024
/* Rows of both operands of a weight gradient that stay in L2 with the part of the gradient that they make:
 * 140 GFLOP/s; 66 to 82 with blocks of 1024. */
#define OUTER_BLOCK 256
/* A panel of dy is copied first where its rows lie so many bytes apart and so many tiles use it: 4096 wide
 * 687 ms without the copy, 654 with it, 2048 wide 90 and 82, 1024 wide the same. */
#define OUTER_APART 8192
#define OUTER_TILES 16
/* Rows of x that a weight gradient prefetches ahead, too far apart for the processor to do it: 4096 wide
 * 140 GFLOP/s without, 144 with it. */
#define ROWS_AHEAD 16

/* ---- sums of many terms: powers of two ----
 *
 * Their order is a function of the number of terms alone.  Blocks keep the rounding error small: a single
 * chain's grows with its length. */

/* Terms of one chain of a product.  Largest relative errors of 1,000 sums of 1,000 positive products in
 * float32: 2.2e-7 with chains of 64, 2.3e-7 of 128, 4.0e-7 of 256, 1.5e-6 of 1,000; of a million in blocks of
 * 128 within PRODUCT_BLOCK 9.4e-7, in one chain 1.8e-4.  A block costs 75 to 105 instructions (AVX-512) for
 * 4,500 of multiplication. */
#define SUM_BLOCK 128
/* Sums over columns and rows: vectors in a block of a row, and blocks in the next level. */
#define SUM_VECTORS 32
#define SUM_BLOCKS 64
/* Squares of a vector's elements in a block, in double. */
#define SQUARES_BLOCK 4096

/* ---- losses and random factors ---- */

/* Cross-entropy of up to so many outputs works with a row a lane: 64-64-64-10 in float64 148 us where the
 * limit was one vector, 136 with 16. */
#define NARROW 16
/* Rows of the narrowest losses that are laid end to end: 2-4-1 0.435 us without, 0.385 with it. */
#define PACKED_ROWS 16
/* Counters of the random generator side by side, for the compiler's vectors: a step with dropout took 10
 * times one without it when numbers were made one by one, 2.1 times with 64 at a time. */
#define COUNTERS 16

#endif
