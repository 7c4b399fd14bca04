/* A lane: the way of a frame into its ring where little has to be decided, in few instructions: those of Python, and
 * what they look at, have mostly left the caches between two steps, and would take as long as the copy.
 *
 * It does what Producer.publish, _harvest, _evict and _refuse do (ring/producer.py), in the same order of stores, for frames of
 * the form of those before. All else it leaves to them: publish() is then ASK, and nothing has changed. The producer
 * lends it slots, and takes back what has become of them before it looks at its lists again.
 *
 * Slots of memory come first. Behind them are those that are taken where none of these is left, all of one kind: for
 * the coarser form of a frame, or in a file on disk. What goes to that file is put into memory before it where a place is
 * free there (lane_staging.h), and the worker writes it.
 *
 * The numbers of words are those of ring/layout.py; native/compiled.py compares them.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lane_payload.h"

enum { PUBLISHED = 17, SEQUENCE = 21, SUPERVISOR_STATE = 48 };
enum { ROW_STATE = 0, ROW_EVICT = 1, ROW_TAKEN = 2, ROW_ATTEMPTS = 3, ROW_SEQUENCE = 8, ROW_STEP = 9, ROW_NS = 10 };
enum { ROW_DETAIL = 24, ROW_OUTCOME = 25, ROW_TAKEN_NS = 26, ROW_DONE_NS = 27 };
enum { ROW_PAYLOAD = 11, ROW_ATTRIBUTES = 12, ROW_DTYPE = 13, ROW_DIMENSIONS = 14, ROW_SHAPE = 15 };
enum { FREE = 0, WRITING = 1, READY = 2, DONE = 4, FAILED = 5, INFERRED = 0 };
/* What publish() says, and where an event has no slot, minus that for its number. */
enum { ASK = 0, ACCEPTED = 1, FULL = 2, SAMPLED = 3 };

/* From so many bytes on other threads may run meanwhile. */
#define UNLOCK_BYTES (64 * 1024)
#define ROW_WORDS 32
#define ROW_BYTES (8 * ROW_WORDS)
#define LEAST_EVENTS 64
/* What a row of the ledger takes beyond stream and rank. */
#define ROW_ROOM 128
/* … and a row of a frame that was answered, with what answered it. */
#define ANSWER_ROOM 512
#define MOST_MODEL 256
/* What an event has for the step that it replaced: none, or that it is the end of a frame that was answered. */
enum { NONE = -1, ANSWERED = -2 };

/* `payload` is NULL of a slot that is in the file, there at `offset`. */
typedef struct {
    int64_t *row;
    char *payload;
    const char *detail;
    off_t offset;
} Slot;

/* The words of places in memory before the file, the simulation's two and the worker's of each, and the payloads. */
typedef struct {
    int64_t *given;
    const int64_t *written;
    char *payloads;
    Py_ssize_t count, stride;
} Staging;

/* What a row says of its payload. */
typedef struct {
    int64_t bytes, shape[MOST_DIMENSIONS];
} Form;

typedef struct {
    int64_t slot, step, ns, superseded;
    double latency_s;
} Event;

