/* Rows of the ledger, as books/ledger.py writes them, behind those that its journal holds; of a Lane of lane.c. */

/* Where the next row of the ledger begins, behind stream and rank; NULL where the journal has no `room` for it. */
static char *begin_row(const Lane *self, Py_ssize_t room)
{
    char *journal = self->journal.buf;
    int64_t length = *(int64_t *)journal;
    if (length < 0 || (Py_ssize_t)sizeof length + (Py_ssize_t)length + self->prefix_bytes + room > self->journal.len)
        return NULL;
    return (char *)memcpy(journal + sizeof length + length, self->prefix, (size_t)self->prefix_bytes) + self->prefix_bytes;
}

/* The row that ends at `at` counts from now on. */
static void end_row(Lane *self, const char *at)
{
    int64_t *length = self->journal.buf;
    store(length, at - (const char *)(length + 1));
}

/* Append a time in seconds as Python writes it, and a comma; the end, or NULL. */
static char *write_seconds(char *at, int64_t ns)
{
    char *text = PyOS_double_to_string((double)ns * 1e-9, 'f', 6, 0, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return NULL;
    }
    size_t length = strlen(text);
    memcpy(at, text, length);
    at[length] = ',';
    PyMem_Free(text);
    return at + length + 1;
}

/* Write a row of the ledger, `what` its status and outcome; 0 where the journal is full. */
static int write_row(Lane *self, int64_t step, int64_t published_ns, const char *what)
{
    char *at = begin_row(self, ROW_ROOM);
    if (at == NULL)
        return 0;
    at += PyOS_snprintf(at, ROW_ROOM / 2, "%lld,%s,,", (long long)step, what);
    if ((at = write_seconds(at, published_ns - self->origin_ns)) == NULL)
        return 0;
    memcpy(at, ",,,0,\n", 6);
    end_row(self, at + 6);
    return 1;
}

/* Copy what answered a frame, which its slot says, or else the ring; -1 where it is not as plain as the ledger's rows. */
static Py_ssize_t copy_model(const Lane *self, const Slot *slot, char *to)
{
    int64_t length = slot->row[ROW_DETAIL];
    const char *from = slot->detail;
    if (length <= 0) {
        from = (const char *)self->region.buf + self->model;
        length = self->model_bytes;
        while (length > 0 && from[length - 1] == 0)
            length--;
    }
    if (length > MOST_MODEL)
        return -1;
    for (int64_t at = 0; at < length; at++) {
        if (from[at] < 32 || from[at] > 126 || from[at] == ',' || from[at] == '"')
            return -1;
        to[at] = from[at];
    }
    return (Py_ssize_t)length;
}

/* Write the row of a frame that was answered; 0 where that is left to Python. */
static int write_answer(Lane *self, const Slot *slot)
{
    const int64_t *row = slot->row;
    char model[MOST_MODEL], *at = begin_row(self, ANSWER_ROOM);
    Py_ssize_t length = copy_model(self, slot, model);
    if (at == NULL || length < 0)
        return 0;
    int64_t published = row[ROW_NS], taken = row[ROW_TAKEN_NS], done = row[ROW_DONE_NS];
    int64_t times[] = {published - self->origin_ns, taken - published, done - taken, done - published};
    at += PyOS_snprintf(at, ROW_ROOM, "%lld,accepted,inferred,,", (long long)row[ROW_STEP]);
    for (size_t one = 0; one < sizeof times / sizeof *times; one++)
        if ((at = write_seconds(at, times[one])) == NULL)
            return 0;
    at += PyOS_snprintf(at, ROW_ROOM, "%lld,", (long long)row[ROW_ATTEMPTS] + 1);
    memcpy(at, model, (size_t)length);
    at[length] = '\n';
    end_row(self, at + length + 1);
    return 1;
}
