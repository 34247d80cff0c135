/*
 * The methods of dumbkv._native.Table that write or remove. Part of pytable.c.
 */
#include "decimal.h"

/* What `set` was asked for. */
typedef struct {
    Expiry expiry;
    bool keep_ttl, nx, xx;
    uint64_t if_version; /* 0 for not given */
} How;

static void let_go(void *owner)
{
    Py_DECREF((PyObject *)owner);
}

/* The values of a table that are to be let go of next. Freeing one waits for its memory,
   which nobody may have touched for long: so it is asked for at once, and let go of some
   writes later. Large ones do not wait. */
static void let_go_later(TableObject *self, dkv_value gone)
{
    enum { LARGE = 64 * 1024, HEADER = 16 };
    if (gone.len >= LARGE) {
        let_go(gone.owner);
        return;
    }
    __builtin_prefetch((char *)gone.owner - HEADER, 1); /* malloc's, and its next block's */
    __builtin_prefetch(gone.owner, 1);
    __builtin_prefetch(gone.bytes + gone.len + HEADER, 1);
    size_t turn = self->turn++ % LATER;
    void *before = self->later[turn];
    self->later[turn] = gone.owner;
    if (before)
        let_go(before);
}

static void let_go_now(TableObject *self)
{
    for (size_t i = 0; i < LATER; i++) {
        void *gone = self->later[i];
        self->later[i] = NULL;
        if (gone)
            let_go(gone);
    }
}

/* Release a hold that was written with. */
static void release(TableObject *self, dkv_hold *hold)
{
    dkv_release(hold);
    if (hold->gone.owner)
        let_go_later(self, hold->gone);
}

static void tell(TableObject *self, const char *method)
{
    PyObject *done = PyObject_CallMethod((PyObject *)self, method, NULL);
    if (!done)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(done);
}

/* After a call that may have written or removed something, or set a deadline: let go of
   values that are gone, tell who waits for news, and see to it that somebody sweeps. This
   may run Python, so no exception may be set: raise after it, and give DKV_NEVER when
   nothing was written. */
static void finish(TableObject *self, int64_t deadline)
{
    enum { SOME = 1000 };
    if (dkv_has_dead(self->table))
        dkv_reap(self->table, let_go, SOME);
    if (dkv_has_news(self->table))
        tell(self, "_news");
    if (deadline != DKV_NEVER && dkv_wakes(self->table))
        tell(self, "_wake");
}

/* Find the key and write under the conditions: 1, 0 when one failed, or a code. */
static int try_write(TableObject *self, const Text *key, dkv_value value, const How *how,
                     int64_t *deadline, uint64_t *version)
{
    dkv_hold hold;
    int found = dkv_acquire(self->table, key->bytes, (size_t)key->len, &hold);
    if (found < 0)
        return found;
    int done = 0;
    if (how->keep_ttl && found)
        *deadline = hold.deadline;
    if (!(how->nx && found) && !(how->xx && !found) &&
        !(how->if_version && hold.version != how->if_version)) {
        int rc = dkv_put(&hold, value, *deadline);
        done = rc < 0 ? rc : 1;
    }
    *version = hold.version;
    release(self, &hold);
    return done;
}

/* Write under the conditions: 1 and the version, 0 when one failed, or -1 with the
   exception set. */
static int write_pair(TableObject *self, const Text *key, const Text *text, const How *how,
                      uint64_t *version)
{
    dkv_value value = lend(text);
    int64_t deadline;
    int done;
    do {
        deadline = deadline_of(self, how->expiry);
        done = try_write(self, key, value, how, &deadline, version);
    } while (done == DKV_EBUSY);
    if (done <= 0)
        take_back(value);
    finish(self, done > 0 ? deadline : DKV_NEVER);
    if (done < 0)
        raise_code(self, done);
    return done < 0 ? -1 : done;
}

