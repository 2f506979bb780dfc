/* The compiled core: core/_native.pyi says what it offers, core/pure/ is its twin in Python. */

#include "core.h"

#include <stddef.h>

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    CoreState *state = core_state(module);
    Py_VISIT(state->monitor_type);
    Py_VISIT(state->waiter_type);
    Py_VISIT(state->run_type);
    Py_VISIT(state->raiser_type);
    Py_VISIT(state->scheduler_type);
    Py_VISIT(state->call_type);
    Py_VISIT(state->method_type);
    Py_VISIT(state->watch_type);
    Py_VISIT(state->get_running_loop);
    Py_VISIT(state->update_wrapper);
    return 0;
}

static int
module_clear(PyObject *module)
{
    CoreState *state = core_state(module);
    Py_CLEAR(state->monitor_type);
    Py_CLEAR(state->waiter_type);
    Py_CLEAR(state->run_type);
    Py_CLEAR(state->raiser_type);
    Py_CLEAR(state->scheduler_type);
    Py_CLEAR(state->call_type);
    Py_CLEAR(state->method_type);
    Py_CLEAR(state->watch_type);
    Py_CLEAR(state->str_callback);
    Py_CLEAR(state->str_callback_ended);
    Py_CLEAR(state->str_module_name);
    Py_CLEAR(state->str_scope);
    Py_CLEAR(state->str_endpoint);
    Py_CLEAR(state->str_method);
    Py_CLEAR(state->get_running_loop);
    Py_CLEAR(state->update_wrapper);
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear((PyObject *)module);
}

/* An attribute of a module that is imported for it: a new reference. */
static PyObject *
import_from(const char *name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(name);
    PyObject *found = module != NULL ? PyObject_GetAttrString(module, attribute) : NULL;
    Py_XDECREF(module);
    return found;
}

/* What the twin says otherwise of itself, and which interface this is: core/__init__.py asks for that one. */
#define INTERFACE 3

static int
add_constants(PyObject *module)
{
    int ret = -1;
    PyObject *callers = PyFrozenSet_New(NULL); /* no code of ours runs callbacks */
    if (callers != NULL && PyModule_AddObjectRef(module, "CALLERS", callers) == 0 &&
        PyModule_AddObjectRef(module, "TELLS_LATENESS", Py_True) == 0) {
        ret = PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
    }
    Py_XDECREF(callers);
    return ret;
}

/* Of what a failure leaves behind module_free releases all. */
static int
module_exec(PyObject *module)
{
    CoreState *state = core_state(module);
    if ((state->str_callback = PyUnicode_InternFromString("callback")) == NULL ||
        (state->str_callback_ended = PyUnicode_InternFromString("callback_ended")) == NULL ||
        (state->str_module_name = PyUnicode_InternFromString("__name__")) == NULL ||
        (state->str_scope = PyUnicode_InternFromString("scope")) == NULL ||
        (state->str_endpoint = PyUnicode_InternFromString("endpoint")) == NULL ||
        (state->str_method = PyUnicode_InternFromString("method")) == NULL ||
        (state->get_running_loop = import_from("asyncio.events", "_get_running_loop")) == NULL ||
        (state->update_wrapper = import_from("functools", "update_wrapper")) == NULL) {
        return -1;
    }
    if (core_add_monitor(module, state) < 0 || core_add_wait(module, state) < 0 ||
        core_add_handle_run(module, state) < 0 || core_add_scheduler(module, state) < 0 ||
        core_add_method(module, state) < 0 || core_add_context_watch(module, state) < 0 || add_constants(module) < 0) {
        return -1;
    }
    return 0;
}

static PyMethodDef module_methods[] = {
    {"unwrap", core_unwrap, METH_O,
     "unwrap($module, callback, /)\n--\n\nWhat a ``Call`` is to call; anything else is returned as it is."},
    {"postponing", core_postponing, METH_O,
     "postponing($module, function, /)\n--\n\n"
     "A function that calls this one; what it raises in the main thread is raised there a moment later."},
    {"thread_clock", core_thread_clock, METH_NOARGS,
     "thread_clock($module, /)\n--\n\n"
     "The CPU clock of this thread, for ``time.clock_gettime``; ``None`` where there is none."},
    {"scheduling", core_scheduling, METH_O,
     "scheduling($module, native_id, /)\n--\n\n"
     "Seconds a thread of this process could have run but had no CPU, and how often it got one; ``None`` where\n"
     "the kernel does not tell."},
    {"threads", core_threads, METH_NOARGS,
     "threads($module, /)\n--\n\nThe ids of the threads that run Python code, 64 at most."},
    {"thread_context", core_thread_context, METH_O,
     "thread_context($module, thread_id, /)\n--\n\n"
     "The context that a thread runs in; ``None`` where it has none, or there is no such thread."},
    {"stack", (PyCFunction)(void (*)(void))core_stack, METH_VARARGS | METH_KEYWORDS,
     "stack($module, /, thread_id, depth)\n--\n\n"
     "The stack of a thread, innermost frame first: code, instruction, line (0: none), module name of each;\n"
     "``None`` where there is no such thread, or it runs no Python code."},
    {"variable", (PyCFunction)(void (*)(void))core_variable, METH_VARARGS | METH_KEYWORDS,
     "variable($module, /, thread_id, code, instruction, name)\n--\n\n"
     "A local variable of a thread's innermost frame at that instruction of that code, as a tuple of one;\n"
     "``None`` where there is no such frame any more, it is no function's, or it has none of that name."},
    {NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    ONE_INTERPRETER
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "otel_loopblock.core._native",
    .m_doc = "The compiled core.",
    .m_size = sizeof(CoreState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&module_definition);
}
