/* What the kernel tells of a thread: its CPU time, and how long it could have run but had no CPU.

   Nothing here gives up the GIL: to get it back could cost the caller a switch interval. */

#include "core.h"

#include <errno.h>
#include <time.h>
#if defined(_POSIX_THREAD_CPUTIME) && !defined(__APPLE__)
#include <pthread.h>
#define HAVE_THREAD_CLOCK 1
#endif
#if defined(__linux__)
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

double
clock_seconds(long clock)
{
#ifdef HAVE_THREAD_CLOCK
    struct timespec now;
    if (clock != NO_CLOCK && clock_gettime((clockid_t)clock, &now) == 0) { /* else its thread has ended */
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
#endif
    return UNKNOWN_S;
}

double
process_cpu_seconds(void)
{
#ifdef CLOCK_PROCESS_CPUTIME_ID
    struct timespec now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0) {
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
#endif
    return UNKNOWN_S;
}

PyObject *
core_thread_clock(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
#ifdef HAVE_THREAD_CLOCK
    clockid_t clock;
    /* Of this thread only: with the id of one that has ended the C library crashes. */
    if (pthread_getcpuclockid(pthread_self(), &clock) == 0) {
        return PyLong_FromLong((long)clock);
    }
#endif
    Py_RETURN_NONE;
}

/* Whether this is the process's first thread, which takes Python's signals; also where that cannot be told. */
int
is_main_thread(void)
{
#if defined(__linux__)
    return native_thread_id() == (unsigned long)getpid();
#else
    return 1;
#endif
}

/* The id that the kernel has for this thread; 0 where it tells nothing of one. */
unsigned long
native_thread_id(void)
{
#if defined(__linux__)
    return (unsigned long)syscall(SYS_gettid);
#else
    return 0;
#endif
}

/* How long a thread of this process could have run but had no CPU, and how often it got one; whether it is known. */
int
read_scheduling(unsigned long thread, double *queued, unsigned long long *runs)
{
#if defined(__linux__)
    char path[64], text[96];
    unsigned long long ran, waited;
    (void)snprintf(path, sizeof(path), "/proc/self/task/%lu/schedstat", thread);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    ssize_t size = read(file, text, sizeof(text) - 1);
    (void)close(file);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    if (sscanf(text, "%llu %llu %llu", &ran, &waited, runs) != 3 || *runs == 0) {
        return 0; /* all zero where the kernel was built without this */
    }
    *queued = 1e-9 * (double)waited;
    return 1;
#else
    (void)thread;
    (void)queued;
    (void)runs;
    return 0;
#endif
}

PyObject *
core_scheduling(PyObject *Py_UNUSED(module), PyObject *native_id)
{
    double queued;
    unsigned long long runs;
    unsigned long id = PyLong_AsUnsignedLong(native_id);
    if (id == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!read_scheduling(id, &queued, &runs)) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("dK", queued, runs);
}
