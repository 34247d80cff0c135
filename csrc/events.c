#include "events.h"

#include "lock.h"

#include <string.h>

enum { VERSION = 8, LENGTH = 2 };

_Static_assert(DKV_EVENT_HEADER == 8 + 2 + 1, "version, length and what happened");
_Static_assert((DKV_RING & (DKV_RING - 1)) == 0, "places in the ring are masked");
_Static_assert(DKV_RING >= 2 * (DKV_KEY_CEILING + DKV_EVENT_HEADER), "the largest event fits");

uint64_t dkv_next_version(dkv_events *events)
{
    uint64_t wall = (uint64_t)dkv_clock_wall(&events->clock, DKV_WALL_CLOCK);
    uint64_t last = atomic_load_explicit(&events->last_version, memory_order_relaxed);
    uint64_t next;
    do {
        next = last + 1 > wall ? last + 1 : wall;
    } while (!atomic_compare_exchange_weak(&events->last_version, &last, next));
    return next;
}

/* Copy into and out of the ring, around its end. */
static void into(dkv_events *events, uint64_t at, const void *from, size_t n)
{
    size_t place = (size_t)at & (DKV_RING - 1);
    size_t first = n < DKV_RING - place ? n : DKV_RING - place;
    memcpy(events->ring + place, from, first);
    memcpy(events->ring, (const uint8_t *)from + first, n - first);
}

static void out_of(const dkv_events *events, uint64_t at, void *to, size_t n)
{
    size_t place = (size_t)at & (DKV_RING - 1);
    size_t first = n < DKV_RING - place ? n : DKV_RING - place;
    memcpy(to, events->ring + place, first);
    memcpy((uint8_t *)to + first, events->ring, n - first);
}

static uint64_t version_at(const dkv_events *events, uint64_t at)
{
    uint64_t version;
    out_of(events, at, &version, VERSION);
    return version;
}

static size_t size_at(const dkv_events *events, uint64_t at)
{
    uint16_t key_len;
    out_of(events, at + VERSION, &key_len, LENGTH);
    return DKV_EVENT_HEADER + (size_t)key_len;
}

uint64_t dkv_happened(dkv_events *events, dkv_event what, const uint8_t *key, size_t key_len)
{
    uint8_t header[DKV_EVENT_HEADER];
    uint16_t length = (uint16_t)key_len;
    dkv_lock_word(&events->locked);
    uint64_t version = dkv_next_version(events);
    if (events->ring) {
        while (events->end + DKV_EVENT_HEADER + key_len - events->begin > DKV_RING) {
            events->gone = version_at(events, events->begin);
            events->begin += size_at(events, events->begin);
        }
        memcpy(header, &version, VERSION);
        memcpy(header + VERSION, &length, LENGTH);
        header[VERSION + LENGTH] = (uint8_t)what;
        into(events, events->end, header, DKV_EVENT_HEADER);
        if (key_len) /* memcpy may not be given NULL, even for no bytes */
            into(events, events->end + DKV_EVENT_HEADER, key, key_len);
        events->end += DKV_EVENT_HEADER + key_len;
    }
    dkv_unlock_word(&events->locked);
    return version;
}

void dkv_events_hold(dkv_events *events)
{
    dkv_lock_word(&events->locked);
    events->held = events->end;
    events->holding = true;
    dkv_unlock_word(&events->locked);
}

void dkv_events_let_go(dkv_events *events, bool so)
{
    enum { WHAT = VERSION + LENGTH };
    dkv_lock_word(&events->locked);
    uint64_t at = events->held < events->begin ? events->begin : events->held;
    for (; !so && events->ring && at < events->end; at += size_at(events, at)) {
        uint8_t what, nothing = DKV_NOTHING;
        out_of(events, at + WHAT, &what, sizeof what);
        if (what == DKV_SET || what == DKV_DELETED)
            into(events, at + WHAT, &nothing, sizeof nothing);
    }
    events->holding = false;
    dkv_unlock_word(&events->locked);
}

uint64_t dkv_events_after(const dkv_events *events, uint64_t version)
{
    uint64_t at = events->begin;
    uint64_t end = dkv_events_end(events);
    while (at < end && version_at(events, at) <= version)
        at += size_at(events, at);
    return at;
}

int64_t dkv_events_copy(const dkv_events *events, uint64_t *at, uint8_t *out, size_t room)
{
    if (*at < events->begin)
        return DKV_ELOST;
    uint64_t end = *at, last = dkv_events_end(events);
    while (end < last && end + size_at(events, end) - *at <= room)
        end += size_at(events, end);
    size_t n = (size_t)(end - *at);
    out_of(events, *at, out, n);
    *at = end;
    return (int64_t)n;
}