static int Table_setitem(PyObject *self, PyObject *k, PyObject *v)
{
    TableObject *table = (TableObject *)self;
    How how = {.expiry = DEFAULT_EXPIRY};
    Text key, value;
    uint64_t version;
    if (!v) {
        if (key_from(table, &key, k) < 0)
            return -1;
        dkv_hold hold;
        int found = dkv_acquire(table->table, key.bytes, (size_t)key.len, &hold);
        text_clear(&key);
        if (found < 0) {
            raise_code(table, found);
            return -1;
        }
        if (found)
            dkv_drop(&hold);
        release(table, &hold);
        finish(table, DKV_NEVER);
        if (!found)
            missing(k);
        return found ? 0 : -1;
    }
    if (pair_from(table, &key, k, &value, v) < 0)
        return -1;
    int rc = write_pair(table, &key, &value, &how, &version);
    text_clear(&key);
    text_clear(&value);
    return rc < 0 ? -1 : 0;
}

/* The options of `set` and `add` in the order of their names. */
enum { KEY, VALUE, TTL, EXPIRE_AT, KEEP_TTL, NX, XX, IF_VERSION, OPTIONS };

static int truth(PyObject *argument)
{
    return argument ? PyObject_IsTrue(argument) : 0;
}

static int how_from(How *how, PyObject *const *slots)
{
    int keep_ttl = truth(slots[KEEP_TTL]), nx = truth(slots[NX]), xx = truth(slots[XX]);
    if (keep_ttl < 0 || nx < 0 || xx < 0)
        return -1;
    *how = (How){.expiry = DEFAULT_EXPIRY, .keep_ttl = keep_ttl, .nx = nx, .xx = xx};
    if (expiry_from(&how->expiry, slots[TTL], slots[EXPIRE_AT], keep_ttl) < 0)
        return -1;
    if (nx && (xx || given(slots[IF_VERSION]))) {
        PyErr_SetString(PyExc_ValueError,
                        "nx writes only absent keys: expected no xx or if_version beside it");
        return -1;
    }
    return given(slots[IF_VERSION]) ? version_from(&how->if_version, slots[IF_VERSION]) : 0;
}

static PyObject *set_with(PyObject *self, PyObject *const *slots)
{
    TableObject *table = (TableObject *)self;
    Text key, value;
    How how;
    uint64_t version;
    if (pair_from(table, &key, slots[KEY], &value, slots[VALUE]) < 0)
        return NULL;
    int done = how_from(&how, slots) < 0 ? -1 : write_pair(table, &key, &value, &how, &version);
    text_clear(&key);
    text_clear(&value);
    if (done < 0)
        return NULL;
    return done ? PyLong_FromUnsignedLongLong(version) : Py_NewRef(Py_None);
}

static int pair_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames, const char *const *known, PyObject **slots)
{
    if (positional(function, nargs, kwnames ? 0 : 2, 2) < 0)
        return -1;
    slots[KEY] = nargs > 0 ? args[0] : NULL;
    slots[VALUE] = nargs > 1 ? args[1] : NULL;
    if (kwnames && keywords(function, args, nargs, kwnames, known, slots) < 0)
        return -1;
    if (!slots[KEY] || !slots[VALUE]) {
        PyErr_Format(PyExc_TypeError, "%s() missing its argument '%s'", function,
                     known[slots[KEY] ? VALUE : KEY]);
        return -1;
    }
    return 0;
}

static PyObject *Table_set(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const known[] = {"key", "value", "ttl",        "expire_at", "keep_ttl",
                                        "nx",  "xx",    "if_version", NULL};
    PyObject *slots[OPTIONS] = {NULL};
    if (pair_arguments("set", args, nargs, kwnames, known, slots) < 0)
        return NULL;
    return set_with(self, slots);
}

static PyObject *Table_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const known[] = {"key", "value", "ttl", "expire_at", NULL};
    PyObject *slots[OPTIONS] = {NULL};
    if (pair_arguments("add", args, nargs, kwnames, known, slots) < 0)
        return NULL;
    slots[NX] = Py_True;
    return set_with(self, slots);
}

