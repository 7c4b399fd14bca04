/* A lane: the way of a frame into its ring where nothing has to be decided, in few instructions: those of Python, and
 * what they look at, have mostly left the caches between two steps, and would take as long as the copy.
 *
 * It does what Producer.publish, _evict and _refuse do (ring/producer.py), in the same order of stores, for frames of
 * the form that the slots' rows speak of already. All else it leaves to them: publish() is then ASK, and nothing has
 * changed. The producer lends it slots, and takes back what has become of them before it looks at its lists again.
 *
 * The numbers of words are those of ring/layout.py; native/compiled.py compares them.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { PUBLISHED = 17, SEQUENCE = 21, SUPERVISOR_STATE = 48 };
enum { ROW_STATE = 0, ROW_EVICT = 1, ROW_TAKEN = 2, ROW_ATTEMPTS = 3, ROW_SEQUENCE = 8, ROW_STEP = 9, ROW_NS = 10 };
enum { WRITING = 1, READY = 2, DONE = 4, FAILED = 5 };
/* What publish() says, and where an event has no slot, minus that for its number. */
enum { ASK = 0, ACCEPTED = 1, FULL = 2, SAMPLED = 3 };

/* From so many bytes on other threads may run meanwhile. */
#define UNLOCK_BYTES (64 * 1024)
/* From so many bytes on a copy goes past the caches: most of it would have left them before it is read, and with it
 * what the simulation has there. */
#define STREAM_BYTES (256 * 1024)
#define MOST_DIMENSIONS 6
#define ROW_BYTES 256
#define LEAST_EVENTS 64
/* What a row of the ledger takes beyond stream and rank. */
#define ROW_ROOM 128

typedef struct {
    int64_t *row;
    char *payload;
} Slot;

typedef struct {
    int64_t slot, step, ns, superseded;
} Event;

typedef struct {
    PyObject_HEAD
    /* What every frame looks at comes first, together. */
    int64_t *words;
    PyArray_Descr *descr;
    int64_t last_step;
    int64_t seen, one_in; /* frames that came, and of how many one is taken */
    Py_ssize_t nbytes;
    int dimensions;
    int lent, evicts, refuses, samples;
    npy_intp shape[MOST_DIMENSIONS];
    Slot *slots;
    Py_ssize_t *free;
    Py_ssize_t *line; /* under way, oldest first */
    Event *events;
    Py_ssize_t capacity, count, frees, waiting, happened, most_events;
    int64_t origin_ns;
    Py_ssize_t prefix_bytes;
    char *prefix; /* of a row of the ledger: stream and rank */
    Py_buffer region, journal;
} Lane;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#ifdef __SSE2__
/* Whole lines, not read before they are written to: a third sooner than memcpy, which reads them first. */
static void copy_past_caches(char *to, const char *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) {
        __m128i one = _mm_loadu_si128((const __m128i *)(from + at));
        __m128i two = _mm_loadu_si128((const __m128i *)(from + at + 16));
        __m128i three = _mm_loadu_si128((const __m128i *)(from + at + 32));
        __m128i four = _mm_loadu_si128((const __m128i *)(from + at + 48));
        _mm_stream_si128((__m128i *)(to + at), one);
        _mm_stream_si128((__m128i *)(to + at + 16), two);
        _mm_stream_si128((__m128i *)(to + at + 32), three);
        _mm_stream_si128((__m128i *)(to + at + 48), four);
    }
    _mm_sfence(); /* stores that go past the caches keep no order of themselves */
}
#endif

static void copy(char *to, const char *from, size_t bytes)
{
#ifdef __SSE2__
    if (bytes >= STREAM_BYTES && ((uintptr_t)to & 63) == 0) {
        size_t lines = bytes & ~(size_t)63;
        copy_past_caches(to, from, lines);
        to += lines, from += lines, bytes -= lines;
    }
#endif
    memcpy(to, from, bytes);
}

