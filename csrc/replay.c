/*
 * What a log says, done again. Python calls it without the GIL, for some megabytes at a time.
 */
#include "hold.h"
#include "log.h"

/* An operation whose turn will come. */
typedef struct {
    dkv_operation what;
    uint64_t hash; /* of its key, if it has one */
} Next;

static int hold_any(dkv_table *t, const Next *next, dkv_hold *h)
{
    h->table = t;
    h->key = next->what.key;
    h->key_len = next->what.key_len;
    h->hash = next->hash;
    h->shard = dkv_shard_of(t, next->hash);
    dkv_lock(h->shard);
    return dkv_seek(h, DKV_BEFORE_ALL); /* a later record may give it another expiry */
}

static int redo(dkv_table *t, const Next *next)
{
    const dkv_operation *o = &next->what;
    dkv_hold h;
    int rc = 0;
    switch (o->kind) {
    case DKV_OP_SET:
        hold_any(t, next, &h);
        rc = dkv_put_as(&h, (dkv_value){o->value, o->value_len, NULL},
                        dkv_deadline_of(t, o->expiry), o->version);
        dkv_unlock(t, h.shard);
        dkv_see_version(t, o->version);
        return rc;
    case DKV_OP_DELETE:
        if (hold_any(t, next, &h))
            dkv_shard_take(h.shard, h.slot, NULL);
        dkv_unlock(t, h.shard);
        return 0;
    case DKV_OP_EXPIRE:
        if (hold_any(t, next, &h))
            rc = dkv_put_as(&h, h.value, dkv_deadline_of(t, o->expiry), h.version);
        else if (t->log->swept) /* it may be one of those that were removed */
            rc = DKV_EFULL;
        dkv_unlock(t, h.shard);
        return rc;
    case DKV_OP_CLEAR:
        return dkv_clear(t);
    default:
        return 0;
    }
}

/* Read one more operation of a record, and ask for the memory of the slot it will look at. */
static int read_ahead(dkv_table *t, const uint8_t *body, size_t size, size_t *at, Next *next,
                      dkv_replaying *r)
{
    r->why = dkv_decode(body, size, at, &next->what);
    if (r->why)
        return DKV_ECORRUPT;
    if (next->what.key_len) {
        next->hash = dkv_hash(&t->secret, next->what.key, next->what.key_len);
        dkv_shard_prefetch_slot(dkv_shard_of(t, next->hash), next->hash);
    }
    return 0;
}

/* One record, of which the first operations may be done already: that does no harm. */
static int replay_record(dkv_table *t, const uint8_t *body, size_t size, dkv_replaying *r)
{
    enum { AHEAD = 16 };
    Next ring[AHEAD];
    size_t at = 0, read = 0, done = 0;
    int rc = 0;
    while (rc >= 0 && (at < size || done < read)) {
        if (at < size && read - done < AHEAD) {
            rc = read_ahead(t, body, size, &at, &ring[read++ % AHEAD], r);
            continue;
        }
        const Next *next = &ring[done++ % AHEAD];
        rc = redo(t, next);
        if (rc == DKV_EFULL && !t->log->swept) {
            int64_t swept = dkv_sweep(t);
            t->log->swept = swept > 0;
            rc = swept < 0 ? (int)swept : redo(t, next);
        }
    }
    return rc < 0 ? rc : 0;
}

int64_t dkv_replay(dkv_table *t, const uint8_t *bytes, size_t size, dkv_replaying *r)
{
    size_t done = 0;
    while (done < size) {
        int64_t whole = dkv_record_size(r->seed, r->offset, bytes + done, size - done);
        if (whole == DKV_CUT)
            break;
        if (whole <= 0) {
            r->why = whole ? "the checksum does not fit the record" : "a record of 0 bytes";
            return DKV_ECORRUPT;
        }
        int rc = replay_record(t, bytes + done + DKV_HEAD, (size_t)whole - DKV_HEAD, r);
        if (rc < 0)
            return rc;
        done += (size_t)whole;
        r->offset += (uint64_t)whole;
    }
    return (int64_t)done;
}

uint64_t dkv_last_version(dkv_table *t)
{
    return atomic_load(&t->events.last_version);
}

void dkv_see_version(dkv_table *t, uint64_t version)
{
    uint64_t last = atomic_load_explicit(&t->events.last_version, memory_order_relaxed);
    while (last < version && !atomic_compare_exchange_weak(&t->events.last_version, &last, version))
        ;
}
