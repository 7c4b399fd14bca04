/* How a payload comes to its slot: as it is into memory or into a file, or with blocks of it added up. */

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* From so many bytes on a copy goes past the caches: most of it would have left them before it is read, and with it
 * what the simulation has there. */
#define STREAM_BYTES (256 * 1024)
#define MOST_DIMENSIONS 6
/* Values that are added up at a time: of every axis as many stay in the first cache. */
#define PIECE 512

/* How a frame is made coarser: `rows` are those of the result, `strides` those of the source, in values. */
typedef struct {
    npy_intp factor, rows, shape[MOST_DIMENSIONS], strides[MOST_DIMENSIONS];
    int dimensions;
} Blocks;

#define VALUE float
#include "lane_blocks.h"
#define VALUE double
#include "lane_blocks.h"

#ifdef __SSE2__
/* Whole lines, not read before they are written to: a third sooner than memcpy, which reads them first. */
static void copy_past_caches(char *to, const char *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) {
        __m128i one = _mm_loadu_si128((const __m128i *)(from + at));
        __m128i two = _mm_loadu_si128((const __m128i *)(from + at + 16));
        __m128i three = _mm_loadu_si128((const __m128i *)(from + at + 32));
        __m128i four = _mm_loadu_si128((const __m128i *)(from + at + 48));
        _mm_stream_si128((__m128i *)(to + at), one);
        _mm_stream_si128((__m128i *)(to + at + 16), two);
        _mm_stream_si128((__m128i *)(to + at + 32), three);
        _mm_stream_si128((__m128i *)(to + at + 48), four);
    }
    _mm_sfence(); /* stores that go past the caches keep no order of themselves */
}
#endif

static void copy(char *to, const char *from, size_t bytes)
{
#ifdef __SSE2__
    if (bytes >= STREAM_BYTES && ((uintptr_t)to & 63) == 0) {
        size_t lines = bytes & ~(size_t)63;
        copy_past_caches(to, from, lines);
        to += lines, from += lines, bytes -= lines;
    }
#endif
    memcpy(to, from, bytes);
}

/* Write to the file; 0 where it does not take all of it. Not by a mapping: whenever the system has written a page of one
 * to the disk, the next store to it is a fault, which takes longer than the copy. */
static int write_whole(int file, const char *from, size_t bytes, off_t offset)
{
    while (bytes) {
        ssize_t written = pwrite(file, from, bytes, offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return 0;
        from += written, offset += written, bytes -= (size_t)written;
    }
    return 1;
}