static int64_t load(const int64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(int64_t *word, int64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Write a row of the ledger, `what` its status and outcome; 0 where the journal is full. */
static int write_row(Lane *self, int64_t step, int64_t published_ns, const char *what)
{
    char *journal = self->journal.buf;
    int64_t *length = (int64_t *)journal;
    Py_ssize_t end = (Py_ssize_t)sizeof *length + (Py_ssize_t)*length;
    if (*length < 0 || end + self->prefix_bytes + ROW_ROOM > self->journal.len)
        return 0;
    char *published = PyOS_double_to_string((double)(published_ns - self->origin_ns) * 1e-9, 'f', 6, 0, NULL);
    if (published == NULL) {
        PyErr_Clear();
        return 0;
    }
    char *at = journal + end;
    memcpy(at, self->prefix, (size_t)self->prefix_bytes);
    at += self->prefix_bytes;
    int written = PyOS_snprintf(at, ROW_ROOM, "%lld,%s,,%s,,,,0,\n", (long long)step, what, published);
    PyMem_Free(published);
    if (written < 0 || written >= ROW_ROOM)
        return 0;
    store(length, *length + self->prefix_bytes + written);
    return 1;
}

/* Whether a frame has ended, which gives its slot once the ledger knows how. */
static int any_ended(const Lane *self)
{
    for (Py_ssize_t place = 0; place < self->waiting; place++)
        if (load(self->slots[self->line[place]].row + ROW_STATE) == DONE)
            return 1;
    return 0;
}

/* The place in line of the oldest frame that waits, taken back from the reader; -1 where the producer must see. */
static Py_ssize_t evict(Lane *self)
{
    if (any_ended(self))
        return -1;
    for (Py_ssize_t place = 0; place < self->waiting; place++) {
        int64_t *row = self->slots[self->line[place]].row;
        if (load(row + ROW_STATE) != READY)
            continue;
        store(row + ROW_EVICT, 1);
        fence();
        if (load(row + ROW_TAKEN)) {
            store(row + ROW_EVICT, 0);
            continue;
        }
        /* Its row first: a frame is in the ring or in the ledger at any moment. */
        if (!write_row(self, row[ROW_STEP], row[ROW_NS], "accepted,superseded")) {
            store(row + ROW_EVICT, 0);
            return -1;
        }
        store(row + ROW_STATE, WRITING);
        store(row + ROW_ATTEMPTS, 0);
        return place;
    }
    return -1;
}

static int fits(const Lane *self, PyArrayObject *array)
{
    return PyArray_DESCR(array) == self->descr && PyArray_NDIM(array) == self->dimensions &&
           PyArray_IS_C_CONTIGUOUS(array) &&
           !memcmp(PyArray_DIMS(array), self->shape, sizeof(npy_intp) * (size_t)self->dimensions);
}

/* Book a frame that is not taken; ASK where the journal is full. */
static long refuse(Lane *self, int64_t step, long said)
{
    int64_t now = now_ns();
    if (!write_row(self, step, now, said == FULL ? "dropped,full" : "dropped,sampled"))
        return ASK;
    self->events[self->happened++] = (Event){-said, step, now, -1};
    self->last_step = step;
    self->seen++;
    store(self->words + PUBLISHED, self->words[PUBLISHED] + 1);
    return said;
}

static PyObject *publish(Lane *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "publish takes an array and a step");
        return NULL;
    }
    if (!self->lent || !PyArray_CheckExact(arguments[0]) || !fits(self, (PyArrayObject *)arguments[0]))
        return PyLong_FromLong(ASK);
    int64_t step = PyLong_AsLongLong(arguments[1]);
    if (step == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return PyLong_FromLong(ASK);
    }
    if (step <= self->last_step || self->happened == self->most_events || load(self->words + SUPERVISOR_STATE) == FAILED)
        return PyLong_FromLong(ASK);
    if (self->seen % self->one_in)
        return PyLong_FromLong(self->samples ? refuse(self, step, SAMPLED) : ASK);
    if (self->frees == 0 && !self->evicts)
        return PyLong_FromLong(self->refuses && !any_ended(self) ? refuse(self, step, FULL) : ASK);
    const char *source = PyArray_BYTES((PyArrayObject *)arguments[0]);
    int64_t now = now_ns(), superseded = -1;
    Py_ssize_t number, place = -1;
    if (self->frees) {
        number = self->free[--self->frees];
    } else {
        place = evict(self);
        if (place < 0)
            return PyLong_FromLong(ASK);
        number = self->line[place];
        superseded = self->slots[number].row[ROW_STEP];
        self->waiting--;
        memmove(self->line + place, self->line + place + 1, sizeof *self->line * (size_t)(self->waiting - place));
    }
    int64_t *row = self->slots[number].row;
    char *payload = self->slots[number].payload;
    /* Before the copy: whoever takes all back meanwhile finds the slot under way. */
    self->line[self->waiting++] = number;
    self->events[self->happened++] = (Event){number, step, now, superseded};
    self->last_step = step;
    self->seen++;
    if (self->nbytes < UNLOCK_BYTES) {
        copy(payload, source, (size_t)self->nbytes);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        copy(payload, source, (size_t)self->nbytes);
        Py_END_ALLOW_THREADS;
    }
    row[ROW_SEQUENCE] = ++self->words[SEQUENCE];
    row[ROW_STEP] = step;
    row[ROW_NS] = now;
    fence();
    store(row + ROW_STATE, READY);
    if (place >= 0)
        store(row + ROW_EVICT, 0);
    store(self->words + PUBLISHED, self->words[PUBLISHED] + 1);
    return PyLong_FromLong(ACCEPTED);
}