static PyObject *Table_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    static const char *const known[] = {"key", "default", NULL};
    TableObject *table = (TableObject *)self;
    PyObject *slots[2] = {NULL};
    Text key, value;
    dkv_hold hold;
    if (pair_arguments("setdefault", args, nargs, kwnames, known, slots) < 0 ||
        pair_from(table, &key, slots[KEY], &value, slots[VALUE]) < 0)
        return NULL;
    int64_t deadline = deadline_of(table, DEFAULT_EXPIRY);
    dkv_value lent = lend(&value);
    PyObject *result = NULL;
    bool done = false;
    int rc;
    do {
        rc = dkv_acquire(table->table, key.bytes, (size_t)key.len, &hold);
        if (rc < 0)
            break;
        if (rc > 0) {
            result = value_of(&hold);
        } else {
            rc = dkv_put(&hold, lent, deadline);
            done = rc == 0;
        }
        release(table, &hold);
    } while (rc == DKV_EBUSY);
    if (done)
        result = Py_NewRef(value.owner);
    else
        take_back(lent);
    finish(table, done ? deadline : DKV_NEVER);
    if (rc < 0)
        raise_code(table, rc);
    text_clear(&key);
    text_clear(&value);
    return result;
}

enum { SUM_DONE = 0, SUM_NOT_AN_INTEGER = 1, SUM_TOO_LARGE = 2 };

/* Add in place: one of the above or a code; `*bad` is what was no integer. */
static int add_to(dkv_hold *hold, int64_t by, int64_t deadline, int64_t *sum, PyObject **bad)
{
    int64_t before = 0;
    char digits[24];
    if (hold->entry && !dkv_decimal(hold->value.bytes, hold->value.len, &before)) {
        *bad = value_of(hold);
        return SUM_NOT_AN_INTEGER;
    }
    if (__builtin_add_overflow(before, by, sum))
        return SUM_TOO_LARGE;
    int n = snprintf(digits, sizeof digits, "%lld", (long long)*sum);
    dkv_value value = {(const uint8_t *)digits, (size_t)n, NULL};
    return dkv_put(hold, value, hold->entry ? hold->deadline : deadline);
}

static PyObject *add_up(TableObject *self, const Text *key, int64_t by, Expiry expiry)
{
    dkv_hold hold;
    int64_t sum = 0;
    PyObject *bad = NULL;
    int64_t deadline = deadline_of(self, expiry);
    int rc;
    do {
        rc = dkv_acquire(self->table, key->bytes, (size_t)key->len, &hold);
        if (rc < 0)
            break;
        rc = add_to(&hold, by, deadline, &sum, &bad);
        release(self, &hold);
    } while (rc == DKV_EBUSY);
    finish(self, rc == SUM_DONE ? deadline : DKV_NEVER);
    if (rc == SUM_DONE)
        return PyLong_FromLongLong(sum);
    if (rc < 0)
        return raise_code(self, rc);
    if (rc == SUM_TOO_LARGE)
        raise_about(PyExc_OverflowError, "the sum at key %S does not fit a signed 64-bit integer",
                    key->owner, NULL);
    else if (bad)
        raise_about(names.not_an_integer_error,
                    "the value at key %S is not a decimal 64-bit integer: %S", key->owner, bad);
    Py_XDECREF(bad);
    return NULL;
}

