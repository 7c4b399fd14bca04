/* A Python inside the simulation's process, and the calls of cdi_couple.h handed on to native/bridge.py.
 *
 * Python is started by the first cdi_attach and never ended: numpy cannot be started twice. Every call takes the
 * interpreter's lock and gives it back, so that Python's own threads run while the simulation computes. */
#define PY_SSIZE_T_CLEAN
#include <Python.h> /* first: it sets what the other headers offer */

#include "cdi_couple.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* A path as a macro without quotes passes every shell and makefile; these names, though, may stand in it. */
#undef linux
#undef unix
#define QUOTED(...) #__VA_ARGS__
#define EXPANDED_AND_QUOTED(...) QUOTED(__VA_ARGS__)
#ifdef CDI_PYTHON_DEFAULT
static const char *const BUILT_FOR = EXPANDED_AND_QUOTED(CDI_PYTHON_DEFAULT);
#else
static const char *const BUILT_FOR = "";
#endif

struct cdi_coupling {
    PyObject *bridge;
    PyObject *publish; /* its bound method, looked up once */
    MPI_Comm simulation;
};

static _Thread_local char told[1024] = "";

const char *cdi_error(void) { return told; }

/* text into size bytes, cut before a character that does not fit whole. */
static void copy(char *to, size_t size, const char *text) {
    if (!to || !size) return;
    size_t length = strlen(text);
    if (length >= size) {
        length = size - 1;
        while (length && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
    }
    memcpy(to, text, length);
    to[length] = '\0';
}

static int error(const char *format, ...) {
    char line[2048];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    for (char *letter = line; *letter; letter++)
        if ((unsigned char)*letter < ' ') *letter = ' ';
    copy(told, sizeof told, line);
    return CDI_ERROR;
}

/* The exception that is set, as our error; it is cleared. */
static int python_error(void) {
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *words = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!words || !*words) words = "no word of why";
    int plain = kind && (PyErr_GivenExceptionMatches(kind, PyExc_ValueError) ||
                         PyErr_GivenExceptionMatches(kind, PyExc_OSError) ||
                         PyErr_GivenExceptionMatches(kind, PyExc_RuntimeError));
    if (plain || !kind)
        error("%s", words);
    else
        error("%s: %s", ((PyTypeObject *)kind)->tp_name, words);
    Py_XDECREF(text);
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    PyErr_Clear(); /* of making the text */
    return CDI_ERROR;
}

/* Extension modules look for Python's symbols among the global ones, where those of a plugin are not. */
static void show_python_to_extensions(void) {
    Dl_info library;
    if (dladdr((void *)(uintptr_t)&Py_InitializeFromConfig, &library) && library.dli_fname)
        dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL);
}

static int start_python(void) {
    if (Py_IsInitialized()) return CDI_OK;
    const char *python = getenv("CDI_PYTHON");
    if (!python || !*python) python = BUILT_FOR;
    if (access(python, X_OK)) return error("CDI_PYTHON must be the path of a python that can be run, got '%s'", python);
    show_python_to_extensions();

    PyPreConfig before;
    PyPreConfig_InitPythonConfig(&before);
    before.parse_argv = before.configure_locale = before.coerce_c_locale = 0;
    before.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status)) return error("Python does not start: %s", status.err_msg);

    /* Where Python is found says which environment's packages it sees. PYTHONHOME and PYTHONPATH are heeded. */
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = config.parse_argv = config.configure_c_stdio = 0;
    status = PyConfig_SetBytesString(&config, &config.program_name, python);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.executable, python);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) return error("Python of '%s' does not start: %s", python, status.err_msg);

    /* The module signal takes SIGINT over as it is imported, whatever the configuration says. */
    struct sigaction interrupt;
    sigaction(SIGINT, NULL, &interrupt);
    Py_XDECREF(PyImport_ImportModule("signal"));
    PyErr_Clear();
    sigaction(SIGINT, &interrupt, NULL);
    PyEval_SaveThread();
    return CDI_OK;
}

static int attach(MPI_Comm comm, const char *config, const char *variables, const char *output, cdi_coupling **out) {
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(library, &length);
    PyObject *module = PyImport_ImportModule("inference_insitu.native.bridge");
    if (!module) {
        char why[sizeof told];
        python_error();
        copy(why, sizeof why, told);
        return error("the Python of CDI_PYTHON, or the one built for, must be able to import the coupling: %s", why);
    }
    PyObject *bridge = PyObject_CallMethod(module, "attach", "lssss", (long)MPI_Comm_c2f(comm), library, config,
                                           variables, output);
    Py_DECREF(module);
    if (!bridge) return python_error();
    if (bridge == Py_None) {
        Py_DECREF(bridge);
        return CDI_SERVED;
    }
    PyObject *publish = PyObject_GetAttrString(bridge, "publish");
    PyObject *handle = PyObject_GetAttrString(bridge, "handle");
    cdi_coupling *coupling = malloc(sizeof *coupling);
    if (!publish || !handle || !coupling) {
        Py_XDECREF(publish);
        Py_XDECREF(handle);
        Py_DECREF(bridge);
        free(coupling);
        return PyErr_Occurred() ? python_error() : error("cdi_attach: out of memory");
    }
    *coupling = (cdi_coupling){bridge, publish, MPI_Comm_f2c((MPI_Fint)PyLong_AsLong(handle))};
    Py_DECREF(handle);
    *out = coupling;
    return CDI_OK;
}