typedef struct {
    PyObject_HEAD
    /* What every frame looks at comes first, together. */
    int64_t *words;
    PyArray_Descr *descr;
    int64_t last_step;
    int64_t seen, one_in; /* frames that came, and of how many one is taken */
    int dimensions;
    int lent, evicts, stands_in, refuses, samples;
    npy_intp shape[MOST_DIMENSIONS];
    Form whole, coarse;
    int64_t dtype;
    Slot *slots;
    Py_ssize_t *free, *spare;
    Py_ssize_t *line; /* under way, oldest first */
    Event *events;
    Py_ssize_t count, in_memory, frees, spares, waiting, happened, most_events;
    Py_ssize_t capacity, spare_capacity;
    Blocks blocks; /* its factor is 0 where nothing is made coarser */
    int file;
    Staging staging; /* without a place where all of what spills goes to the file at once */
    int64_t origin_ns;
    Py_ssize_t model, model_bytes; /* where the ring says what answers */
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

static int64_t load(const int64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(int64_t *word, int64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#include "lane_ledger.h"
#include "lane_staging.h"

/* Free the slots of frames that were answered, whose rows are written first; whether others have ended, which are the
 * producer's to see. */
static int settle_ended(Lane *self)
{
    Py_ssize_t kept = 0;
    int left = 0;
    for (Py_ssize_t place = 0; place < self->waiting; place++) {
        Py_ssize_t number = self->line[place];
        const Slot *slot = self->slots + number;
        int64_t *row = slot->row;
        if (left || load(row + ROW_STATE) != DONE) {
            self->line[kept++] = number;
            continue;
        }
        /* The last event is for the frame that asks. */
        if (self->happened >= self->most_events - 1 || row[ROW_OUTCOME] != INFERRED || !write_answer(self, slot)) {
            self->line[kept++] = number;
            left = 1;
            continue;
        }
        double latency_s = (double)(row[ROW_DONE_NS] - row[ROW_NS]) * 1e-9;
        self->events[self->happened++] = (Event){number, row[ROW_STEP], row[ROW_NS], ANSWERED, latency_s};
        store(row + ROW_STATE, FREE);
        store(row + ROW_ATTEMPTS, 0);
        store(row + ROW_EVICT, 0);
        if (number < self->in_memory)
            self->free[self->frees++] = number;
        else
            self->spare[self->spares++] = number;
    }
    self->waiting = kept;
    return left;
}

/* The slot of the oldest frame that waits, taken back from the reader; -1 where there is none to be had. */
static Py_ssize_t evict(Lane *self)
{
    for (Py_ssize_t place = 0; place < self->waiting; place++) {
        Py_ssize_t number = self->line[place];
        int64_t *row = self->slots[number].row;
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
        self->waiting--;
        memmove(self->line + place, self->line + place + 1, sizeof *self->line * (size_t)(self->waiting - place));
        return number;
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
    self->events[self->happened++] = (Event){-said, step, now, NONE, 0.0};
    self->last_step = step;
    self->seen++;
    store(self->words + PUBLISHED, self->words[PUBLISHED] + 1);
    return said;
}

/* Put the frame at `source` into a slot, or into a place before its file; 0 where the file does not take it. */
static int fill(const Lane *self, Py_ssize_t number, Py_ssize_t place, const char *source)
{
    const Slot *slot = self->slots + number;
    if (place >= 0)
        copy(self->staging.payloads + place * self->staging.stride, source, (size_t)self->whole.bytes);
    else if (slot->payload == NULL)
        return write_whole(self->file, source, (size_t)self->whole.bytes, slot->offset);
    else if (number < self->in_memory)
        copy(slot->payload, source, (size_t)self->whole.bytes);
    else if (self->descr->type_num == NPY_FLOAT)
        add_blocks_float(&self->blocks, (const float *)source, (float *)slot->payload);
    else
        add_blocks_double(&self->blocks, (const double *)source, (double *)slot->payload);
    return 1;
}

/* As Slot.describe of ring/region.py, without attributes. */
static void describe(const Lane *self, const Event *event, int64_t sequence)
{
    int64_t *row = self->slots[event->slot].row;
    const Form *form = event->slot >= self->in_memory && self->blocks.factor ? &self->coarse : &self->whole;
    row[ROW_SEQUENCE] = sequence;
    row[ROW_STEP] = event->step;
    row[ROW_NS] = event->ns;
    row[ROW_PAYLOAD] = form->bytes;
    row[ROW_ATTRIBUTES] = 0;
    row[ROW_DTYPE] = self->dtype;
    row[ROW_DIMENSIONS] = self->dimensions;
    memcpy(row + ROW_SHAPE, form->shape, sizeof(int64_t) * (size_t)self->dimensions);
}

/* Give back the slot of a frame that its file does not take, where it is still ours: Python tries again, and tells. */
static long undo(Lane *self, const Event *event, int64_t last_step)
{
    if (self->happened && self->events[self->happened - 1].step == event->step) {
        self->happened--;
        self->waiting--;
        self->seen--;
        self->last_step = last_step;
        self->spare[self->spares++] = event->slot;
    }
    return ASK;
}

/* Fill the slot of `event`, which is ours, and let the reader have it. */
static long hand_over(Lane *self, const Event *event, const char *source)
{
    const Slot *slot = self->slots + event->slot;
    int64_t *row = slot->row, last_step = self->last_step;
    Py_ssize_t place = slot->payload == NULL ? free_place(self) : -1;
    int filled;
    /* Before the copy: whoever takes all back meanwhile finds the slot under way. */
    self->line[self->waiting++] = event->slot;
    self->events[self->happened++] = *event;
    self->last_step = event->step;
    self->seen++;
    if (self->whole.bytes < UNLOCK_BYTES) {
        filled = fill(self, event->slot, place, source);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        filled = fill(self, event->slot, place, source);
        Py_END_ALLOW_THREADS;
    }
    if (!filled)
        return undo(self, event, last_step);
    describe(self, event, ++self->words[SEQUENCE]);
    if (place >= 0)
        give_place(self, place, row);
    fence();
    store(row + ROW_STATE, READY);
    store(row + ROW_EVICT, 0);
    store(self->words + PUBLISHED, self->words[PUBLISHED] + 1);
    return ACCEPTED;
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
    if (self->frees == 0 && settle_ended(self))
        return PyLong_FromLong(ASK);
    Event event = {.step = step, .ns = now_ns(), .superseded = NONE};
    if (self->frees) {
        event.slot = self->free[--self->frees];
    } else if (self->stands_in && self->spares) {
        event.slot = self->spare[--self->spares];
    } else if (self->evicts) {
        event.slot = evict(self);
        if (event.slot < 0)
            return PyLong_FromLong(ASK);
        event.superseded = self->slots[event.slot].row[ROW_STEP];
    } else {
        return PyLong_FromLong(self->refuses && !self->spares ? refuse(self, step, FULL) : ASK);
    }
    return PyLong_FromLong(hand_over(self, &event, PyArray_BYTES((PyArrayObject *)arguments[0])));
}

/* Numbers of slots from `first` to `end` (excluded) from a list; -1 with an error set where they are not. */
static Py_ssize_t numbers(PyObject *list, Py_ssize_t *into, Py_ssize_t first, Py_ssize_t end)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (count > end - first) {
        PyErr_SetString(PyExc_ValueError, "more slots than the stream has");
        return -1;
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        Py_ssize_t number = PyLong_AsSsize_t(PyList_GET_ITEM(list, place));
        if (number < first || number >= end) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_ValueError, "no slot %zd", number);
            return -1;
        }
        into[place] = number;
    }
    return count;
}

/* How frames of our form are made coarser; 0 where this is nothing that is done here. */
static int blocked(Lane *self)
{
    Blocks *blocks = &self->blocks;
    int known = self->descr->type_num == NPY_FLOAT || self->descr->type_num == NPY_DOUBLE;
    if (!known || self->dimensions == 0 || self->whole.bytes == 0)
        return 0;
    npy_intp stride = 1;
    self->coarse.bytes = self->whole.bytes;
    for (int axis = self->dimensions - 1; axis >= 0; axis--) {
        if (self->shape[axis] % blocks->factor)
            return 0;
        blocks->shape[axis] = self->shape[axis];
        blocks->strides[axis] = stride;
        stride *= self->shape[axis];
        self->coarse.shape[axis] = self->shape[axis] / blocks->factor;
        self->coarse.bytes /= blocks->factor;
    }
    blocks->dimensions = self->dimensions;
    blocks->rows = 1;
    for (int axis = 0; axis < self->dimensions - 1; axis++)
        blocks->rows *= self->coarse.shape[axis];
    return self->coarse.bytes <= self->spare_capacity;
}

/* Take over the form of the frames to come. */
static void formed(Lane *self, PyArrayObject *form)
{
    PyArray_Descr *before = self->descr;
    self->descr = PyArray_DESCR(form);
    Py_INCREF(self->descr);
    Py_XDECREF(before);
    self->dimensions = PyArray_NDIM(form);
    memcpy(self->shape, PyArray_DIMS(form), sizeof(npy_intp) * (size_t)self->dimensions);
    for (int axis = 0; axis < self->dimensions; axis++)
        self->whole.shape[axis] = self->shape[axis];
    self->whole.bytes = PyArray_NBYTES(form);
}

static PyObject *lend(Lane *self, PyObject *arguments)
{
    PyArrayObject *form;
    PyObject *free_slots, *spare, *line;
    long long dtype, last_step, seen;
    int evicts, stands_in, refuses, samples;
    if (!PyArg_ParseTuple(arguments, "O!LO!O!O!LLpppp", &PyArray_Type, &form, &dtype, &PyList_Type, &free_slots, &PyList_Type,
                          &spare, &PyList_Type, &line, &last_step, &seen, &evicts, &stands_in, &refuses, &samples))
        return NULL;
    if (self->happened) {
        PyErr_SetString(PyExc_ValueError, "a lane must be taken back before it is lent: one thread at a time may publish");
        return NULL;
    }
    self->frees = self->spares = self->waiting = self->lent = 0;
    if (PyArray_NDIM(form) > MOST_DIMENSIONS || PyArray_NBYTES(form) > self->capacity || seen < 0) {
        PyErr_SetString(PyExc_ValueError, "the form must fit the slots");
        return NULL;
    }
    Py_ssize_t frees = numbers(free_slots, self->free, 0, self->in_memory);
    Py_ssize_t spares = frees < 0 ? -1 : numbers(spare, self->spare, self->in_memory, self->count);
    Py_ssize_t waiting = spares < 0 ? -1 : numbers(line, self->line, 0, self->count);
    if (waiting < 0)
        return NULL;
    if (frees + spares + waiting > self->count) {
        PyErr_SetString(PyExc_ValueError, "more slots than the stream has");
        return NULL;
    }
    formed(self, form);
    int coarser = self->blocks.factor && blocked(self);
    if (stands_in && !(self->blocks.factor ? coarser : self->whole.bytes <= self->spare_capacity)) {
        PyErr_SetString(PyExc_ValueError, "the form must fit the slots");
        return NULL;
    }
    self->dtype = dtype;
    self->frees = frees, self->spares = spares, self->waiting = waiting, self->last_step = last_step, self->seen = seen;
    self->evicts = evicts, self->stands_in = stands_in, self->refuses = refuses, self->samples = samples, self->lent = 1;
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
        PyObject *event = Py_BuildValue("LLLLd", (long long)one->slot, (long long)one->step, (long long)one->ns,
                                        (long long)one->superseded, one->latency_s);
        if (event == NULL) {
            Py_DECREF(events);
            return NULL;
        }
        PyList_SET_ITEM(events, place, event);
    }
    self->frees = self->spares = self->waiting = self->happened = self->lent = 0;
    return events;
}

