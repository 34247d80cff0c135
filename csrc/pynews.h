/*
 * What the table tells others: keys that appeared and vanished, and events. Part of pytable.c.
 */

/* The keys in a shard's journal, added to a list. */
static int keys_of(PyObject *list, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) { /* an empty journal is NULL, which has no places */
        uint16_t key_len;
        memcpy(&key_len, bytes + at, sizeof key_len);
        at += sizeof key_len;
        if (append_key(list, bytes + at, key_len))
            return -1;
        at += key_len;
    }
    return 0;
}

/* Keep a journal of keys that appear and vanish, from an empty one on, or stop. */
static PyObject *Table_note(PyObject *self, PyObject *on)
{
    dkv_note_changes(((TableObject *)self)->table, PyObject_IsTrue(on) == 1);
    return Py_NewRef(Py_None);
}

/* The next of the keys that dkv_sort_keys gave, at most so many; none at the end. */
static PyObject *Table_sorted(PyObject *Py_UNUSED(self), PyObject *args)
{
    unsigned long long handle, most;
    if (!PyArg_ParseTuple(args, "KK:_sorted", &handle, &most))
        return NULL;
    dkv_sorted *sorted = (dkv_sorted *)(uintptr_t)handle;
    PyObject *list = PyList_New(0);
    const uint8_t *key;
    size_t key_len;
    while (list && most-- && (key = dkv_sorted_next(sorted, &key_len))) {
        if (append_key(list, key, key_len))
            Py_CLEAR(list);
    }
    return list;
}

/* Keys that appeared or vanished since the last call; None when there were too many. */
static PyObject *Table_changes(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    int rc = list ? 0 : -1;
    for (size_t shard = 0; shard < DKV_SHARDS && rc == 0; shard++) {
        uint8_t *bytes;
        size_t len;
        int code = dkv_take_changes(((TableObject *)self)->table, shard, &bytes, &len);
        if (code == DKV_ELOST) {
            Py_DECREF(list);
            return Py_NewRef(Py_None);
        }
        if (code < 0)
            raise_code((TableObject *)self, code);
        rc = code < 0 ? -1 : keys_of(list, bytes, len);
        dkv_free_changes(bytes);
    }
    if (rc < 0)
        Py_CLEAR(list);
    return list;
}

static PyObject *lost_or(TableObject *self, int64_t code)
{
    return code == DKV_ELOST ? Py_NewRef(Py_None) : raise_code(self, (int)code);
}

/* Begin to watch after a version, or from now on for None: where to read, or None when the
   events since then are not kept. */
static PyObject *Table_watch(PyObject *self, PyObject *since)
{
    uint64_t version = DKV_NOW, at;
    if (given(since) && (version = PyLong_AsUnsignedLongLong(since)) == DKV_NOW && PyErr_Occurred())
        return NULL;
    TableObject *table = (TableObject *)self;
    if (table->logs && not_mine(table) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS /* between two changes, not in the middle of one */
        if (table->logs) begin_turn(table);
    Py_END_ALLOW_THREADS int rc = dkv_watch(table->table, version, &at);
    if (table->logs)
        end_turn(table);
    return rc < 0 ? lost_or((TableObject *)self, rc) : PyLong_FromUnsignedLongLong(at);
}

static PyObject *Table_unwatch(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    TableObject *table = (TableObject *)self;
    if (table->logs && not_mine(table) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS if (table->logs) begin_turn(table);
    Py_END_ALLOW_THREADS dkv_unwatch(table->table);
    if (table->logs)
        end_turn(table);
    return Py_NewRef(Py_None);
}

/* Some events, as (what, key, version), and where to read on; None when they are lost. */
static PyObject *Table_events(PyObject *self, PyObject *place)
{
    enum { ROOM = DKV_KEY_CEILING + DKV_EVENT_HEADER };
    uint64_t at = PyLong_AsUnsignedLongLong(place);
    if (at == UINT64_MAX && PyErr_Occurred())
        return NULL;
    uint8_t *bytes = PyMem_Malloc(ROOM);
    PyObject *list = bytes ? PyList_New(0) : PyErr_NoMemory();
    int64_t n = list ? dkv_read_events(((TableObject *)self)->table, &at, bytes, ROOM) : 0;
    PyObject *result = NULL;
    int rc = list && n >= 0 ? 0 : -1;
    for (const uint8_t *from = bytes; rc == 0 && from < bytes + n;) {
        uint64_t version;
        uint16_t key_len;
        memcpy(&version, from, sizeof version);
        memcpy(&key_len, from + sizeof version, sizeof key_len);
        const uint8_t *key = from + DKV_EVENT_HEADER;
        from = key + key_len;
        if (key[-1] == DKV_NOTHING)
            continue;
        PyObject *bytes_of_key = PyBytes_FromStringAndSize((const char *)key, key_len);
        PyObject *event = bytes_of_key ? Py_BuildValue("(iNK)", (int)key[-1], bytes_of_key,
                                                       (unsigned long long)version)
                                       : NULL;
        rc = event ? PyList_Append(list, event) : -1;
        Py_XDECREF(event);
    }
    if (list && n < 0)
        result = lost_or((TableObject *)self, n);
    else if (rc == 0)
        result = Py_BuildValue("(OK)", list, (unsigned long long)at);
    Py_XDECREF(list);
    PyMem_Free(bytes);
    return result;
}

/* Somebody is about to wait: call _news once after something happened. */
static PyObject *Table_expect(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    dkv_expect_news(((TableObject *)self)->table);
    return Py_NewRef(Py_None);
}
