/*
 * The time, which tests can stop. Internal to the table.
 */
#ifndef DKV_CLOCK_H
#define DKV_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef CLOCK_REALTIME_COARSE
#define DKV_WALL_CLOCK CLOCK_REALTIME_COARSE /* 4 ms steps, a fifth of the price */
#else
#define DKV_WALL_CLOCK CLOCK_REALTIME
#endif

typedef struct {
    atomic_bool stopped; /* at these microseconds: */
    atomic_int_least64_t monotonic, wall;
} dkv_clock;

static inline int64_t dkv_microseconds(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline int64_t dkv_clock_now(const dkv_clock *clock)
{
    if (atomic_load_explicit(&clock->stopped, memory_order_acquire))
        return atomic_load_explicit(&clock->monotonic, memory_order_relaxed);
    return dkv_microseconds(CLOCK_MONOTONIC);
}

static inline int64_t dkv_clock_wall(const dkv_clock *clock, clockid_t id)
{
    if (atomic_load_explicit(&clock->stopped, memory_order_acquire))
        return atomic_load_explicit(&clock->wall, memory_order_relaxed);
    return dkv_microseconds(id);
}

static inline void dkv_clock_stop(dkv_clock *clock, int64_t monotonic, int64_t wall)
{
    atomic_store_explicit(&clock->monotonic, monotonic, memory_order_relaxed);
    atomic_store_explicit(&clock->wall, wall, memory_order_relaxed);
    atomic_store_explicit(&clock->stopped, true, memory_order_release);
}

#endif
