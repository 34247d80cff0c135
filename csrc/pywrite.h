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

/* Find the key and write under the conditions: 1, 0 when one failed, or a code. With all that it
   calls in it, for it is called the most of all that writes: a twelfth faster. */
__attribute__((flatten)) static int try_write(TableObject *self, const Text *key, dkv_value value,
                                              const How *how, int64_t *deadline, uint64_t *version)
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

/* The same, log first. */
static int log_pair(TableObject *self, const Text *key, const Text *text, const How *how,
                    uint64_t *version)
{
    dkv_pair pair = pair_of(key, how->keep_ttl ? DKV_PUT_KEEPING : DKV_PUT);
    size_t at;
    pair.value = lend(text);
    pair.deadline = deadline_of(self, how->expiry);
    pair.want = how->nx ? DKV_ABSENT : how->xx ? DKV_PRESENT : DKV_ANY;
    if (how->if_version)
        pair.want = how->if_version;
    int rc = log_pairs(self, &pair, 1, &at);
    *version = pair.version;
    finish_logged(self, rc, pair.until);
    if (rc == DKV_ECONFLICT)
        return 0;
    if (rc < 0)
        raise_code(self, rc);
    return rc < 0 ? -1 : 1;
}

/* Write under the conditions: 1 and the version, 0 when one failed, or -1 with the
   exception set. */
static int write_pair(TableObject *self, const Text *key, const Text *text, const How *how,
                      uint64_t *version)
{
    if (self->logs)
        return log_pair(self, key, text, how, version);
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
        int removed = remove_key(table, &key, DKV_ANY);
        text_clear(&key);
        if (removed == 0)
            missing(k);
        return removed > 0 ? 0 : -1;
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
    PyObject *result = NULL;
    int rc;
    do {
        dkv_value lent = lend(&value);
        rc = begin_change(table, &key, &hold);
        if (rc > 0)
            result = value_of(&hold);
        rc = rc == 0 ? change(table, &hold, lent, deadline) : leave(table, &hold, lent, rc);
    } while (rc == DKV_EBUSY);
    if (rc == 0)
        result = Py_NewRef(value.owner);
    finish_logged(table, rc, rc == 0 ? deadline : DKV_NEVER);
    if (rc < 0)
        raise_code(table, rc);
    text_clear(&key);
    text_clear(&value);
    return result;
}

enum { SUM_DONE = 0, SUM_NOT_AN_INTEGER = 1, SUM_TOO_LARGE = 2 };

/* The sum at the held key: one of the above; `*bad` is what was no integer. */
static int sum_at(const dkv_hold *hold, int64_t by, int64_t *sum, PyObject **bad)
{
    int64_t before = 0;
    if (hold->entry && !dkv_decimal(hold->value.bytes, hold->value.len, &before)) {
        *bad = value_of(hold);
        return SUM_NOT_AN_INTEGER;
    }
    return __builtin_add_overflow(before, by, sum) ? SUM_TOO_LARGE : SUM_DONE;
}

static PyObject *add_up(TableObject *self, const Text *key, int64_t by, Expiry expiry)
{
    static const dkv_value nothing = {NULL, 0, NULL};
    dkv_hold hold;
    char digits[24];
    int64_t sum = 0;
    PyObject *bad = NULL;
    int64_t deadline = deadline_of(self, expiry);
    int rc;
    do {
        rc = begin_change(self, key, &hold);
        if (rc < 0)
            break;
        rc = sum_at(&hold, by, &sum, &bad);
        if (rc != SUM_DONE) {
            (void)leave(self, &hold, nothing, rc);
            break;
        }
        int n = snprintf(digits, sizeof digits, "%lld", (long long)sum);
        dkv_value value = {(const uint8_t *)digits, (size_t)n, NULL};
        rc = change(self, &hold, value, hold.entry ? hold.deadline : deadline);
    } while (rc == DKV_EBUSY);
    finish_logged(self, rc, rc == SUM_DONE ? deadline : DKV_NEVER);
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
    static const dkv_value nothing = {NULL, 0, NULL};
    dkv_hold hold;
    bool wanted;
    int rc;
    do {
        rc = begin_change(self, key, &hold);
        wanted = rc > 0 && !(only_timed && hold.deadline == DKV_NEVER);
        rc = wanted ? move(self, &hold, deadline) : leave(self, &hold, nothing, rc);
    } while (rc == DKV_EBUSY);
    finish_logged(self, rc, deadline);
    text_clear(key);
    return rc < 0 ? raise_code(self, rc) : PyBool_FromLong(wanted);
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
