/* The constants that tune the engine, and the measurements that chose them (bench/README.md, "What was
 * tried"; a core with AVX-512 and 2 MiB of second cache).  Those of the kernels are in kernels/tiles.h.  None
 * of them may depend on the number of threads: the bits of results would. */
#ifndef CMLP_TUNING_H
#define CMLP_TUNING_H

/* ---- rows ---- */

/* Rows are dealt out to threads, and the loss is summed, in blocks of so many: few enough that a minibatch of
 * 64 has work for four threads.  Of planes so many samples lie side by side at most. */
#define ROW_BLOCK 16

/* ---- small nets ---- */

/* Nets whose parameters take no more than this go by groups of rows: a group's gradient and its weights stay
 * in the second cache beside its activations. */
#define GROUP_BYTES (96 << 10)
#define MOST_GROUPS 8
/* A group's rows go through at once if their workspace takes no more than this: 64-100-10 11.3 us with 40 KB,
 * 10.6 with 160. */
#define WHOLE_BYTES (160 << 10)
/* More rows go in chunks whose workspace stays in the first cache: 4-32-16-4 with 10,000 rows 745 us; 782 in
 * chunks of 160 KB. */
#define CHUNK_BYTES (40 << 10)

/* ---- threads ---- */

/* Floating-point operations for which another thread is worth its barriers and the exchange of data between
 * caches, some twenty microseconds: 8-64-64-4 (3 million a step) took 17.5 us on one thread, 23.5 on two. */
#define FLOPS_PER_THREAD 4e6
/* The same for kernels on plain arrays, in elements. */
#define ELEMENTS_PER_THREAD 16384

/* ---- updates ---- */

/* Rows and panels of a span of weights: its gradient stays in the first cache until it is used.  Small nets
 * have smaller ones, for threads to share. */
#define SPAN_ROWS 256
#define SPAN_PANELS 4
#define SMALL_SPAN_ROWS 32
#define SMALL_SPAN_PANELS 1
/* Parameters of so many bytes stay in the second cache with their slots by themselves; those of larger nets
 * are prefetched while their gradient is computed: 784-512-512-10 on one thread 2,946 us without, 2,870 with.
 */
#define NEAR_BYTES (512 << 10)

/* Parameters of so many bytes, decaying or not, are updated at once where one thread does it: a step of 2-4-1
 * then calls the update once instead of four times. */
#define AT_ONCE_BYTES (4 << 10)

/* ---- prediction ---- */

/* Rows that go through a layer at once, so that its weights are read once for all of them: as many as keep
 * two buffers in the second cache, by whole tiles of every instruction set. */
#define PREDICT_BYTES (256 << 10)
#define PREDICT_ROWS 48
/* More where the weights are far away anyway: 1,024 rows of 4096-4096-4096-10 took 350 to 384 ms, now 312 to
 * 336. */
#define FAR_BYTES (8 << 20)
#define FAR_ROWS 480
/* Buffers of so many bytes lie on the stack: to ask for memory takes as long as a small net's prediction. */
#define PREDICT_STACK_BYTES 6144

/* ---- kernels on plain arrays ---- */

/* Rows of a product that go through a panel at once, by whole tiles of every instruction set. */
#define STRIP 48
/* Packing a panel takes as long as multiplying so many rows by it. */
#define ROWS_OF_PACKING 16

/* ---- a run ---- */

/* How often Python hears of signals, and how much work passes at most between two looks at the clock. */
#define POLL_SECONDS 0.05
#define POLL_FLOPS 3e5
/* Samples whose order takes some tens of milliseconds to shuffle. */
#define SHUFFLED_AT_ONCE ((size_t)1 << 20)

#endif
