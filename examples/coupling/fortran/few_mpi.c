/* What few_mpi.f90 calls: MPI's C functions with Fortran's handles and references. */
#include <mpi.h>
#include <stddef.h>

extern int few_mpi_world, few_mpi_proc_null;

void few_mpi_init(int *error) {
    *error = MPI_Init(NULL, NULL);
    few_mpi_world = (int)MPI_Comm_c2f(MPI_COMM_WORLD);
    few_mpi_proc_null = MPI_PROC_NULL;
}

void few_mpi_finalize(int *error) { *error = MPI_Finalize(); }

void few_mpi_abort(const int *comm, const int *code, int *error) { *error = MPI_Abort(MPI_Comm_f2c(*comm), *code); }

void few_mpi_comm_rank(const int *comm, int *rank, int *error) { *error = MPI_Comm_rank(MPI_Comm_f2c(*comm), rank); }

void few_mpi_comm_size(const int *comm, int *size, int *error) { *error = MPI_Comm_size(MPI_Comm_f2c(*comm), size); }

void few_mpi_sendrecv(const void *sent, const int *count, const int *type, const int *dest, const int *tag,
                      void *received, const int *count_r, const int *type_r, const int *source, const int *tag_r,
                      const int *comm, const int *status, int *error) {
    (void)type, (void)type_r, (void)status; /* doubles, and no status */
    *error = MPI_Sendrecv(sent, *count, MPI_DOUBLE, *dest, *tag, received, *count_r, MPI_DOUBLE, *source, *tag_r,
                          MPI_Comm_f2c(*comm), MPI_STATUS_IGNORE);
}
