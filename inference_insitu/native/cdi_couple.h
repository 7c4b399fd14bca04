/* Inference beside a running MPI simulation, for C and Fortran.
 *
 *     cdi_coupling *coupling;
 *     int got = cdi_attach(MPI_COMM_WORLD, "coupling.yaml", "density: float64 [64, 64]", "run", &coupling);
 *     if (got == CDI_SERVED) { MPI_Finalize(); return 0; }
 *     if (got == CDI_ERROR) { fprintf(stderr, "%s\n", cdi_error()); MPI_Abort(MPI_COMM_WORLD, 2); }
 *     for (long step = 0; step < steps; step++) {
 *         advance(cdi_simulation_comm(coupling), density);
 *         cdi_publish(coupling, "density", density, NULL, step, NULL, 0);
 *         cdi_end_step(coupling, step);
 *     }
 *     cdi_close(coupling);
 *     MPI_Finalize();
 *
 * The library holds a Python of its own: CDI_PYTHON, or the one that it was built for. It installs no signal handler,
 * changes no locale, and holds its lock only during a call. Calls come from one thread at a time, which may call MPI.
 * docs/c_abi.md says more; `python -m inference_insitu.native.flags` says how to build. */
#ifndef CDI_COUPLE_H
#define CDI_COUPLE_H

#include <mpi.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CDI_ERROR = -1,    /* cdi_error() says why */
    CDI_OK = 0,
    CDI_SERVED = 1,    /* cdi_attach: this rank was given up for inference and the run is over: MPI_Finalize and leave */
    CDI_RANK_DIED = 2, /* cdi_close: closed, but a rank that inferred is dead and MPI_Finalize would wait: _exit */
    /* What became of a cdi_publish. */
    CDI_ACCEPTED = 0,
    CDI_DROPPED = 1,
    CDI_FAILED = 2
};

enum { CDI_NAME_BYTES = 72 };

typedef struct cdi_coupling cdi_coupling;

typedef struct {
    char name[CDI_NAME_BYTES];
    double value; /* where has_value */
    int has_value;
} cdi_command;

/* Couple the simulation on comm; collective over it. comm is duplicated, and holds the ranks that will infer too: there
 * this returns CDI_SERVED, at the end of the run. An error that one rank finds in what it was given is every rank's.
 *     config     path of the YAML file
 *     variables  "name: type [length, ...]; ..." with C's order of lengths and the largest length of each,
 *                of types bool, int8 to int64, uint8 to uint64, float16 to float64, complex64, complex128
 *     output     folder of the run */
int cdi_attach(MPI_Comm comm, const char *config, const char *variables, const char *output, cdi_coupling **coupling);

/* The ranks that simulate: use it in place of comm until cdi_close. */
MPI_Comm cdi_simulation_comm(const cdi_coupling *coupling);

/* Hand data, contiguous and of the declared type and shape, over as the frame of step; it may change once this returns.
 * Gives CDI_ACCEPTED; CDI_DROPPED or CDI_FAILED with the reason; or CDI_ERROR where the call itself is wrong.
 *     attributes  a JSON object that travels with the frame, at most 2 KB, or NULL
 *     reason      size bytes for the reason (or the error), which is cut to fit; may be NULL */
int cdi_publish(cdi_coupling *coupling, const char *name, const void *data, const char *attributes, long step,
                char *reason, size_t size);

/* The same for an array that is smaller than declared: as many extents as the variable has, each at most its length. */
int cdi_publish_shaped(cdi_coupling *coupling, const char *name, const void *data, int dimensions, const long *extents,
                       const char *attributes, long step, char *reason, size_t size);

/* All frames of step are published. CDI_ERROR where inference has failed and on_inference_failure is abort. */
int cdi_end_step(cdi_coupling *coupling, long step);

/* The commands that every rank applies now; collective over the simulation. At most `most` of them, whose number goes to
 * count; give the same `most` on every rank. Others come at the next call. */
int cdi_poll_steering(cdi_coupling *coupling, cdi_command *commands, int most, int *count);

/* End: inference finishes, the books are closed; collective over the simulation. The coupling is gone after it, whatever
 * it gives: CDI_OK, CDI_RANK_DIED or CDI_ERROR. Does nothing with NULL. */
int cdi_close(cdi_coupling *coupling);

/* Leave alone, before MPI_Abort: this rank's books are closed and its shared memory is freed. Does nothing with NULL. */
void cdi_abandon(cdi_coupling *coupling, const char *why);

/* Why the last call of this thread gave CDI_ERROR, in one line of UTF-8. */
const char *cdi_error(void);

/* The same with Fortran's handles of communicators. */
int cdi_attach_f(int comm, const char *config, const char *variables, const char *output, cdi_coupling **coupling);
int cdi_simulation_comm_f(const cdi_coupling *coupling);

#ifdef __cplusplus
}
#endif
#endif
