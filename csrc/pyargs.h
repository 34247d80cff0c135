/*
 * What comes in through the CPython door: the table object, arguments made into C
 * values, and codes made into exceptions, each in one place. Part of pytable.c.
 */
#include "waiting.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>

#define TTL_CEILING 1e10
#define EPOCH_CEILING 1e11
#define LEAST_MAX_BYTES 65536

/* Beside the codes of table.h: an exception is set. */
enum { DKV_ERAISED = -100 };

enum { LATER = 8 };

typedef struct {
    PyObject_HEAD dkv_table *table;
    Py_ssize_t max_key;
    Py_ssize_t max_value;
    int64_t default_span;   /* microseconds, DKV_NEVER for none */
    size_t turn;            /* in `later` */
    void *later[LATER];     /* values that are gone */
    bool logs;              /* a change goes to a log first */
    pthread_mutex_t writer; /* of such a table: whose turn it is to change something */
    atomic_ulong owner;     /* the thread whose turn it is, or 0 */
    bool waits;             /* a change waits until it is on the disk */
    bool refuses;           /* nothing is to be written any more */
    Waiting waiting;        /* of a table with a log: who waits for the disk */
} TableObject;

/* Python objects this file needs; there is one module in a process. */
static struct {
    PyObject *entry_type;
    newfunc new_tuple;
    PyObject *closed_error, *invalid_key_error, *too_large_error, *not_an_integer_error;
    PyObject *store_full_error, *conflict_error;
    PyObject *shown;
} names;

/* Errors */

static void *raise_code(const TableObject *self, int code)
{
    if (code == DKV_ERAISED)
        return NULL;
    if (code == DKV_ECLOSED)
        PyErr_SetString(names.closed_error, "the store is closed");
    else if (code == DKV_EFULL)
        PyErr_Format(names.store_full_error,
                     "the store is full: %llu of max_bytes=%llu bytes are in use and the write "
                     "needs more: delete keys, raise max_bytes or open it with eviction='lru'",
                     (unsigned long long)dkv_used(self->table),
                     (unsigned long long)dkv_limit(self->table));
    else if (code == DKV_ELARGE)
        PyErr_Format(names.too_large_error,
                     "the change is larger than a record of the log: expected at most %llu bytes",
                     (unsigned long long)UINT32_MAX);
    else if (code == DKV_ECORRUPT)
        PyErr_SetString(PyExc_OSError, "a record of the log cannot be read any more");
    else
        PyErr_NoMemory();
    return NULL;
}

static PyObject *type_name(PyObject *given)
{
    return PyObject_GetAttrString((PyObject *)Py_TYPE(given), "__name__");
}

static void raise_type(const char *format, PyObject *given)
{
    PyObject *name = type_name(given);
    if (name)
        PyErr_Format(PyExc_TypeError, format, name);
    Py_XDECREF(name);
}

/* A message with the bytes in it as Python shows them, cut when long. */
static void raise_about(PyObject *error, const char *format, PyObject *first, PyObject *second)
{
    PyObject *a = PyObject_CallFunctionObjArgs(names.shown, first, NULL);
    PyObject *b = second ? PyObject_CallFunctionObjArgs(names.shown, second, NULL) : NULL;
    if (a && (b || !second))
        PyErr_Format(error, format, a, b);
    Py_XDECREF(a);
    Py_XDECREF(b);
}

/* Arguments. A `Text` is the bytes of a key or value and the object that owns them. */

typedef struct {
    PyObject *owner;
    const char *bytes;
    Py_ssize_t len;
} Text;

static void text_clear(Text *text)
{
    Py_CLEAR(text->owner);
}

/* The text as a value to store. A long one is lent with a reference of its own, which the
   table has after a write that succeeds; after one that fails it comes back. */
static dkv_value lend(const Text *text)
{
    dkv_value value = {(const uint8_t *)text->bytes, (size_t)text->len, text->owner};
    if (dkv_takes_owner(value))
        Py_INCREF(text->owner);
    return value;
}

