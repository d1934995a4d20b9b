/* A stand-in for the driver's library, libnvidia-ml.so.1: what pynvml calls of it, for GPUs that are not there.
 *
 * STANDIN_GPUS in the environment: how many (2); STANDIN_MIXED: of two models; STANDIN_ERROR: what nvmlInit answers.
 * Like the real one it works only where it was initialised, and keeps others out while one thread is inside.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SUCCESS, UNINITIALIZED, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };
enum { MIG = 100 }; /* handles above: the MIG device of the GPU */

typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;

int standin_inits, standin_lost = -1;
volatile int standin_inside, standin_held;

static pthread_mutex_t inside = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int check(long handle) {
    pthread_mutex_lock(&inside);
    standin_inside = 1;
    while (standin_held) usleep(1000);
    standin_inside = 0;
    pthread_mutex_unlock(&inside);
    if (owner != getpid()) return UNINITIALIZED;
    return handle && handle % MIG - 1 == standin_lost ? LOST : SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    int error = number("STANDIN_ERROR", SUCCESS);
    standin_inits++;
    if (!error) owner = getpid();
    return error;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = number("STANDIN_GPUS", 2);
    return check(0);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, long *handle) {
    *handle = index + 1;
    return check(*handle);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, long *handle) {
    int gpu;
    if (sscanf(uuid, "MIG-%d", &gpu) != 1) return NOT_FOUND;
    *handle = MIG + gpu + 1;
    return check(0);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(long part, long *handle) {
    *handle = part % MIG;
    return check(0);
}

int nvmlDeviceGetUUID(long handle, char *text, unsigned length) {
    snprintf(text, length, "GPU-%c%07ld-0000", (char)('a' + handle - 1), handle - 1);
    return check(handle);
}

int nvmlDeviceGetName(long handle, char *text, unsigned length) {
    snprintf(text, length, "Stand-in %d", getenv("STANDIN_MIXED") ? (int)handle % 2 : 0);
    return check(handle);
}

int nvmlDeviceGetUtilizationRates(long handle, utilization *rates) {
    rates->gpu = 37 + handle;
    rates->memory = 99;
    return check(handle);
}

int nvmlDeviceGetMemoryInfo(long handle, memory *info) {
    info->total = 80ULL << 30;
    info->used = 20ULL << 30;
    info->free = info->total - info->used;
    return check(handle);
}

int nvmlDeviceGetTemperature(long handle, int sensor, unsigned *degrees) {
    *degrees = sensor == 0 ? 60 + handle : 0;
    return check(handle);
}

/* The second GPU does not measure its power. */
int nvmlDeviceGetPowerUsage(long handle, unsigned *milliwatts) {
    *milliwatts = 250500;
    return handle == 2 ? NOT_SUPPORTED : check(handle);
}
