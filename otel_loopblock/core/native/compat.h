/* What differs between versions of CPython, in one place. Nothing else tests PY_VERSION_HEX. */
#ifndef LOOPBLOCK_COMPAT_H
#define LOOPBLOCK_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <frameobject.h>

/* An exception that is put aside while code of ours runs. 3.12 made it one object. */
#if PY_VERSION_HEX >= 0x030C0000
typedef struct {
    PyObject *value;
} SavedError;

static inline void
error_save(SavedError *saved)
{
    saved->value = PyErr_GetRaisedException();
}

static inline void
error_restore(SavedError *saved)
{
    PyErr_SetRaisedException(saved->value);
    saved->value = NULL;
}

static inline int
error_is_saved(const SavedError *saved)
{
    return saved->value != NULL;
}

static inline PyObject *
error_type(const SavedError *saved)
{
    return (PyObject *)Py_TYPE(saved->value);
}

static inline int
error_visit(SavedError *saved, visitproc visit, void *arg)
{
    Py_VISIT(saved->value);
    return 0;
}

static inline void
error_clear(SavedError *saved)
{
    Py_CLEAR(saved->value);
}
#else
typedef struct {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
} SavedError;

static inline void
error_save(SavedError *saved)
{
    PyErr_Fetch(&saved->type, &saved->value, &saved->traceback);
}

static inline void
error_restore(SavedError *saved)
{
    PyErr_Restore(saved->type, saved->value, saved->traceback);
    saved->type = saved->value = saved->traceback = NULL;
}

static inline int
error_is_saved(const SavedError *saved)
{
    return saved->type != NULL;
}

static inline PyObject *
error_type(const SavedError *saved)
{
    return saved->type;
}

static inline int
error_visit(SavedError *saved, visitproc visit, void *arg)
{
    Py_VISIT(saved->type);
    Py_VISIT(saved->value);
    Py_VISIT(saved->traceback);
    return 0;
}

static inline void
error_clear(SavedError *saved)
{
    Py_CLEAR(saved->type);
    Py_CLEAR(saved->value);
    Py_CLEAR(saved->traceback);
}
#endif

/* The exception that is set, which is not set then; a new reference. */
#if PY_VERSION_HEX >= 0x030C0000
static inline PyObject *
error_take(void)
{
    return PyErr_GetRaisedException();
}
#else
static inline PyObject *
error_take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}
#endif

/* The exception that is set gets the one put aside as its __context__, as when it was raised in a finally clause. */
#if PY_VERSION_HEX >= 0x030C0000
static inline void
error_chain(SavedError *saved)
{
    PyObject *error = PyErr_GetRaisedException();
    if (error != saved->value) {
        PyException_SetContext(error, saved->value); /* takes the reference */
        saved->value = NULL;
    }
    error_clear(saved);
    PyErr_SetRaisedException(error);
}
#else
static inline void
error_chain(SavedError *saved)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_NormalizeException(&saved->type, &saved->value, &saved->traceback);
    if (value != NULL && saved->value != NULL && value != saved->value) {
        if (saved->traceback != NULL) {
            (void)PyException_SetTraceback(saved->value, saved->traceback);
        }
        PyException_SetContext(value, saved->value); /* takes the reference */
        saved->value = NULL;
    }
    error_clear(saved);
    PyErr_Restore(type, value, traceback);
}
#endif

/* Whether the interpreter tells of each switch of the current context. */
#if PY_VERSION_HEX >= 0x030E0000
#define HAS_CONTEXT_WATCHERS 1
#endif

/* For interpreters with a GIL each nothing here was tried: they get the twin. From 3.12 on that can be said. */
#ifdef Py_mod_multiple_interpreters
#define ONE_INTERPRETER {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define ONE_INTERPRETER
#endif

#ifdef Py_GIL_DISABLED
#error "not for a free-threaded interpreter: all of this relies on the GIL; core/pure is for that one"
#endif

/* Whether a weak reference is to this object, which is alive. */
static inline int
weakref_is_to(PyObject *reference, PyObject *object)
{
    return ((PyWeakReference *)reference)->wr_object == object;
}

/* Frames: opaque from 3.11 on. */
#if PY_VERSION_HEX >= 0x030B0000
static inline PyObject *
frame_globals(PyFrameObject *frame)
{
    return PyFrame_GetGlobals(frame);
}

static inline int
frame_lasti(PyFrameObject *frame)
{
    return PyFrame_GetLasti(frame);
}
#else
static inline PyObject *
frame_globals(PyFrameObject *frame)
{
    return Py_NewRef(frame->f_globals);
}

