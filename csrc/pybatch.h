/*
 * A batch: checks, writes and removals of many keys as one step. Part of pytable.c.
 */

/* What is wanted of a key: None for anything, 0 for absent, else a version. */
static int want_from(uint64_t *want, PyObject *given_want)
{
    *want = DKV_ANY;
    if (!given(given_want))
        return 0;
    if (is_int(given_want)) {
        uint64_t version = PyLong_AsUnsignedLongLong(given_want);
        if (version == 0 && !PyErr_Occurred()) {
            *want = DKV_ABSENT;
            return 0;
        }
        PyErr_Clear();
    }
    return version_from(want, given_want);
}

/* One of the operations: (what to do, key, wanted version, value or None, ttl, expire_at). */
static int operation(TableObject *self, Many *many, PyObject *item)
{
    Py_ssize_t i = many->n;
    int act;
    PyObject *k, *want, *v, *ttl, *expire_at;
    Expiry expiry;
    dkv_pair *pair = &many->pairs[i];
    if (!PyArg_ParseTuple(item, "iOOOOO:_commit", &act, &k, &want, &v, &ttl, &expire_at) ||
        want_from(&pair->want, want) < 0 ||
        expiry_from(&expiry, ttl, expire_at, act == DKV_PUT_KEEPING) < 0 ||
        key_from(self, &many->keys[i], k) < 0)
        return -1;
    if ((act == DKV_PUT || act == DKV_PUT_KEEPING) && value_from(self, &many->values[i], v) < 0) {
        text_clear(&many->keys[i]);
        return -1;
    }
    pair->act = (dkv_act)act;
    pair->deadline = deadline_of(self, expiry);
    many_key(many, i);
    many->n++;
    return 0;
}

static void raise_conflict(const Many *many, size_t at)
{
    PyObject *error =
        PyObject_CallFunctionObjArgs(names.conflict_error, many->keys[at].owner, NULL);
    if (error)
        PyErr_SetObject(names.conflict_error, error);
    Py_XDECREF(error);
}

static PyObject *versions(const Many *many)
{
    PyObject *list = PyList_New(many->n);
    for (Py_ssize_t i = 0; list && i < many->n; i++) {
        PyObject *version = PyLong_FromUnsignedLongLong(many->pairs[i].version);
        if (!version || PyList_SetItem(list, i, version) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *Table_commit(PyObject *self, PyObject *operations)
{
    TableObject *table = (TableObject *)self;
    Many many;
    size_t at = 0;
    int64_t deadline = DKV_NEVER;
    if (!PyList_CheckExact(operations)) {
        raise_type("_commit() needs a list, not %S", operations);
        return NULL;
    }
    if (many_alloc(&many, PyList_Size(operations), true) < 0)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_Size(operations); i++) {
        if (operation(table, &many, PyList_GetItem(operations, i)) < 0) {
            many_clear(&many);
            return NULL;
        }
    }
    for (Py_ssize_t i = 0; i < many.n; i++) {
        if (many.values[i].owner)
            many.pairs[i].value = lend(&many.values[i]);
    }
    int rc = commit_pairs(table, many.pairs, (size_t)many.n, &at);
    for (Py_ssize_t i = 0; i < many.n && rc == 0; i++) {
        if (many.values[i].owner && many.pairs[i].until < deadline)
            deadline = many.pairs[i].until;
    }
    PyObject *result = rc < 0 ? NULL : versions(&many);
    finish_logged(table, rc, deadline);
    if (rc == DKV_ECONFLICT)
        raise_conflict(&many, at);
    else if (rc < 0)
        raise_code(table, rc);
    many_clear(&many);
    return result;
}
