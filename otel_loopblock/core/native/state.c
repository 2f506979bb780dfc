/* What the module keeps, and how types get into it: at the bottom, used by every file. */

#include "core.h"

CoreState *
core_state(PyObject *module)
{
    return (CoreState *)PyModule_GetState(module);
}

PyTypeObject *
core_make_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL && !PyErr_Occurred()) { /* 3.11 does not say so where there is no memory for the name */
        PyErr_NoMemory();
    }
    return (PyTypeObject *)type;
}

/* Makes a type and adds it to the module, which keeps a reference of its own. */
int
core_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = core_make_type(module, spec);
    return *type != NULL ? PyModule_AddType(module, *type) : -1;
}
