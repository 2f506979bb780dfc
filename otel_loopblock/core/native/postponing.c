/* postponing: what Python calls where it ignores what is raised, as a callback of the garbage collector. A signal handler
   of the application that runs in there may raise all the same: before the first line of a function, too. */

#include "core.h"

/* Called by the interpreter in the main thread, between two instructions, as signal handlers are. */
static int
raise_now(void *error)
{
    PyErr_SetObject((PyObject *)Py_TYPE((PyObject *)error), (PyObject *)error);
    Py_DECREF((PyObject *)error);
    return -1;
}

/* -1 with the exception where too many wait: Python tells of it, and it is lost. */
static int
postpone(void)
{
    PyObject *error = error_take();
    if (Py_AddPendingCall(raise_now, error) < 0) {
        return raise_now(error);
    }
    return 0;
}

/* For code that Python has not called, and that cannot raise: the exception that is set is raised in the main thread a
   moment later, as one of a signal handler is; elsewhere it is printed. */
void
core_postpone_error(PyObject *where)
{
    if (!is_main_thread() || PyErr_ExceptionMatches(PyExc_MemoryError) || postpone() < 0) {
        PyErr_WriteUnraisable(where);
    }
}

static PyObject *
call(PyObject *function, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *result = PyObject_Vectorcall(function, args, (size_t)count, names);
    if (result != NULL || !is_main_thread() || PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return result;
    }
    if (postpone() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef call_method = {"postponing", (PyCFunction)(void (*)(void))call, METH_FASTCALL | METH_KEYWORDS, NULL};

PyObject *
core_postponing(PyObject *Py_UNUSED(module), PyObject *function)
{
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "%R cannot be called", function);
        return NULL;
    }
    return PyCFunction_New(&call_method, function);
}
