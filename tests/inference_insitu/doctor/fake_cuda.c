/* A CUDA driver without a GPU. "Device" memory is host memory that nobody but this library can read: every
   access from elsewhere faults, as a device's address does. FAKE_CUDA_MODE: "closed" (so), "open" (anybody reads
   it, as if MPI were CUDA-aware), "false" (open, and what comes back is altered), "none" (no GPU), "broken" (the
   driver fails), "crash" (it dies). */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t CUdeviceptr;

static int mode(const char *name)
{
    const char *given = getenv("FAKE_CUDA_MODE");
    return given && strcmp(given, name) == 0;
}

static size_t pages(size_t size) { return (size + 4095) / 4096 * 4096; }

static void guard(CUdeviceptr at, size_t size, int open)
{
    mprotect((void *)at, pages(size), open || !mode("closed") ? PROT_READ | PROT_WRITE : PROT_NONE);
}

int cuInit(unsigned flags)
{
    if (mode("crash")) raise(SIGSEGV);
    return mode("none") ? 100 : mode("broken") ? 999 : 0;
}
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return index != 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return 0; }
int cuCtxSetCurrent(void *context) { return context == NULL; }
int cuCtxPushCurrent_v2(void *context) { return context == NULL; }
int cuCtxPopCurrent_v2(void **context) { *context = (void *)1; return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuStreamSynchronize(void *stream) { return stream != (void *)1; }
int cuGetErrorName(int code, const char **name) { *name = NULL; return 1; }

static struct { CUdeviceptr at; size_t size; } made[16];
static int count;
static size_t is_device(CUdeviceptr at)
{
    for (int i = 0; i < count; i++)
        if (made[i].at == at) return made[i].size;
    return 0;
}

int cuMemAlloc_v2(CUdeviceptr *at, size_t size)
{
    void *memory = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *at = (CUdeviceptr)memory;
    guard(*at, size, 0);
    made[count].at = *at;
    made[count++].size = size;
    return memory == MAP_FAILED ? 2 : 0;
}
int cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, void *stream)
{
    CUdeviceptr device = is_device(to) ? to : from;
    if (stream != (void *)1 || !is_device(device)) return 1;
    guard(device, is_device(device), 1);
    memcpy((void *)to, (void *)from, size);
    guard(device, is_device(device), 0);
    if (device == from && mode("false")) ((char *)to)[size / 2] ^= 1;
    return 0;
}
