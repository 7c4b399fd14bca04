/* Heat in a square, on strips of rows, as in ../stencil.py: a plain MPI code, and what couples it.
 *
 *     mpiexec -n 3 ./stencil runs/c ../stencil.yaml [200]
 *
 * The folder must exist. "none" in place of the configuration computes without a coupling, on all ranks. Each computing
 * rank writes its last strip to <folder>/strip-<rank>.f64. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdi_couple.h"

enum { ROWS = 256, COLUMNS = 256 };

static double strip[ROWS + 2][COLUMNS], next[ROWS + 2][COLUMNS];

static void fail(const char *why) {
    fprintf(stderr, "stencil: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, 2);
}

/* Edge rows from the neighbours; the outermost stay cold. */
static void exchange(MPI_Comm comm, int rank, int size, int rows) {
    int above = rank > 0 ? rank - 1 : MPI_PROC_NULL, below = rank + 1 < size ? rank + 1 : MPI_PROC_NULL;
    MPI_Sendrecv(strip[1], COLUMNS, MPI_DOUBLE, above, 0, strip[rows + 1], COLUMNS, MPI_DOUBLE, below, 0, comm,
                 MPI_STATUS_IGNORE);
    MPI_Sendrecv(strip[rows], COLUMNS, MPI_DOUBLE, below, 0, strip[0], COLUMNS, MPI_DOUBLE, above, 0, comm,
                 MPI_STATUS_IGNORE);
}

static void advance(int rows) {
    for (int i = 1; i <= rows; i++)
        for (int j = 1; j < COLUMNS - 1; j++)
            next[i][j] = strip[i][j] + 0.1 * (strip[i - 1][j] + strip[i + 1][j] + strip[i][j - 1] + strip[i][j + 1] -
                                              4 * strip[i][j]);
    for (int i = 1; i <= rows; i++) memcpy(&strip[i][1], &next[i][1], (COLUMNS - 2) * sizeof(double));
}

/* Whether the simulation goes on after step. */
static int tell(cdi_coupling *coupling, int rows, long step) {
    cdi_command commands[8];
    int count, stop = 0;
    long extents[] = {rows, COLUMNS};
    if (cdi_publish_shaped(coupling, "temperature", strip[1], 2, extents, NULL, step, NULL, 0) == CDI_ERROR ||
        cdi_end_step(coupling, step) == CDI_ERROR || cdi_poll_steering(coupling, commands, 8, &count) == CDI_ERROR) {
        cdi_abandon(coupling, cdi_error());
        fail(cdi_error());
    }
    for (int i = 0; i < count; i++) stop = stop || !strcmp(commands[i].name, "stop");
    return !stop;
}

static void save(const char *folder, int rank, int rows) {
    char path[4096];
    snprintf(path, sizeof path, "%s/strip-%d.f64", folder, rank);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(strip[1], sizeof strip[1], rows, file) != (size_t)rows || fclose(file)) fail(path);
}

int main(int count, char **arguments) {
    MPI_Init(&count, &arguments);
    if (count < 3) fail("give a folder and a configuration (or none)");
    const char *folder = arguments[1], *config = arguments[2];
    long steps = count > 3 ? atol(arguments[3]) : 200;

    cdi_coupling *coupling = NULL;
    MPI_Comm comm = MPI_COMM_WORLD;
    if (strcmp(config, "none")) {
        char output[4096];
        snprintf(output, sizeof output, "%s/coupling", folder);
        int got = cdi_attach(MPI_COMM_WORLD, config, "temperature: float64 [256, 256]", output, &coupling);
        if (got == CDI_ERROR) fail(cdi_error());
        if (got == CDI_SERVED) {
            MPI_Finalize();
            return 0;
        }
        comm = cdi_simulation_comm(coupling);
    }

    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    int rows = ROWS / size;
    for (int i = 1; i <= rows; i++) strip[i][COLUMNS / 2] = 100.0 * (1 + rank);
    for (long step = 0; step < steps; step++) {
        exchange(comm, rank, size, rows);
        advance(rows);
        if (coupling && !tell(coupling, rows, step)) break;
    }
    save(folder, rank, rows);

    int got = cdi_close(coupling);
    if (got == CDI_ERROR) fail(cdi_error());
    if (got == CDI_RANK_DIED) _Exit(0); /* MPI_Finalize would wait for it */
    MPI_Finalize();
    return 0;
}
