/* Sums of blocks of `factor` values along every axis, for values of type VALUE; included once for each type.
 *
 * Added in the order of reduction.operators.Bin, so that not a bit differs: along the first axis first, the last one
 * last. It keeps an array for what every axis leaves; here that is a piece of a row, and the source is read once.
 */

#define JOINED_AS(name, type) name##_##type
#define JOINED(name, type) JOINED_AS(name, type)
#define OF(name) JOINED(name, VALUE)

/* A piece of a row added up along the axes up to `axis`; `from` is its first block. */
static void OF(add_axes)(const Blocks *blocks, int axis, const VALUE *restrict from, VALUE *restrict to, npy_intp length)
{
    npy_intp stride = blocks->strides[axis];
    if (axis == 0) {
        for (npy_intp at = 0; at < length; at++)
            to[at] = from[at] + from[at + stride];
        for (npy_intp one = 2; one < blocks->factor; one++)
            for (npy_intp at = 0; at < length; at++)
                to[at] += from[at + one * stride];
        return;
    }
    VALUE next[PIECE];
    OF(add_axes)(blocks, axis - 1, from, to, length);
    for (npy_intp one = 1; one < blocks->factor; one++) {
        OF(add_axes)(blocks, axis - 1, from + one * stride, next, length);
        for (npy_intp at = 0; at < length; at++)
            to[at] += next[at];
    }
}

/* `count` sums of `factor` neighbours. */
static void OF(add_neighbours)(npy_intp factor, const VALUE *restrict from, VALUE *restrict to, npy_intp count)
{
    if (factor == 2) { /* the usual one, which compilers then turn into shuffles */
        for (npy_intp at = 0; at < count; at++)
            to[at] = from[2 * at] + from[2 * at + 1];
        return;
    }
    for (npy_intp at = 0; at < count; at++, from += factor) {
        VALUE total = from[0] + from[1];
        for (npy_intp one = 2; one < factor; one++)
            total += from[one];
        to[at] = total;
    }
}

static void OF(add_blocks)(const Blocks *blocks, const VALUE *from, VALUE *to)
{
    int last = blocks->dimensions - 1;
    npy_intp factor = blocks->factor, row = blocks->shape[last], most = PIECE / factor * factor;
    npy_intp block[MOST_DIMENSIONS] = {0};
    VALUE added[PIECE];
    for (npy_intp left = blocks->rows; left > 0; left--) {
        const VALUE *source = from;
        for (int axis = 0; axis < last; axis++)
            source += block[axis] * factor * blocks->strides[axis];
        for (npy_intp at = 0; at < row; at += most) {
            npy_intp length = row - at < most ? row - at : most;
            const VALUE *piece = source + at;
            if (last > 0) {
                OF(add_axes)(blocks, last - 1, piece, added, length);
                piece = added;
            }
            OF(add_neighbours)(factor, piece, to, length / factor);
            to += length / factor;
        }
        for (int axis = last - 1; axis >= 0 && ++block[axis] == blocks->shape[axis] / factor; axis--)
            block[axis] = 0;
    }
}

#undef OF
#undef JOINED
#undef JOINED_AS
#undef VALUE