static inline int
frame_lasti(PyFrameObject *frame)
{
    return frame->f_lasti < 0 ? -1 : 2 * frame->f_lasti; /* it counted instructions until 3.10 */
}
#endif

/* Whether a function has a local variable of this name, which is interned as all of them are. */
static inline int
code_has_variable(PyCodeObject *code, PyObject *name)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *names[] = {code->co_localsplusnames};
#else
    PyObject *names[] = {code->co_varnames, code->co_cellvars};
#endif
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(names[i]); j++) {
            if (PyTuple_GET_ITEM(names[i], j) == name) {
                return 1;
            }
        }
    }
    return 0;
}

/* A local variable of a function's frame, without the snapshot that f_locals leaves behind until 3.12: a new
   reference; NULL without an exception where there is none. */
#if PY_VERSION_HEX >= 0x030C0000
static inline PyObject *
frame_variable(PyFrameObject *frame, PyCodeObject *Py_UNUSED(code), PyObject *name)
{
    PyObject *value = PyFrame_GetVar(frame, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_NameError)) {
        PyErr_Clear();
    }
    return value;
}
#elif PY_VERSION_HEX >= 0x030B0000
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#define LOOPBLOCK_BUILD_CORE 1
#endif
#include "internal/pycore_code.h"
#include "internal/pycore_frame.h"
#ifdef LOOPBLOCK_BUILD_CORE
#undef Py_BUILD_CORE
#endif
static inline PyObject *
frame_variable(PyFrameObject *frame, PyCodeObject *code, PyObject *name)
{
    for (int i = 0; i < code->co_nlocalsplus; i++) {
        if (PyUnicode_Compare(PyTuple_GET_ITEM(code->co_localsplusnames, i), name) == 0) {
            _PyLocals_Kind kind = _PyLocals_GetKind(code->co_localspluskinds, i);
            PyObject *value = frame->f_frame->localsplus[i];
            if (value != NULL && (kind & (CO_FAST_CELL | CO_FAST_FREE)) && PyCell_Check(value)) {
                value = PyCell_GET(value);
            }
            return Py_XNewRef(value);
        }
    }
    return NULL;
}
#else
static inline PyObject *
frame_variable(PyFrameObject *frame, PyCodeObject *code, PyObject *name)
{
    PyObject *names[] = {code->co_varnames, code->co_cellvars, code->co_freevars};
    Py_ssize_t place = 0;
    for (int i = 0; i < 3; i++) {
        for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(names[i]); j++, place++) {
            if (PyUnicode_Compare(PyTuple_GET_ITEM(names[i], j), name) == 0) {
                PyObject *value = frame->f_localsplus[place];
                if (value != NULL && i > 0 && PyCell_Check(value)) {
                    value = PyCell_GET(value);
                }
                if (value != NULL) { /* a parameter that is a cell stands in both */
                    return Py_NewRef(value);
                }
            }
        }
    }
    return NULL;
}
#endif

/* Have the main thread make pending calls before its next instructions. Until 3.12 Py_AddPendingCall does not do so
   from another thread: the main thread would see the call when it takes the GIL the next time. */
#if PY_VERSION_HEX >= 0x030D0000
static inline void
hurry_pending_calls(void)
{
}
#else
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#define LOOPBLOCK_BUILD_CORE_HERE 1
#endif
#undef _PyGC_FINALIZED /* defined again in there */
#include "internal/pycore_interp.h"
#ifdef LOOPBLOCK_BUILD_CORE_HERE
#undef Py_BUILD_CORE
#endif
static inline void
hurry_pending_calls(void)
{
    PyInterpreterState *main = PyInterpreterState_Main();
    if (main != NULL) { /* else Python has ended */
        _Py_atomic_store_relaxed(&main->ceval.eval_breaker, 1);
    }
}
#endif

/* time.perf_counter, as a number of seconds. On Linux that is CLOCK_MONOTONIC; Python's own function costs
   twice the instructions there. */
#if defined(__linux__)
#include <time.h>
static inline double
perf_counter(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#elif PY_VERSION_HEX >= 0x030D0000
static inline double
perf_counter(void)
{
    PyTime_t now = 0;
    (void)PyTime_PerfCounterRaw(&now);
    return PyTime_AsSecondsDouble(now);
}
#else
static inline double
perf_counter(void)
{
    return _PyTime_AsSecondsDouble(_PyTime_GetPerfCounter());
}
#endif

#endif
