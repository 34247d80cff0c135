/*
 * Where memory comes from: malloc's blocks, and pages from the kernel. Internal to the table.
 */
#ifndef DKV_MEMORY_H
#define DKV_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The C tests put allocators that fail on purpose here. */
#ifndef DKV_MALLOC
#define DKV_MALLOC malloc
#define DKV_CALLOC calloc
#define DKV_ALIGNED_ALLOC aligned_alloc
#define DKV_FREE free
#define DKV_PAGES_NEW dkv_pages_new
#define DKV_PAGES_FREE munmap
#define DKV_CELL_FAILS() false
#endif

enum { DKV_PAGE = 4096 };

/* Memory from the kernel, all of it nought, that goes back to it with munmap; or NULL. */
static inline void *dkv_pages_new(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

/* What a block of malloc takes of memory: glibc keeps 8 bytes and rounds up to 16. */
static inline uint64_t dkv_block_cost(size_t size)
{
    return (size + 8 + 15) & ~(uint64_t)15;
}

#endif
