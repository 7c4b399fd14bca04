/* Where spilled frames lie in memory until the worker has written them to the file: ring/staging.py; of a Lane of lane.c. */

/* A place that may be filled; -1 where there is none. */
static Py_ssize_t free_place(const Lane *self)
{
    const Staging *staging = &self->staging;
    for (Py_ssize_t place = 0; place < staging->count; place++) {
        int64_t sequence = staging->given[2 * place], base = staging->given[2 * place + 1];
        /* The reader's side could have written there: no number of it leads us outside. */
        if (sequence == load(staging->written + place) || base < 0 || base > self->region.len / 8 - ROW_WORDS)
            return place;
        const int64_t *row = self->words + base;
        int64_t state = load(row + ROW_STATE);
        if (row[ROW_SEQUENCE] != sequence || state == FREE || state == DONE)
            return place;
    }
    return -1;
}

/* The place is filled with the frame of the slot of `row`, which is described and not READY yet. */
static void give_place(Lane *self, Py_ssize_t place, const int64_t *row)
{
    store(self->staging.given + 2 * place, row[ROW_SEQUENCE]);
    store(self->staging.given + 2 * place + 1, row - self->words);
}
