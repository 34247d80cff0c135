/*
 * The CPython door: the type dumbkv._native.Table over table.h.
 *
 * A call through cffi gives up the GIL and takes it back, which costs more than a
 * lookup; a method of a C type does not. So single keys, and lists of them, come in
 * here, and work on the whole table goes through cffi to the same functions.
 *
 * This file is compiled into the module that cffi generates and keeps to the limited
 * API of CPython 3.10, so that one build serves all later versions. Its methods are
 * those of dumbkv._table.Table, to the letter of each message; read there what they
 * mean.
 *
 * While a hold is open its shard is locked, and another thread may wait for it with
 * the GIL in hand. Between dkv_acquire and dkv_release nothing may therefore run
 * Python code or give up the GIL: only bytes and ints are made there, which never
 * start the garbage collector.
 */
#include "pyargs.h"
#include "pyread.h"
#include "pydone.h"
#include "pylog.h"
#include "pyremove.h"
#include "pywrite.h"
#include "pymany.h"
#include "pybatch.h"

/* The whole table, as far as it makes Python objects */

static int append_key(void *list, const uint8_t *key, size_t key_len)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)key, (Py_ssize_t)key_len);
    int rc = bytes ? PyList_Append(list, bytes) : -1;
    Py_XDECREF(bytes);
    return rc ? 1 : 0;
}

#include "pynews.h"

/* Some keys, as many as are worth the call, and the cursor for the next ones. */
static PyObject *Table_keys(PyObject *self, PyObject *arg)
{
    enum { ENOUGH = 512 };
    uint64_t cursor = PyLong_AsUnsignedLongLong(arg);
    if (cursor == UINT64_MAX && PyErr_Occurred())
        return NULL;
    PyObject *list = PyList_New(0);
    int rc = list ? 0 : 1;
    while (rc == 0) {
        rc = dkv_walk(((TableObject *)self)->table, &cursor, append_key, list);
        if (cursor == 0 || PyList_Size(list) >= ENOUGH)
            break;
    }
    PyObject *result = NULL;
    if (rc < 0)
        raise_code((TableObject *)self, rc);
    else if (rc == 0)
        result = Py_BuildValue("(OK)", list, (unsigned long long)cursor);
    Py_XDECREF(list);
    return result;
}

static PyObject *Table_handle(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromVoidPtr(((TableObject *)self)->table);
}

static PyObject *Table_set_clock(PyObject *self, PyObject *args)
{
    long long monotonic, wall;
    if (!PyArg_ParseTuple(args, "LL:_set_clock", &monotonic, &wall))
        return NULL;
    dkv_set_clock(((TableObject *)self)->table, monotonic, wall);
    return Py_NewRef(Py_None);
}

/* Called when the table comes to hold a deadline; a store starts its sweeper then. */
static PyObject *Table_wake(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(Py_None);
}

/* Called when something happened that somebody waits for; a store tells them. */
static PyObject *Table_news(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(Py_None);
}

/* Let go of some values that calls without the GIL removed: whether there are more. */
static PyObject *Table_reap(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    let_go_now((TableObject *)self);
    finish((TableObject *)self, DKV_NEVER);
    return PyBool_FromLong(dkv_has_dead(((TableObject *)self)->table));
}

static PyObject *Table_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(dkv_closed(((TableObject *)self)->table));
}

/* The type */