/* Numbers of slots from a list; -1 with an error set where they are not. */
static Py_ssize_t numbers(Lane *self, PyObject *list, Py_ssize_t *into)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (count > self->count) {
        PyErr_SetString(PyExc_ValueError, "more slots than the stream has");
        return -1;
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        Py_ssize_t number = PyLong_AsSsize_t(PyList_GET_ITEM(list, place));
        if (number < 0 || number >= self->count) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_ValueError, "no slot %zd", number);
            return -1;
        }
        into[place] = number;
    }
    return count;
}

static PyObject *lend(Lane *self, PyObject *arguments)
{
    PyArrayObject *form;
    PyObject *free_slots, *line;
    long long last_step, seen;
    int evicts, refuses, samples;
    if (!PyArg_ParseTuple(arguments, "O!O!O!LLppp", &PyArray_Type, &form, &PyList_Type, &free_slots, &PyList_Type, &line,
                          &last_step, &seen, &evicts, &refuses, &samples))
        return NULL;
    if (self->happened) {
        PyErr_SetString(PyExc_ValueError, "a lane must be taken back before it is lent: one thread at a time may publish");
        return NULL;
    }
    if (PyArray_NDIM(form) > MOST_DIMENSIONS || PyArray_NBYTES(form) > self->capacity || seen < 0) {
        PyErr_SetString(PyExc_ValueError, "the form must fit the slots");
        return NULL;
    }
    self->frees = self->waiting = self->lent = 0;
    Py_ssize_t frees = numbers(self, free_slots, self->free), waiting = numbers(self, line, self->line);
    if (frees < 0 || waiting < 0)
        return NULL;
    if (frees + waiting > self->count) {
        PyErr_SetString(PyExc_ValueError, "more slots than the stream has");
        return NULL;
    }
    PyArray_Descr *before = self->descr;
    self->descr = PyArray_DESCR(form);
    Py_INCREF(self->descr);
    Py_XDECREF(before);
    self->dimensions = PyArray_NDIM(form);
    memcpy(self->shape, PyArray_DIMS(form), sizeof(npy_intp) * (size_t)self->dimensions);
    self->nbytes = PyArray_NBYTES(form);
    self->frees = frees, self->waiting = waiting, self->last_step = last_step, self->seen = seen;
    self->evicts = evicts, self->refuses = refuses, self->samples = samples, self->lent = 1;
    Py_RETURN_NONE;
}

static PyObject *take(Lane *self, PyObject *unused)
{
    (void)unused;
    PyObject *events = PyList_New(self->happened);
    if (events == NULL)
        return NULL;
    for (Py_ssize_t place = 0; place < self->happened; place++) {
        Event *one = self->events + place;
        PyObject *event = Py_BuildValue("LLLL", (long long)one->slot, (long long)one->step, (long long)one->ns,
                                        (long long)one->superseded);
        if (event == NULL) {
            Py_DECREF(events);
            return NULL;
        }
        PyList_SET_ITEM(events, place, event);
    }
    self->frees = self->waiting = self->happened = self->lent = 0;
    return events;
}

