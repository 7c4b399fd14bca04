! The module mpi as far as stencil.f90 needs it, for an MPI library that was installed without Fortran
! (the wheels of MPICH and Open MPI). With a library that has `mpif90`, use that and leave this out.
module mpi
  use, intrinsic :: iso_c_binding, only: c_int
  implicit none
  integer(c_int), bind(C, name="few_mpi_world"), protected :: MPI_COMM_WORLD
  integer(c_int), bind(C, name="few_mpi_proc_null"), protected :: MPI_PROC_NULL
  integer(c_int), parameter :: MPI_DOUBLE_PRECISION = 1, MPI_STATUS_IGNORE = 0

  interface
    subroutine MPI_Init(ierr) bind(C, name="few_mpi_init")
      import
      integer(c_int), intent(out) :: ierr
    end subroutine
    subroutine MPI_Finalize(ierr) bind(C, name="few_mpi_finalize")
      import
      integer(c_int), intent(out) :: ierr
    end subroutine
    subroutine MPI_Abort(comm, code, ierr) bind(C, name="few_mpi_abort")
      import
      integer(c_int), intent(in) :: comm, code
      integer(c_int), intent(out) :: ierr
    end subroutine
    subroutine MPI_Comm_rank(comm, rank, ierr) bind(C, name="few_mpi_comm_rank")
      import
      integer(c_int), intent(in) :: comm
      integer(c_int), intent(out) :: rank, ierr
    end subroutine
    subroutine MPI_Comm_size(comm, size, ierr) bind(C, name="few_mpi_comm_size")
      import
      integer(c_int), intent(in) :: comm
      integer(c_int), intent(out) :: size, ierr
    end subroutine
    !> Of MPI_DOUBLE_PRECISION alone.
    subroutine MPI_Sendrecv(sent, count, type, dest, tag, received, count_r, type_r, source, tag_r, comm, status, ierr) &
        bind(C, name="few_mpi_sendrecv")
      import
      type(*), dimension(*), intent(in) :: sent
      type(*), dimension(*) :: received
      integer(c_int), intent(in) :: count, type, dest, tag, count_r, type_r, source, tag_r, comm, status
      integer(c_int), intent(out) :: ierr
    end subroutine
  end interface
end module
