/* How full the loops are, and samples of what fills them: load.c, used by wait.c. */
#ifndef LOOPBLOCK_LOAD_H
#define LOOPBLOCK_LOAD_H

#include "core.h"

/* At a tick, without the GIL. */
int load_tick(MonitorObject *monitor, double saturation, double threshold, double now, double cpu);
int load_is_due(WaiterObject *waiter, int full, int rests, double now);
double sample_due(WaiterObject *waiter, double now, double tick_due);
void sample_tick(WaiterObject *waiter, MonitorObject *const *monitors, Py_ssize_t count, double now);

/* With the GIL. */
void load_hold(WaiterObject *waiter);
void load_settle(WaiterObject *waiter);
PyObject *load_take_samples(WaiterObject *waiter);
PyObject *load_stretch(const MonitorObject *monitor);

#endif
