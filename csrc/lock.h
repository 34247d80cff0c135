/*
 * A lock of one word, taken with one exchange and given back with one store. Who has to
 * wait spins briefly and then lets other threads run.
 */
#ifndef DKV_LOCK_H
#define DKV_LOCK_H

#include <sched.h>
#include <stdatomic.h>

static inline void dkv_lock_word(atomic_uint *word)
{
    unsigned spins = 0;
    while (atomic_exchange_explicit(word, 1, memory_order_acquire)) {
        while (atomic_load_explicit(word, memory_order_relaxed)) {
            if (++spins % 64 == 0)
                sched_yield();
        }
    }
}

static inline void dkv_unlock_word(atomic_uint *word)
{
    atomic_store_explicit(word, 0, memory_order_release);
}

#endif