/* The slots from `number` on, from (offset of its row, of its payload, of its detail) of each. */
static int placed(Lane *self, PyObject *places, Py_ssize_t number, Py_ssize_t capacity, int in_file)
{
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(places); place++) {
        Py_ssize_t row, payload, detail, room = self->region.len;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(places, place), "nnn", &row, &payload, &detail))
            return -1;
        if (row < 0 || row % 8 || row + ROW_BYTES > room || payload < 0 || payload % 8 ||
            payload > (in_file ? PY_SSIZE_T_MAX : room) - capacity || detail < 0 || detail > room - MOST_MODEL) {
            PyErr_SetString(PyExc_ValueError, "a slot must lie within the ring");
            return -1;
        }
        Slot *slot = self->slots + number + place;
        slot->row = (int64_t *)((char *)self->region.buf + row);
        slot->payload = in_file ? NULL : (char *)self->region.buf + payload;
        slot->detail = (const char *)self->region.buf + detail;
        slot->offset = (off_t)payload;
    }
    return 0;
}

/* The places before the file, from (offset of the simulation's words, of the worker's, of the payloads, their number,
 * from one to the next). */
static int staged(Lane *self, PyObject *places)
{
    Py_ssize_t given, written, payloads, count, stride, room = self->region.len;
    if (!PyArg_ParseTuple(places, "nnnnn", &given, &written, &payloads, &count, &stride))
        return -1;
    if (count < 0 || count > room / ROW_WORDS || given < 0 || given % 8 || given > room - 16 * count || written < 0 ||
        written % 8 || written > room - 8 * count || stride < self->capacity || stride > room || payloads < 0 ||
        (count && stride > (room - payloads) / count)) {
        PyErr_SetString(PyExc_ValueError, "places before the file must lie within the ring");
        return -1;
    }
    char *start = self->region.buf;
    self->staging = (Staging){(int64_t *)(start + given), (int64_t *)(start + written), start + payloads, count, stride};
    return 0;
}