static void take_back(dkv_value value)
{
    if (dkv_takes_owner(value))
        Py_DECREF((PyObject *)value.owner);
}

/* Bytes as they are, anything else with a buffer as a copy. */
static int text_from(Text *text, PyObject *given, const char *what)
{
    if (PyBytes_CheckExact(given)) {
        text->owner = Py_NewRef(given);
    } else {
        PyObject *view = PyMemoryView_FromObject(given);
        if (!view) {
            text->owner = NULL;
            if (!PyErr_ExceptionMatches(PyExc_TypeError))
                return -1;
            PyErr_Clear();
            bool key = *what == 'k';
            if (PyUnicode_Check(given))
                raise_type(
                    key ? "key must be bytes-like, not %S: encode it first, or use store.text()"
                        : "value must be bytes-like, not %S: encode it first, or use store.text()",
                    given);
            else
                raise_type(key ? "key must be bytes-like, not %S"
                               : "value must be bytes-like, not %S",
                           given);
            return -1;
        }
        text->owner = PyBytes_FromObject(view);
        Py_DECREF(view);
        if (!text->owner)
            return -1;
    }
    char *bytes;
    if (PyBytes_AsStringAndSize(text->owner, &bytes, &text->len) < 0) {
        text_clear(text);
        return -1;
    }
    text->bytes = bytes;
    return 0;
}

static int key_from(TableObject *self, Text *key, PyObject *given)
{
    if (text_from(key, given, "key") < 0)
        return -1;
    if (key->len > 0 && key->len <= self->max_key)
        return 0;
    if (key->len == 0) {
        PyErr_Format(names.invalid_key_error, "the key is empty: expected 1 to %zd bytes",
                     self->max_key);
    } else {
        PyObject *clipped = PyObject_CallFunctionObjArgs(names.shown, key->owner, NULL);
        if (clipped)
            PyErr_Format(names.invalid_key_error, "the key has %zd bytes: expected 1 to %zd: %S",
                         key->len, self->max_key, clipped);
        Py_XDECREF(clipped);
    }
    text_clear(key);
    return -1;
}

static int value_from(TableObject *self, Text *value, PyObject *given)
{
    if (text_from(value, given, "value") < 0)
        return -1;
    if (value->len <= self->max_value)
        return 0;
    PyErr_Format(names.too_large_error, "the value has %zd bytes: expected at most %zd", value->len,
                 self->max_value);
    text_clear(value);
    return -1;
}

/* Ask for the bytes of a value that will be copied, before anything else is looked at: the
   processor then waits for them and for the object's header at once, and not for one after
   the other. */
static void ask_for(PyObject *value)
{
    enum { HEADER = 32, LINE = 64, MOST = 512 };
    if (!PyBytes_CheckExact(value))
        return;
    Py_ssize_t end = HEADER + Py_SIZE(value);
    for (Py_ssize_t at = LINE; at < end + LINE && at < MOST; at += LINE)
        __builtin_prefetch((const char *)value + at);
}

static int pair_from(TableObject *self, Text *key, PyObject *k, Text *value, PyObject *v)
{
    ask_for(v);
    if (key_from(self, key, k) < 0)
        return -1;
    if (value_from(self, value, v) < 0) {
        text_clear(key);
        return -1;
    }
    return 0;
}

static bool is_number(PyObject *given)
{
    return (PyFloat_Check(given) || PyLong_Check(given)) && !PyBool_Check(given);
}

static bool is_int(PyObject *given)
{
    return PyLong_Check(given) && !PyBool_Check(given);
}

/* Seconds as a double; an int too large for one becomes a number that is out of range
   like itself. */
static int seconds_from(double *seconds, PyObject *given, const char *name)
{
    if (!is_number(given)) {
        PyObject *type = type_name(given);
        if (type)
            PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %S", name, type);
        Py_XDECREF(type);
        return -1;
    }
    *seconds = PyFloat_AsDouble(given);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
        *seconds = -1.0;
    }
    return 0;
}