static PyObject *sum_with(PyObject *self, const char *function, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames, bool negate)
{
    static const char *const known[] = {"key", "by", "ttl", NULL};
    PyObject *slots[3] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL, NULL};
    Text key;
    Expiry expiry = DEFAULT_EXPIRY;
    int overflow = 0;
    long long by = 1;
    if (positional(function, nargs, kwnames ? 0 : 1, 2) < 0 ||
        (kwnames && keywords(function, args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_Format(PyExc_TypeError, "%s() missing its argument 'key'", function);
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    PyObject *result = NULL;
    if (slots[1] && !is_int(slots[1])) {
        raise_type("by must be an int, not %S", slots[1]);
        goto done;
    }
    if (slots[1])
        by = PyLong_AsLongLongAndOverflow(slots[1], &overflow);
    if (overflow || (negate && __builtin_sub_overflow(0, by, &by))) {
        PyErr_SetString(PyExc_OverflowError, "by does not fit a signed 64-bit integer");
        goto done;
    }
    if (given(slots[2]) && span_from(&expiry.span, slots[2], "ttl") < 0)
        goto done;
    result = add_up((TableObject *)self, &key, by, expiry);
done:
    text_clear(&key);
    return result;
}

static PyObject *Table_incr(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    return sum_with(self, "incr", args, nargs, kwnames, false);
}

static PyObject *Table_decr(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    return sum_with(self, "decr", args, nargs, kwnames, true);
}

/* Give a key another deadline if it is there and `only_timed` does not forbid it. */
static PyObject *expire(TableObject *self, Text *key, int64_t deadline, bool only_timed)
{
    dkv_hold hold;
    bool change;
    int rc;
    do {
        rc = dkv_acquire(self->table, key->bytes, (size_t)key->len, &hold);
        change = rc > 0 && !(only_timed && hold.deadline == DKV_NEVER);
        if (rc < 0)
            break;
        rc = change ? dkv_expire(&hold, deadline) : 0;
        release(self, &hold);
    } while (rc == DKV_EBUSY);
    finish(self, deadline);
    text_clear(key);
    return rc < 0 ? raise_code(self, rc) : PyBool_FromLong(change);
}

static PyObject *Table_touch(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const known[] = {"key", "ttl", "expire_at", NULL};
    PyObject *slots[3] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL, NULL};
    Text key;
    Expiry expiry = DEFAULT_EXPIRY;
    if (positional("touch", nargs, kwnames ? 0 : 1, 2) < 0 ||
        (kwnames && keywords("touch", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "touch() missing its argument 'key'");
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    if (given(slots[1]) == given(slots[2]))
        PyErr_SetString(PyExc_ValueError, "touch needs either ttl or expire_at");
    else if (given(slots[1]) ? span_from(&expiry.span, slots[1], "ttl") == 0
                             : epoch_from(&expiry.epoch, slots[2]) == 0)
        return expire((TableObject *)self, &key, deadline_of((TableObject *)self, expiry), false);
    text_clear(&key);
    return NULL;
}

static PyObject *Table_persist(PyObject *self, PyObject *arg)
{
    Text key;
    if (key_from((TableObject *)self, &key, arg) < 0)
        return NULL;
    return expire((TableObject *)self, &key, DKV_NEVER, true);
}

/* Removing */

static PyObject *Table_delete(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const char *const known[] = {"key", "if_version", NULL};
    PyObject *slots[2] = {nargs > 0 ? args[0] : NULL, NULL};
    Text key;
    dkv_hold hold;
    uint64_t version = 0;
    if (positional("delete", nargs, kwnames ? 0 : 1, 1) < 0 ||
        (kwnames && keywords("delete", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "delete() missing its argument 'key'");
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    if (given(slots[1]) && version_from(&version, slots[1]) < 0) {
        text_clear(&key);
        return NULL;
    }
    int found = dkv_acquire(((TableObject *)self)->table, key.bytes, (size_t)key.len, &hold);
    text_clear(&key);
    if (found < 0)
        return raise_code((TableObject *)self, found);
    bool wanted = found && !(version && hold.version != version);
    if (wanted)
        dkv_drop(&hold);
    release((TableObject *)self, &hold);
    finish((TableObject *)self, DKV_NEVER);
    return PyBool_FromLong(wanted);
}

static PyObject *Table_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const known[] = {"key", "default", NULL};
    PyObject *slots[2] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL};
    Text key;
    dkv_hold hold;
    if (positional("pop", nargs, kwnames ? 0 : 1, 2) < 0 ||
        (kwnames && keywords("pop", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "pop() missing its argument 'key'");
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    int found = dkv_acquire(((TableObject *)self)->table, key.bytes, (size_t)key.len, &hold);
    text_clear(&key);
    if (found < 0)
        return raise_code((TableObject *)self, found);
    PyObject *value = found ? value_of(&hold) : NULL;
    if (value)
        dkv_drop(&hold);
    release((TableObject *)self, &hold);
    finish((TableObject *)self, DKV_NEVER);
    if (found)
        return value;
    return slots[1] ? Py_NewRef(slots[1]) : missing(slots[0]);
}

static PyObject *Table_popitem(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    dkv_hold hold;
    int found = dkv_acquire_any(((TableObject *)self)->table, &hold);
    if (found < 0)
        return raise_code((TableObject *)self, found);
    if (!found) {
        PyErr_SetString(PyExc_KeyError, "popitem(): the store is empty");
        return NULL;
    }
    PyObject *key = PyBytes_FromStringAndSize((const char *)hold.key, (Py_ssize_t)hold.key_len);
    PyObject *value = key ? value_of(&hold) : NULL;
    if (value)
        dkv_drop(&hold);
    release((TableObject *)self, &hold);
    finish((TableObject *)self, DKV_NEVER);
    PyObject *pair = value ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}