static int init(Lane *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"region",  "journal", "places",    "capacity", "spares", "spare_capacity", "factor", "file",
                            "staging", "prefix",  "origin_ns", "one_in",   "model",  "model_bytes",    NULL};
    PyObject *region, *journal, *places, *spares, *staging;
    const char *prefix;
    long long origin_ns, one_in;
    int file;
    if (self->region.obj != NULL) {
        PyErr_SetString(PyExc_TypeError, "a lane is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOO!nO!nniO!y#LLnn", names, &region, &journal, &PyList_Type, &places,
                                     &self->capacity, &PyList_Type, &spares, &self->spare_capacity, &self->blocks.factor, &file,
                                     &PyTuple_Type, &staging, &prefix, &self->prefix_bytes, &origin_ns, &one_in, &self->model,
                                     &self->model_bytes))
        return -1;
    if (PyObject_GetBuffer(region, &self->region, PyBUF_WRITABLE) || PyObject_GetBuffer(journal, &self->journal, PyBUF_WRITABLE))
        return -1;
    self->in_memory = PyList_GET_SIZE(places);
    self->count = self->in_memory + PyList_GET_SIZE(spares);
    if (self->region.len < 4096 || self->journal.len < ROW_ROOM || self->capacity < 1 || self->spare_capacity < 1 || one_in < 1 ||
        self->blocks.factor < 0 || self->blocks.factor == 1 || self->blocks.factor > PIECE ||
        self->model < 0 || self->model_bytes < 0 || self->model_bytes > self->region.len - self->model) {
        PyErr_SetString(PyExc_ValueError, "a lane must have a ring and a journal");
        return -1;
    }
    /* One of its own, which stays that of this file for as long as the lane lives. */
    if (file >= 0 && (self->file = fcntl(file, F_DUPFD_CLOEXEC, 3)) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->words = self->region.buf;
    self->origin_ns = origin_ns;
    self->one_in = one_in;
    self->most_events = self->count > LEAST_EVENTS ? self->count : LEAST_EVENTS;
    size_t count = (size_t)self->count + 1;
    self->slots = PyMem_Calloc(count, sizeof *self->slots);
    self->free = PyMem_Calloc(count, sizeof *self->free);
    self->spare = PyMem_Calloc(count, sizeof *self->spare);
    self->line = PyMem_Calloc(count, sizeof *self->line);
    self->events = PyMem_Calloc((size_t)self->most_events, sizeof *self->events);
    self->prefix = PyMem_Calloc((size_t)self->prefix_bytes + 1, 1);
    if (!self->slots || !self->free || !self->spare || !self->line || !self->events || !self->prefix) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(self->prefix, prefix, (size_t)self->prefix_bytes);
    if (staged(self, staging) || placed(self, places, 0, self->capacity, 0))
        return -1;
    return placed(self, spares, self->in_memory, self->spare_capacity, self->blocks.factor == 0);
}

