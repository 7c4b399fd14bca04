/* A CUDA driver of one device whose memory is files, so that another process can map it. Compiled against the real
 * header, which holds the signatures to what Python's calls are tested with. FAKE_CUDA (words):
 *   opaque       device memory cannot be touched but through copies, as on a GPU
 *   no_register, no_ipc, corrupt_ipc, no_device
 */
#define _GNU_SOURCE
#include <cuda.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONTEXT ((CUcontext)0x7fff12345670)
#define MANY 64
typedef struct { char *seen, *real; size_t bytes; char path[256]; } Memory;
static Memory memories[MANY];
static int made, depth, asked[MANY], events;

static int told(const char *word) { const char *all = getenv("FAKE_CUDA"); return all && strstr(all, word) != NULL; }
#define NEEDS_CONTEXT if (depth != 1) return CUDA_ERROR_INVALID_CONTEXT

static Memory *of(CUdeviceptr pointer) {
    for (int i = 0; i < made; i++)
        if (memories[i].seen && (char *)pointer >= memories[i].seen && (char *)pointer < memories[i].seen + memories[i].bytes)
            return &memories[i];
    return NULL;
}

static CUresult map(CUdeviceptr *pointer, const char *path, size_t bytes) {
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || (bytes && ftruncate(file, bytes)) || made == MANY) return CUDA_ERROR_MAP_FAILED;
    bytes = lseek(file, 0, SEEK_END);
    Memory *memory = &memories[made++];
    memory->bytes = bytes;
    memory->real = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memory->seen = told("opaque") ? mmap(NULL, bytes, PROT_NONE, MAP_SHARED, file, 0) : memory->real;
    snprintf(memory->path, sizeof memory->path, "%s", path);
    close(file);
    *pointer = (CUdeviceptr)memory->seen;
    return CUDA_SUCCESS;
}

CUresult cuInit(unsigned int flags) { return flags ? CUDA_ERROR_INVALID_VALUE : told("no_device") ? CUDA_ERROR_NO_DEVICE : 0; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return ordinal ? CUDA_ERROR_INVALID_DEVICE : 0; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    if (device) return CUDA_ERROR_INVALID_DEVICE;
    *context = CONTEXT;
    return CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent(CUcontext context) { depth++; return context == CONTEXT ? 0 : CUDA_ERROR_INVALID_CONTEXT; }
CUresult cuCtxPopCurrent(CUcontext *context) { depth--; *context = CONTEXT; return CUDA_SUCCESS; }
CUresult cuCtxSynchronize(void) { NEEDS_CONTEXT; return CUDA_SUCCESS; }
CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
    if (!of(pointer)) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_CONTEXT) *(CUcontext *)data = told("pool") ? NULL : CONTEXT;
    else if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) *(int *)data = 0;
    else return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned int flags) {
    NEEDS_CONTEXT;
    *stream = (CUstream)0x7fff00000100;
    return flags == CU_STREAM_NON_BLOCKING ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
static int stream_is_known(CUstream stream) { return stream == CU_STREAM_LEGACY || stream == (CUstream)0x7fff00000100; }
CUresult cuStreamSynchronize(CUstream stream) { NEEDS_CONTEXT; return stream_is_known(stream) ? 0 : CUDA_ERROR_INVALID_HANDLE; }
CUresult cuEventCreate(CUevent *event, unsigned int flags) {
    NEEDS_CONTEXT;
    if (flags != CU_EVENT_DISABLE_TIMING || events + 1 == MANY) return CUDA_ERROR_INVALID_VALUE;
    *event = (CUevent)(uintptr_t)(0x7fff00001000 + ++events);
    return CUDA_SUCCESS;
}
static int number(CUevent event) { return (int)((uintptr_t)event - 0x7fff00001000); }
CUresult cuEventRecord(CUevent event, CUstream stream) {
    NEEDS_CONTEXT;
    if (!stream_is_known(stream) || number(event) < 1 || number(event) > events) return CUDA_ERROR_INVALID_HANDLE;
    asked[number(event)] = 0;
    return CUDA_SUCCESS;
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
    NEEDS_CONTEXT;
    return stream_is_known(stream) && number(event) >= 1 && !flags ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult cuEventQuery(CUevent event) { NEEDS_CONTEXT; return asked[number(event)]++ ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY; }
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    NEEDS_CONTEXT;
    if (!stream_is_known(stream)) return CUDA_ERROR_INVALID_HANDLE;
    Memory *target = of(to), *source = of(from);
    memcpy(target ? target->real + ((char *)to - target->seen) : (char *)to,
           source ? source->real + ((char *)from - source->seen) : (char *)from, bytes);
    return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    NEEDS_CONTEXT;
    char path[200];
    snprintf(path, sizeof path, "%s/memory-%d-%d", getenv("FAKE_CUDA_FOLDER"), getpid(), made);
    return map(pointer, path, bytes);
}
CUresult cuMemFree(CUdeviceptr pointer) {
    NEEDS_CONTEXT;
    Memory *memory = of(pointer);
    if (!memory || memory->seen != (char *)pointer) return CUDA_ERROR_INVALID_VALUE;
    unlink(memory->path);
    memory->seen = NULL;
    return CUDA_SUCCESS;
}
CUresult cuMemHostRegister(void *memory, size_t bytes, unsigned int flags) {
    NEEDS_CONTEXT;
    if (told("no_register")) return CUDA_ERROR_NOT_SUPPORTED;
    return memory && bytes && flags == CU_MEMHOSTREGISTER_PORTABLE ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuMemHostUnregister(void *memory) { NEEDS_CONTEXT; return memory ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }
CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer) {
    NEEDS_CONTEXT;
    Memory *memory = of(pointer);
    if (!memory || memory->seen != (char *)pointer) return CUDA_ERROR_INVALID_VALUE;
    memset(handle, 0, sizeof *handle);
    snprintf(handle->reserved, 60, "%s", strrchr(memory->path, '/') + 1);
    handle->reserved[63] = 'E'; /* a handle is 64 bytes, whatever they are */
    return CUDA_SUCCESS;
}
CUresult cuIpcOpenMemHandle(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned int flags) {
    NEEDS_CONTEXT;
    if (told("no_ipc") || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS || handle.reserved[63] != 'E') return CUDA_ERROR_MAP_FAILED;
    char path[200];
    snprintf(path, sizeof path, "%s/%s", getenv("FAKE_CUDA_FOLDER"), handle.reserved);
    CUresult result = map(pointer, path, 0);
    if (!result && told("corrupt_ipc")) of(*pointer)->real[3] ^= 1;
    return result;
}
CUresult cuGetErrorName(CUresult error, const char **name) {
    switch (error) {
    case CUDA_ERROR_MAP_FAILED: *name = "CUDA_ERROR_MAP_FAILED"; break;
    case CUDA_ERROR_NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
    case CUDA_ERROR_NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case CUDA_ERROR_INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case CUDA_ERROR_INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case CUDA_ERROR_INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    default: *name = NULL; return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}