static int span_from(int64_t *span, PyObject *given, const char *name)
{
    double seconds;
    if (seconds_from(&seconds, given, name) < 0)
        return -1;
    if (isinf(seconds) && seconds > 0) {
        *span = DKV_NEVER;
        return 0;
    }
    if (!(seconds > 0 && seconds <= TTL_CEILING)) {
        PyErr_Format(PyExc_ValueError,
                     "%s is %R: expected seconds above 0, at most 1e10, or infinity for never",
                     name, given);
        return -1;
    }
    *span = (int64_t)(seconds * 1e6 + 0.5);
    if (*span < 1)
        *span = 1;
    return 0;
}

static int epoch_from(int64_t *epoch, PyObject *given)
{
    double seconds;
    if (seconds_from(&seconds, given, "expire_at") < 0)
        return -1;
    if (isinf(seconds) && seconds > 0) {
        *epoch = DKV_NEVER;
        return 0;
    }
    if (!(seconds >= 0 && seconds <= EPOCH_CEILING)) {
        PyErr_Format(
            PyExc_ValueError,
            "expire_at is %R: expected seconds since 1970, at most 1e11, or infinity for never",
            given);
        return -1;
    }
    *epoch = (int64_t)(seconds * 1e6 + 0.5);
    return 0;
}

static int version_from(uint64_t *version, PyObject *given)
{
    if (!is_int(given)) {
        raise_type("if_version must be an int, not %S", given);
        return -1;
    }
    long long number = PyLong_AsLongLong(given);
    if (number == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
        number = 0;
    }
    if (number < 1) {
        PyErr_Format(PyExc_ValueError,
                     "if_version is %R: expected a version that set or entry gave", given);
        return -1;
    }
    *version = (uint64_t)number;
    return 0;
}

/* When a write's entry expires, from what was asked for. */
typedef struct {
    int64_t span;  /* 0 for not given */
    int64_t epoch; /* -1 for not given */
} Expiry;

static const Expiry DEFAULT_EXPIRY = {0, -1};

static int64_t deadline_of(const TableObject *self, Expiry expiry)
{
    if (expiry.epoch == DKV_NEVER)
        return DKV_NEVER;
    if (expiry.epoch >= 0) {
        int64_t deadline = dkv_now(self->table) + expiry.epoch - dkv_wall(self->table);
        return deadline < 1 ? 1 : deadline;
    }
    int64_t span = expiry.span ? expiry.span : self->default_span;
    return span == DKV_NEVER ? DKV_NEVER : dkv_now(self->table) + span;
}

/* Keyword arguments of a METH_FASTCALL function: fill `slots` by name. */
static int keywords(const char *function, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames, const char *const *known, PyObject **slots)
{
    Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GetItem(kwnames, i);
        size_t k = 0;
        while (known[k] && PyUnicode_CompareWithASCIIString(name, known[k]) != 0)
            k++;
        if (!known[k]) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function,
                         name);
            return -1;
        }
        if (slots[k]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function,
                         name);
            return -1;
        }
        slots[k] = args[nargs + i];
    }
    return 0;
}

static int positional(const char *function, Py_ssize_t given, Py_ssize_t least, Py_ssize_t most)
{
    if (given >= least && given <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd positional arguments but %zd were given",
                 function, least, most, given);
    return -1;
}

static bool given(PyObject *argument)
{
    return argument && argument != Py_None;
}

/* The arguments that say when a write's entry expires. */
static int expiry_from(Expiry *expiry, PyObject *ttl, PyObject *expire_at, bool keep_ttl)
{
    *expiry = DEFAULT_EXPIRY;
    if (given(ttl) + given(expire_at) + keep_ttl > 1) {
        PyErr_SetString(PyExc_ValueError, "expected at most one of ttl, expire_at and keep_ttl");
        return -1;
    }
    if (given(ttl) && span_from(&expiry->span, ttl, "ttl") < 0)
        return -1;
    return given(expire_at) ? epoch_from(&expiry->epoch, expire_at) : 0;
}