static void dealloc(Lane *self)
{
    PyMem_Free(self->slots);
    PyMem_Free(self->free);
    PyMem_Free(self->spare);
    PyMem_Free(self->line);
    PyMem_Free(self->events);
    PyMem_Free(self->prefix);
    Py_XDECREF(self->descr);
    PyBuffer_Release(&self->region);
    PyBuffer_Release(&self->journal);
    if (self->file > 0)
        close(self->file);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"publish", (PyCFunction)(void (*)(void))publish, METH_FASTCALL, "What became of the array."},
    {"lend", (PyCFunction)lend, METH_VARARGS,
     "Lend slots: form and its number, free ones, spare ones, those under way, oldest first, last step, frames seen, "
     "may it evict, take a spare one, refuse, leave out."},
    {"take", (PyCFunction)take, METH_NOARGS,
     "Take all back: (slot or minus what was said, step, published_ns, step replaced or -1, 0) of each; of a frame answered with -2 and its latency."},
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
    PyObject *words = Py_BuildValue(
        "(iii)(iiiiiiiiiiiiiiii)(iiiiii)(iiii)", PUBLISHED, SEQUENCE, SUPERVISOR_STATE, ROW_STATE, ROW_EVICT, ROW_TAKEN,
        ROW_ATTEMPTS, ROW_SEQUENCE, ROW_STEP, ROW_NS, ROW_PAYLOAD, ROW_ATTRIBUTES, ROW_DTYPE, ROW_DIMENSIONS, ROW_SHAPE,
        ROW_DETAIL, ROW_OUTCOME, ROW_TAKEN_NS, ROW_DONE_NS, FREE, WRITING, READY, DONE, FAILED, INFERRED, ASK, ACCEPTED, FULL,
        SAMPLED);
    if (words == NULL || PyModule_AddObjectRef(made, "WORDS", words))
        return NULL;
    return made;
}
