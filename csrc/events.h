/*
 * Versions, and what happened last: a ring of events for whoever watches. Internal to the
 * table.
 *
 * While nobody watches there is no ring, and a version is one compare-and-swap. While
 * somebody does, an event gets its version and its place in the ring in one step, so that
 * the ring is in the order of versions. It has room for DKV_RING bytes; what is older is
 * gone, and who had not read it is told so.
 */
#ifndef DKV_EVENTS_H
#define DKV_EVENTS_H

#include "clock.h"
#include "memory.h"
#include "table.h"

/* The C tests make it small. */
#ifndef DKV_RING
#define DKV_RING (4 << 20)
#endif

typedef struct {
    dkv_clock clock;
    atomic_uint_least64_t last_version;
    atomic_bool waited; /* somebody waits for news */
    atomic_uint locked; /* guards what follows */
    unsigned watchers;
    uint8_t *ring;       /* NULL when there are none */
    uint64_t begin, end; /* bytes ever written: where the oldest event begins, the next goes */
    uint64_t gone;       /* the version of the last event that is not in the ring */
    bool holding;        /* events from `held` on are not to be seen yet */
    uint64_t held;
} dkv_events;

/* A version larger than all before it. */
uint64_t dkv_next_version(dkv_events *events);

/* The same, for this to have happened to a key. */
uint64_t dkv_happened(dkv_events *events, dkv_event what, const uint8_t *key, size_t key_len);

/* Let nobody see what happens from now on, until it is let go; unless `so`, no key was set or
   deleted since: these events turn into DKV_NOTHING. */
void dkv_events_hold(dkv_events *events);
void dkv_events_let_go(dkv_events *events, bool so);

/* The end of what may be seen. The caller has the lock, here and below. */
static inline uint64_t dkv_events_end(const dkv_events *events)
{
    return events->holding && events->held < events->end ? events->held : events->end;
}

/* Where in the ring the events after a version begin. O(events). */
uint64_t dkv_events_after(const dkv_events *events, uint64_t version);

/* Copy as many events as there is room for, from `*at` on, which moves: bytes, or DKV_ELOST. */
int64_t dkv_events_copy(const dkv_events *events, uint64_t *at, uint8_t *out, size_t room);

#endif
