/* The stack of another thread, in one go: no switch of threads and no collection in between.

   No frame object leaves this file: on CPython 3.11 one that is made for another thread may point into memory
   that is gone as soon as that thread has run on. */

#include "core.h"

#define MAX_THREADS 64
#define MAX_DEPTH 1000

/* The innermost frame of a thread of this interpreter: a new reference; NULL without an exception where there is
   none. In CPython 3.11 a thread that is being started has its parent's id for a moment, and no frame: so all with
   the id are asked. With the GIL. */
static PyFrameObject *
find_frame(unsigned long id)
{
    PyFrameObject *frame = NULL;
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread != NULL && frame == NULL; thread = PyThreadState_Next(thread)) {
        if (thread->thread_id == id) {
            frame = PyThreadState_GetFrame(thread);
        }
    }
    return frame;
}

PyObject *
core_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    /* Owned, released at the end. */
    PyObject *result = NULL;
    unsigned long ids[MAX_THREADS];
    Py_ssize_t count = 0;
    /* First all of them, then objects: to make one may start the collector, and that may end a thread. */
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread != NULL && count < MAX_THREADS; thread = PyThreadState_Next(thread)) {
        ids[count++] = thread->thread_id;
    }
    result = PyTuple_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        PyObject *id = PyLong_FromUnsignedLong(ids[i]);
        if (id == NULL) {
            Py_CLEAR(result);
        }
        else {
            PyTuple_SET_ITEM(result, i, id);
        }
    }
    return result;
}

PyObject *
core_thread_context(PyObject *Py_UNUSED(module), PyObject *thread_id)
{
    unsigned long id = PyLong_AsUnsignedLong(thread_id);
    if (id == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread != NULL; thread = PyThreadState_Next(thread)) {
        if (thread->thread_id == id && thread->context != NULL) {
            return Py_NewRef(thread->context);
        }
    }
    Py_RETURN_NONE;
}

#define FUNCTION (CO_OPTIMIZED | CO_NEWLOCALS)

/* A frame as (code, instruction, line, module name). */
static PyObject *
describe(CoreState *state, PyFrameObject *frame)
{
    PyObject *result = NULL;
    /* Owned, released at the end. */
    PyObject *globals = NULL, *module = NULL;
    PyCodeObject *code = PyFrame_GetCode(frame);

    globals = frame_globals(frame);
    if (globals != NULL && PyDict_CheckExact(globals)) {
        module = PyDict_GetItemWithError(globals, state->str_module_name); /* borrowed */
        if (module != NULL && !PyUnicode_CheckExact(module)) {
            module = NULL;
        }
        Py_XINCREF(module);
        if (module == NULL && PyErr_Occurred()) {
            goto done;
        }
    }
    if (module == NULL) {
        module = PyUnicode_FromStringAndSize("", 0);
        if (module == NULL) {
            goto done;
        }
    }
    int line = PyFrame_GetLineNumber(frame);
    result = Py_BuildValue("OiiO", code, frame_lasti(frame), line > 0 ? line : 0, module);
done:
    Py_XDECREF(globals);
    Py_XDECREF(module);
    Py_DECREF(code);
    return result;
}

/* What the framework has chosen to answer the request, where a frame has it: (index of the frame, endpoint, method).
   All ASGI applications call what they hand a request to with a variable of that name. NULL without an exception
   where this frame has none. */
static PyObject *
endpoint_at(CoreState *state, PyFrameObject *frame, Py_ssize_t index)
{
    /* Owned, released at the end. */
    PyObject *result = NULL, *scope = NULL;
    PyCodeObject *code = PyFrame_GetCode(frame);
    if ((code->co_flags & FUNCTION) == FUNCTION && code_has_variable(code, state->str_scope)) {
        scope = frame_variable(frame, code, state->str_scope);
    }
    if (scope != NULL && PyDict_CheckExact(scope)) {
        PyObject *endpoint = PyDict_GetItemWithError(scope, state->str_endpoint); /* borrowed */
        if (endpoint != NULL) {
            PyObject *method = PyDict_GetItemWithError(scope, state->str_method); /* borrowed */
            result = Py_BuildValue("nOO", index, endpoint, method != NULL ? method : Py_None);
        }
    }
    Py_XDECREF(scope);
    Py_DECREF(code);
    return result;
}

/* A frame and those around it, innermost first. Takes the reference to the frame. */
static PyObject *
walk(CoreState *state, PyFrameObject *frame, Py_ssize_t depth, PyObject **endpoint)
{
    PyObject *result = NULL;
    /* Owned, released at the end. */
    PyObject *found = PyList_New(0);
    if (found == NULL) {
        goto done;
    }
    while (frame != NULL && PyList_GET_SIZE(found) < depth) {
        if (endpoint != NULL && *endpoint == NULL) {
            *endpoint = endpoint_at(state, frame, PyList_GET_SIZE(found));
            if (PyErr_Occurred()) {
                goto done;
            }
        }
        PyObject *described = describe(state, frame);
        int failed = described == NULL || PyList_Append(found, described) < 0;
        Py_XDECREF(described);
        if (failed) {
            goto done;
        }
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    if (!PyErr_Occurred()) { /* making a frame object may have failed */
        result = PyList_AsTuple(found);
    }
done:
    Py_XDECREF(frame);
    Py_XDECREF(found);
    return result;
}

PyObject *
core_stack(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"thread_id", "depth", NULL};
    unsigned long id;
    Py_ssize_t depth;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "kn:stack", names, &id, &depth)) {
        return NULL;
    }
    PyObject *result = NULL;
    int collected = PyGC_Disable();
    PyFrameObject *frame = find_frame(id);
    if (frame != NULL) {
        result = walk(core_state(module), frame, depth, NULL);
    }
    else if (!PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    if (collected) {
        PyGC_Enable();
    }
    return result;
}

/* The stack of this thread, and what answers the request: NULL where no frame knows. The collector must be off. */
PyObject *
core_own_stack(CoreState *state, Py_ssize_t depth, PyObject **endpoint)
{
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    return frame != NULL ? walk(state, frame, depth, endpoint) : PyTuple_New(0);
}

PyObject *
core_variable(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"thread_id", "code", "instruction", "name", NULL};
    unsigned long id;
    /* Borrowed. */
    PyObject *code, *name;
    int lasti;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "kO!iU:variable", names, &id, &PyCode_Type, &code, &lasti, &name)) {
        return NULL;
    }
    /* Owned, released at the end. */
    PyObject *value = NULL, *result = NULL;
    PyFrameObject *frame = NULL;

    int collected = PyGC_Disable();
    frame = find_frame(id);
    for (int depth = 0; frame != NULL && depth < MAX_DEPTH; depth++) {
        PyCodeObject *running = PyFrame_GetCode(frame);
        /* It may have gone on since its stack was taken. */
        int found = (PyObject *)running == code && frame_lasti(frame) == lasti;
        if (found && (running->co_flags & FUNCTION) == FUNCTION) {
            value = frame_variable(frame, running, name);
        }
        Py_DECREF(running);
        if (found) {
            break;
        }
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    if (value != NULL) {
        result = Py_BuildValue("(N)", value);
    }
    else if (!PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    Py_XDECREF(frame);
    if (collected) {
        PyGC_Enable();
    }
    return result;
}