int cdi_attach(MPI_Comm comm, const char *config, const char *variables, const char *output, cdi_coupling **coupling) {
    int started = 0, ended = 0;
    if (!config || !variables || !output || !coupling)
        return error("cdi_attach must be given config, variables, output and where the coupling goes, got NULL");
    *coupling = NULL;
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (!started || ended) return error("cdi_attach must come between MPI_Init and MPI_Finalize");
    if (start_python() != CDI_OK) return CDI_ERROR;
    PyGILState_STATE lock = PyGILState_Ensure();
    int got = attach(comm, config, variables, output, coupling);
    PyGILState_Release(lock);
    return got;
}

int cdi_attach_f(int comm, const char *config, const char *variables, const char *output, cdi_coupling **coupling) {
    return cdi_attach(MPI_Comm_f2c((MPI_Fint)comm), config, variables, output, coupling);
}

MPI_Comm cdi_simulation_comm(const cdi_coupling *coupling) {
    return coupling ? coupling->simulation : MPI_COMM_NULL;
}

int cdi_simulation_comm_f(const cdi_coupling *coupling) { return (int)MPI_Comm_c2f(cdi_simulation_comm(coupling)); }

/* dimensions < 0 stands for the declared shape. */
static int publish(cdi_coupling *coupling, const char *name, const void *data, int dimensions, const long *extents,
                   const char *attributes, long step, char *reason, size_t size) {
    PyObject *shape = dimensions < 0 ? Py_NewRef(Py_None) : PyTuple_New(dimensions);
    for (int i = 0; shape && i < dimensions; i++) {
        PyObject *extent = PyLong_FromLong(extents[i]);
        if (extent)
            PyTuple_SET_ITEM(shape, i, extent);
        else
            Py_CLEAR(shape);
    }
    if (!shape) return python_error();
    PyObject *result = PyObject_CallFunction(coupling->publish, "sKNzl", name,
                                             (unsigned long long)(uintptr_t)data, shape, attributes, step);
    if (!result) return python_error();
    int status;
    const char *why;
    if (PyArg_ParseTuple(result, "is", &status, &why))
        copy(reason, size, why);
    else
        status = python_error();
    Py_DECREF(result);
    return status;
}

int cdi_publish_shaped(cdi_coupling *coupling, const char *name, const void *data, int dimensions, const long *extents,
                       const char *attributes, long step, char *reason, size_t size) {
    copy(reason, size, "");
    int got;
    if (!coupling || !name || (dimensions > 0 && !extents)) {
        got = error("cdi_publish must be given a coupling, a name and extents, got NULL");
    } else {
        PyGILState_STATE lock = PyGILState_Ensure();
        got = publish(coupling, name, data, dimensions, extents, attributes, step, reason, size);
        PyGILState_Release(lock);
    }
    if (got == CDI_ERROR) copy(reason, size, told);
    return got;
}

int cdi_publish(cdi_coupling *coupling, const char *name, const void *data, const char *attributes, long step,
                char *reason, size_t size) {
    return cdi_publish_shaped(coupling, name, data, -1, NULL, attributes, step, reason, size);
}

int cdi_end_step(cdi_coupling *coupling, long step) {
    if (!coupling) return error("cdi_end_step must be given a coupling, got NULL");
    PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *result = PyObject_CallMethod(coupling->bridge, "end_step", "l", step);
    int got = result ? CDI_OK : python_error();
    Py_XDECREF(result);
    PyGILState_Release(lock);
    return got;
}

static int poll_steering(cdi_coupling *coupling, cdi_command *commands, int most, int *count) {
    PyObject *list = PyObject_CallMethod(coupling->bridge, "poll_steering", "i", most);
    if (!list) return python_error();
    int got = CDI_OK, number = (int)PyList_Size(list);
    for (int i = 0; i < number && got == CDI_OK; i++) {
        const char *name;
        PyObject *value;
        if (PyArg_ParseTuple(PyList_GET_ITEM(list, i), "sO", &name, &value)) {
            copy(commands[i].name, sizeof commands[i].name, name);
            commands[i].has_value = value != Py_None;
            commands[i].value = commands[i].has_value ? PyFloat_AsDouble(value) : 0;
        }
        if (PyErr_Occurred()) got = python_error();
    }
    if (got == CDI_OK) *count = number;
    Py_DECREF(list);
    return got;
}

int cdi_poll_steering(cdi_coupling *coupling, cdi_command *commands, int most, int *count) {
    if (!coupling || !commands || !count || most < 1)
        return error("cdi_poll_steering must be given a coupling, room for at least 1 command, and where the count goes");
    *count = 0;
    PyGILState_STATE lock = PyGILState_Ensure();
    int got = poll_steering(coupling, commands, most, count);
    PyGILState_Release(lock);
    return got;
}

/* Call a last method and forget the coupling. */
static int leave(cdi_coupling *coupling, const char *method, const char *why) {
    if (!coupling) return CDI_OK;
    PyGILState_STATE lock = PyGILState_Ensure();
    /* Whatever its letters are: who leaves alone must not fail of them. */
    PyObject *words = why ? PyUnicode_DecodeUTF8(why, (Py_ssize_t)strlen(why), "replace") : NULL;
    PyObject *result = why && !words ? NULL : PyObject_CallMethod(coupling->bridge, method, why ? "O" : NULL, words);
    Py_XDECREF(words);
    int got = !result ? python_error() : result == Py_True ? CDI_RANK_DIED : CDI_OK;
    Py_XDECREF(result);
    Py_DECREF(coupling->publish);
    Py_DECREF(coupling->bridge);
    PyGILState_Release(lock);
    free(coupling);
    return got;
}

int cdi_close(cdi_coupling *coupling) { return leave(coupling, "close", NULL); }

void cdi_abandon(cdi_coupling *coupling, const char *why) { leave(coupling, "abandon", why ? why : "not told"); }
