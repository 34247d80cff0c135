/*
 * The methods of dumbkv._native.Table that look and change nothing. Part of pytable.c.
 */

/* A hold on a key for reading: 1, 0, or -1 with the exception set. */
static int begin_read(TableObject *self, Text *key, PyObject *arg, dkv_hold *hold)
{
    if (key_from(self, key, arg) < 0)
        return -1;
    int found = dkv_read(self->table, key->bytes, (size_t)key->len, hold);
    if (found < 0) {
        raise_code(self, found);
        text_clear(key);
    }
    return found;
}

/* The value itself when the table has it as an object, else a copy. */
static PyObject *value_of(const dkv_hold *hold)
{
    if (hold->value.owner)
        return Py_NewRef((PyObject *)hold->value.owner);
    return PyBytes_FromStringAndSize((const char *)hold->value.bytes, (Py_ssize_t)hold->value.len);
}

/* The value, or NULL: with an exception set, or with none and the key absent. */
static PyObject *lookup(TableObject *self, PyObject *arg)
{
    Text key;
    dkv_hold hold;
    int found = begin_read(self, &key, arg, &hold);
    if (found < 0)
        return NULL;
    PyObject *value = found ? value_of(&hold) : NULL;
    dkv_release(&hold);
    text_clear(&key);
    return value;
}

static PyObject *missing(PyObject *arg)
{
    PyObject *key = PyBytes_FromObject(arg);
    if (key)
        PyErr_SetObject(PyExc_KeyError, key);
    Py_XDECREF(key);
    return NULL;
}

static PyObject *Table_getitem(PyObject *self, PyObject *arg)
{
    PyObject *value = lookup((TableObject *)self, arg);
    return value || PyErr_Occurred() ? value : missing(arg);
}

static PyObject *Table_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const known[] = {"key", "default", NULL};
    PyObject *slots[2] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL};
    if (positional("get", nargs, kwnames ? 0 : 1, 2) < 0)
        return NULL;
    if (kwnames && keywords("get", args, nargs, kwnames, known, slots) < 0)
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "get() missing its argument 'key'");
        return NULL;
    }
    PyObject *value = lookup((TableObject *)self, slots[0]);
    if (value || PyErr_Occurred())
        return value;
    return Py_NewRef(slots[1] ? slots[1] : Py_None);
}

static int Table_contains(PyObject *self, PyObject *arg)
{
    Text key;
    dkv_hold hold;
    int found = begin_read((TableObject *)self, &key, arg, &hold);
    if (found < 0)
        return -1;
    dkv_release(&hold);
    text_clear(&key);
    return found;
}

static Py_ssize_t Table_len(PyObject *self)
{
    dkv_counts counts;
    int rc = dkv_count(((TableObject *)self)->table, &counts);
    if (rc < 0) {
        raise_code((TableObject *)self, rc);
        return -1;
    }
    return (Py_ssize_t)counts.entries;
}

/* An Entry as tuple.__new__ makes it; the type's own __new__ is a function in Python. */
static PyObject *new_entry(PyObject *key, PyObject *value, PyObject *version, PyObject *expires_at)
{
    PyObject *fields = PyTuple_Pack(4, key, value, version, expires_at);
    PyObject *args = fields ? PyTuple_Pack(1, fields) : NULL;
    PyObject *entry = args ? names.new_tuple((PyTypeObject *)names.entry_type, args, NULL) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(fields);
    return entry;
}

static PyObject *Table_entry(PyObject *self, PyObject *arg)
{
    TableObject *table = (TableObject *)self;
    Text key;
    dkv_hold hold;
    int found = begin_read(table, &key, arg, &hold);
    if (found < 0)
        return NULL;
    PyObject *value = found ? value_of(&hold) : NULL;
    uint64_t version = hold.version;
    int64_t deadline = hold.deadline;
    dkv_release(&hold);
    PyObject *result = NULL;
    if (!found) {
        result = Py_NewRef(Py_None);
    } else if (value) {
        PyObject *expires_at = Py_None;
        if (deadline == DKV_NEVER) {
            Py_INCREF(expires_at);
        } else {
            int64_t epoch = dkv_wall(table->table) - dkv_now(table->table);
            expires_at = PyFloat_FromDouble((double)(epoch + deadline) / 1e6);
        }
        PyObject *number = PyLong_FromUnsignedLongLong(version);
        if (number && expires_at)
            result = new_entry(key.owner, value, number, expires_at);
        Py_XDECREF(number);
        Py_XDECREF(expires_at);
    }
    Py_XDECREF(value);
    text_clear(&key);
    return result;
}

static PyObject *Table_ttl(PyObject *self, PyObject *arg)
{
    Text key;
    dkv_hold hold;
    int found = begin_read((TableObject *)self, &key, arg, &hold);
    if (found < 0)
        return NULL;
    int64_t deadline = hold.deadline;
    dkv_release(&hold);
    text_clear(&key);
    if (!found)
        return missing(arg);
    if (deadline == DKV_NEVER)
        return Py_NewRef(Py_None);
    return PyFloat_FromDouble((double)(deadline - dkv_now(((TableObject *)self)->table)) / 1e6);
}