static int limit_from(Py_ssize_t *limit, PyObject *given, const char *name, long long least,
                      long long most)
{
    if (!is_int(given)) {
        PyObject *type = type_name(given);
        if (type)
            PyErr_Format(PyExc_TypeError, "%s must be an int, not %S", name, type);
        Py_XDECREF(type);
        return -1;
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(given, &overflow);
    if (overflow || number < least || number > most) {
        PyErr_Format(PyExc_ValueError, "%s is out of range: expected %lld to %lld", name, least,
                     most);
        return -1;
    }
    *limit = (Py_ssize_t)number;
    return 0;
}

/* `max_bytes` and `eviction`: 0 and false for None and "reject". */
static int room_from(uint64_t *limit, bool *evict, PyObject *max_bytes, PyObject *eviction)
{
    Py_ssize_t bytes = 0;
    if (given(max_bytes) &&
        limit_from(&bytes, max_bytes, "max_bytes", LEAST_MAX_BYTES, PY_SSIZE_T_MAX) < 0)
        return -1;
    *limit = (uint64_t)bytes;
    *evict = eviction && PyUnicode_Check(eviction) &&
             PyUnicode_CompareWithASCIIString(eviction, "lru") == 0;
    if (*evict && !*limit) {
        PyErr_SetString(PyExc_ValueError, "eviction='lru' needs max_bytes");
        return -1;
    }
    if (*evict || !eviction ||
        (PyUnicode_Check(eviction) && PyUnicode_CompareWithASCIIString(eviction, "reject") == 0))
        return 0;
    PyErr_Format(PyExc_ValueError, "eviction is %R: expected 'reject' or 'lru'", eviction);
    return -1;
}

static PyObject *Table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *known[] = {"max_key", "max_value", "default_ttl", "max_bytes", "eviction", NULL};
    PyObject *max_key = NULL, *max_value = NULL, *default_ttl = NULL;
    PyObject *max_bytes = NULL, *eviction = NULL;
    uint64_t limit;
    bool evict;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOOO:Table", known, &max_key, &max_value,
                                     &default_ttl, &max_bytes, &eviction))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    TableObject *self = (TableObject *)alloc(type, 0);
    if (!self)
        return NULL;
    self->max_key = 1024;
    self->max_value = 16 * 1024 * 1024;
    self->default_span = DKV_NEVER;
    if ((max_key && limit_from(&self->max_key, max_key, "max_key", 1, DKV_KEY_CEILING) < 0) ||
        (max_value &&
         limit_from(&self->max_value, max_value, "max_value", 0, DKV_VALUE_CEILING) < 0) ||
        (given(default_ttl) && span_from(&self->default_span, default_ttl, "default_ttl") < 0) ||
        room_from(&limit, &evict, max_bytes, eviction) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->table = dkv_new(limit, evict);
    if (!self->table) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void Table_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    dkv_table *table = ((TableObject *)self)->table;
    let_go_now((TableObject *)self);
    if (table) {
        dkv_close(table);
        dkv_reap(table, let_go, SIZE_MAX);
        dkv_free(table);
    }
    if (((TableObject *)self)->logs) {
        pthread_mutex_destroy(&((TableObject *)self)->writer);
        waiting_end(&((TableObject *)self)->waiting);
    }
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

#define FAST(name)                                                                                 \
    {#name, (PyCFunction)(void (*)(void))Table_##name, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef Table_methods[] = {
    FAST(get),
    FAST(set),
    FAST(add),
    FAST(setdefault),
    FAST(incr),
    FAST(decr),
    FAST(touch),
    FAST(delete),
    FAST(pop),
    FAST(set_many),
    {"get_many", Table_get_many, METH_O, NULL},
    {"delete_many", Table_delete_many, METH_O, NULL},
    {"update", (PyCFunction)(void (*)(void))Table_update, METH_FASTCALL, NULL},
    {"entry", Table_entry, METH_O, NULL},
    {"ttl", Table_ttl, METH_O, NULL},
    {"persist", Table_persist, METH_O, NULL},
    {"popitem", Table_popitem, METH_NOARGS, NULL},
    {"_keys", Table_keys, METH_O, NULL},
    {"_pairs", Table_pairs, METH_O, NULL},
    {"_those", Table_those, METH_O, NULL},
    {"_commit", Table_commit, METH_O, NULL},
    {"_sorted", Table_sorted, METH_VARARGS, NULL},
    {"_note", Table_note, METH_O, NULL},
    {"_changes", Table_changes, METH_NOARGS, NULL},
    {"_watch", Table_watch, METH_O, NULL},
    {"_unwatch", Table_unwatch, METH_NOARGS, NULL},
    {"_events", Table_events, METH_O, NULL},
    {"_expect", Table_expect, METH_NOARGS, NULL},
    {"_news", Table_news, METH_NOARGS, NULL},
    {"_logs", Table_logs, METH_NOARGS, NULL},
    {"_log_begin", Table_log_begin, METH_VARARGS, NULL},
    {"_log_file", Table_log_file, METH_VARARGS, NULL},
    {"_log_extend", Table_log_extend, METH_O, NULL},
    {"_log_state", Table_log_state, METH_NOARGS, NULL},
    {"_log_synced", Table_log_synced, METH_O, NULL},
    {"_log_refuses", Table_log_refuses, METH_O, NULL},
    {"_log_lock", Table_log_lock, METH_NOARGS, NULL},
    {"_log_unlock", Table_log_unlock, METH_NOARGS, NULL},
    {"_log_append", Table_log_append, METH_O, NULL},
    {"_log_keep", Table_log_keep, METH_VARARGS, NULL},
    {"_log_undo", Table_log_undo, METH_O, NULL},
    {"_log_join", Table_log_join, METH_O, NULL},
    {"_log_gather", Table_log_gather, METH_O, NULL},
    {"_log_reached", Table_log_reached, METH_VARARGS, NULL},
    {"_log_leave", Table_log_leave, METH_NOARGS, NULL},
    {"_log_unwaited", Table_log_unwaited, METH_O, NULL},
    {"_handle", Table_handle, METH_NOARGS, NULL},
    {"_wake", Table_wake, METH_NOARGS, NULL},
    {"_reap", Table_reap, METH_NOARGS, NULL},
    {"_set_clock", Table_set_clock, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Table_getset[] = {
    {"closed", Table_closed, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef Table_members[] = {
    {"max_key", T_PYSSIZET, offsetof(TableObject, max_key), READONLY, NULL},
    {"max_value", T_PYSSIZET, offsetof(TableObject, max_value), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Table_slots[] = {
    {Py_tp_new, (void *)Table_new},           {Py_tp_dealloc, (void *)Table_dealloc},
    {Py_tp_methods, Table_methods},           {Py_tp_getset, Table_getset},
    {Py_tp_members, Table_members},           {Py_mp_length, (void *)Table_len},
    {Py_mp_subscript, (void *)Table_getitem}, {Py_mp_ass_subscript, (void *)Table_setitem},
    {Py_sq_contains, (void *)Table_contains}, {0, NULL},
};

static PyType_Spec Table_spec = {
    .name = "dumbkv._native.Table",
    .basicsize = sizeof(TableObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Table_slots,
};

static PyObject *imported(const char *module, const char *name)
{
    PyObject *from = PyImport_ImportModule(module);
    PyObject *object = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return object;
}

static int install(void)
{
    names.entry_type = imported("dumbkv._entry", "Entry");
    names.new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    names.closed_error = imported("dumbkv.errors", "ClosedError");
    names.invalid_key_error = imported("dumbkv.errors", "InvalidKeyError");
    names.too_large_error = imported("dumbkv.errors", "TooLargeError");
    names.not_an_integer_error = imported("dumbkv.errors", "NotAnIntegerError");
    names.store_full_error = imported("dumbkv.errors", "StoreFullError");
    names.conflict_error = imported("dumbkv.errors", "ConflictError");
    names.shown = imported("dumbkv.errors", "shown");
    if (!names.entry_type || !names.closed_error || !names.invalid_key_error ||
        !names.too_large_error || !names.store_full_error || !names.not_an_integer_error ||
        !names.conflict_error || !names.shown)
        return -1;
    PyObject *type = PyType_FromSpec(&Table_spec);
    PyObject *module = type ? PyImport_AddModule("dumbkv._native") : NULL; /* borrowed */
    int rc = module ? PyObject_SetAttrString(module, "Table", type) : -1;
    Py_XDECREF(type);
    return rc;
}

int dkv_install(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    int rc = install();
    if (rc < 0)
        PyErr_Print();
    PyGILState_Release(state);
    return rc;
}