static int placed(Lane *self, PyObject *places)
{
    for (Py_ssize_t number = 0; number < self->count; number++) {
        Py_ssize_t row, payload;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(places, number), "nn", &row, &payload))
            return -1;
        Py_ssize_t room = self->region.len;
        if (row < 0 || payload < 0 || row % 8 || payload % 8 || row + ROW_BYTES > room || payload + self->capacity > room) {
            PyErr_SetString(PyExc_ValueError, "a slot must lie within the ring");
            return -1;
        }
        self->slots[number].row = (int64_t *)((char *)self->region.buf + row);
        self->slots[number].payload = (char *)self->region.buf + payload;
    }
    return 0;
}

static int init(Lane *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"region", "journal", "places", "capacity", "prefix", "origin_ns", "one_in", NULL};
    PyObject *region, *journal, *places;
    const char *prefix;
    long long origin_ns, one_in;
    if (self->region.obj != NULL) {
        PyErr_SetString(PyExc_TypeError, "a lane is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO!ny#LL", names, &region, &journal, &PyList_Type, &places,
                                     &self->capacity, &prefix, &self->prefix_bytes, &origin_ns, &one_in))
        return -1;
    if (PyObject_GetBuffer(region, &self->region, PyBUF_WRITABLE) || PyObject_GetBuffer(journal, &self->journal, PyBUF_WRITABLE))
        return -1;
    self->count = PyList_GET_SIZE(places);
    if (self->region.len < 4096 || self->journal.len < ROW_ROOM || self->capacity < 1 || one_in < 1) {
        PyErr_SetString(PyExc_ValueError, "a lane must have a ring and a journal");
        return -1;
    }
    self->words = self->region.buf;
    self->origin_ns = origin_ns;
    self->one_in = one_in;
    self->most_events = self->count > LEAST_EVENTS ? self->count : LEAST_EVENTS;
    size_t count = (size_t)self->count + 1;
    self->slots = PyMem_Calloc(count, sizeof *self->slots);
    self->free = PyMem_Calloc(count, sizeof *self->free);
    self->line = PyMem_Calloc(count, sizeof *self->line);
    self->events = PyMem_Calloc((size_t)self->most_events, sizeof *self->events);
    self->prefix = PyMem_Calloc((size_t)self->prefix_bytes + 1, 1);
    if (!self->slots || !self->free || !self->line || !self->events || !self->prefix) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(self->prefix, prefix, (size_t)self->prefix_bytes);
    return placed(self, places);
}

static void dealloc(Lane *self)
{
    PyMem_Free(self->slots);
    PyMem_Free(self->free);
    PyMem_Free(self->line);
    PyMem_Free(self->events);
    PyMem_Free(self->prefix);
    Py_XDECREF(self->descr);
    PyBuffer_Release(&self->region);
    PyBuffer_Release(&self->journal);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"publish", (PyCFunction)(void (*)(void))publish, METH_FASTCALL, "What became of the array."},
    {"lend", (PyCFunction)lend, METH_VARARGS,
     "Lend slots: form, free ones, those under way, last step, frames seen, may it evict, refuse, leave out."},
    {"take", (PyCFunction)take, METH_NOARGS,
     "Take all back: (slot or minus what was said, step, published_ns, step replaced or -1) of each."},
    {NULL},
};

static PyTypeObject LaneType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cdi_lane.Lane",
    .tp_basicsize = sizeof(Lane),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)init,
    .tp_dealloc = (destructor)dealloc,
    .tp_methods = methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "cdi_lane", .m_size = -1};

PyMODINIT_FUNC PyInit_cdi_lane(void)
{
    import_array();
    if (PyType_Ready(&LaneType))
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made == NULL || PyModule_AddObjectRef(made, "Lane", (PyObject *)&LaneType))
        return NULL;
    PyObject *words = Py_BuildValue("(iii)(iiiiiii)(iiii)(iiii)", PUBLISHED, SEQUENCE, SUPERVISOR_STATE, ROW_STATE, ROW_EVICT,
                                    ROW_TAKEN, ROW_ATTEMPTS, ROW_SEQUENCE, ROW_STEP, ROW_NS, WRITING, READY, DONE, FAILED, ASK, ACCEPTED,
                                    FULL, SAMPLED);
    if (words == NULL || PyModule_AddObjectRef(made, "WORDS", words))
        return NULL;
    return made;
}
