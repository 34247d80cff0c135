/*
 * What a log says, done again. Python calls it without the GIL, for some megabytes at a time.
 */
#include "hold.h"
#include "log.h"

/* An entry that has expired is met as any other: a later record may give it another expiry. */
enum { LONG_AGO = 1 };
#define BEFORE_ALL (INT64_MIN + LONG_AGO)

static int hold_any(dkv_table *t, const dkv_operation *o, dkv_hold *h)
{
    h->table = t;
    h->key = o->key;
    h->key_len = o->key_len;
    h->hash = dkv_hash(&t->secret, o->key, o->key_len);
    h->shard = &t->shards[dkv_shard_index(h->hash)];
    dkv_lock(h->shard);
    return dkv_seek(h, BEFORE_ALL);
}

static int64_t deadline_from(const dkv_operation *o, const dkv_replaying *r)
{
    return o->expiry ? o->expiry + r->to_monotonic : DKV_NEVER;
}

static int redo(dkv_table *t, const dkv_operation *o, dkv_replaying *r)
{
    dkv_hold h;
    int rc = 0;
    switch (o->kind) {
    case DKV_OP_SET:
        hold_any(t, o, &h);
        rc = dkv_put_as(&h, (dkv_value){o->value, o->value_len, NULL}, deadline_from(o, r),
                        o->version);
        dkv_unlock(t, h.shard);
        dkv_see_version(t, o->version);
        return rc;
    case DKV_OP_DELETE:
        if (hold_any(t, o, &h))
            dkv_shard_take(h.shard, h.slot, NULL);
        dkv_unlock(t, h.shard);
        return 0;
    case DKV_OP_EXPIRE:
        if (hold_any(t, o, &h))
            rc = dkv_put_as(&h, h.value, deadline_from(o, r), h.version);
        else if (r->swept) /* it may be one of those that were removed */
            rc = DKV_EFULL;
        dkv_unlock(t, h.shard);
        return rc;
    case DKV_OP_CLEAR:
        return dkv_clear(t);
    default:
        return 0;
    }
}

/* One record, of which the first operations may be done already: that does no harm. */
static int replay_record(dkv_table *t, const uint8_t *body, size_t size, dkv_replaying *r)
{
    dkv_operation o;
    for (size_t at = 0; at < size;) {
        r->why = dkv_decode(body, size, &at, &o);
        if (r->why)
            return DKV_ECORRUPT;
        int rc = redo(t, &o, r);
        if (rc == DKV_EFULL && !r->swept) {
            int64_t swept = dkv_sweep(t);
            r->swept = swept > 0;
            rc = swept < 0 ? (int)swept : redo(t, &o, r);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
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
        r->records++;
    }
    return (int64_t)done;
}

void dkv_see_version(dkv_table *t, uint64_t version)
{
    uint64_t last = atomic_load_explicit(&t->events.last_version, memory_order_relaxed);
    while (last < version && !atomic_compare_exchange_weak(&t->events.last_version, &last, version))
        ;
}
