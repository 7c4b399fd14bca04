! Heat in a square, on strips of rows, as in ../stencil.py: a plain MPI code, and what couples it.
!
!     mpiexec -n 3 ./stencil runs/fortran ../stencil.yaml [200]
!
! The folder must exist. "none" in place of the configuration computes without a coupling, on all ranks. Each computing
! rank writes its last strip to <folder>/strip-<rank>.f64. A row of ../stencil.py is a column here, as Fortran stores it.
program stencil
  use, intrinsic :: iso_fortran_env, only: real64, error_unit
  use mpi
  use cdi_couple
  implicit none
  integer, parameter :: ROWS = 256, COLUMNS = 256

  real(real64) :: strip(COLUMNS, 0:ROWS + 1) = 0, next(COLUMNS, 0:ROWS + 1)
  type(cdi_coupling) :: coupling
  character(len=1024) :: folder, config, given
  integer :: comm, rank, ranks, mine, step, steps, status, ierr, i
  logical :: coupled

  call MPI_Init(ierr)
  if (command_argument_count() < 2) call fail("give a folder and a configuration (or none)")
  call get_command_argument(1, folder)
  call get_command_argument(2, config)
  steps = 200
  if (command_argument_count() > 2) then
    call get_command_argument(3, given)
    read (given, *) steps
  end if

  comm = MPI_COMM_WORLD
  coupled = config /= "none"
  if (coupled) then
    status = cdi_attach(MPI_COMM_WORLD, config, "temperature: float64 [256, 256]", trim(folder)//"/coupling", coupling)
    if (status == CDI_ERROR) call fail(cdi_error_line())
    if (status == CDI_SERVED) then
      call MPI_Finalize(ierr)
      stop
    end if
    comm = cdi_simulation_comm(coupling)
  end if

  call MPI_Comm_rank(comm, rank, ierr)
  call MPI_Comm_size(comm, ranks, ierr)
  mine = ROWS/ranks
  strip(COLUMNS/2 + 1, 1:mine) = 100*(1 + rank)
  do step = 0, steps - 1
    call exchange()
    call advance()
    if (coupled) then
      if (stopped()) exit
    end if
  end do
  call save_strip()

  status = CDI_OK
  if (coupled) status = cdi_close(coupling)
  if (status == CDI_ERROR) call fail(cdi_error_line())
  if (status /= CDI_RANK_DIED) call MPI_Finalize(ierr)  ! it would wait for the dead

contains

  !> Edge rows from the neighbours; the outermost stay cold.
  subroutine exchange()
    integer :: above, below
    above = merge(rank - 1, MPI_PROC_NULL, rank > 0)
    below = merge(rank + 1, MPI_PROC_NULL, rank + 1 < ranks)
    call MPI_Sendrecv(strip(:, 1), COLUMNS, MPI_DOUBLE_PRECISION, above, 0, strip(:, mine + 1), COLUMNS, &
      MPI_DOUBLE_PRECISION, below, 0, comm, MPI_STATUS_IGNORE, ierr)
    call MPI_Sendrecv(strip(:, mine), COLUMNS, MPI_DOUBLE_PRECISION, below, 0, strip(:, 0), COLUMNS, &
      MPI_DOUBLE_PRECISION, above, 0, comm, MPI_STATUS_IGNORE, ierr)
  end subroutine

  subroutine advance()
    integer :: j
    do i = 1, mine
      do j = 2, COLUMNS - 1
        next(j, i) = strip(j, i) + 0.1_real64*(strip(j, i - 1) + strip(j, i + 1) + strip(j - 1, i) + strip(j + 1, i) &
          - 4*strip(j, i))
      end do
    end do
    strip(2:COLUMNS - 1, 1:mine) = next(2:COLUMNS - 1, 1:mine)
  end subroutine

  !> Tell of this step; whether the simulation is to stop.
  logical function stopped()
    type(cdi_command) :: commands(8)
    integer :: count
    stopped = .false.
    status = cdi_publish(coupling, "temperature", strip(:, 1:mine), step, extents=[COLUMNS, mine])
    if (status /= CDI_ERROR) status = cdi_end_step(coupling, step)
    if (status /= CDI_ERROR) status = cdi_poll_steering(coupling, commands, count)
    if (status == CDI_ERROR) then
      call cdi_abandon(coupling, cdi_error_line())
      call fail(cdi_error_line())
    end if
    stopped = any(commands(:count)%name == "stop")
  end function

  subroutine save_strip()
    integer :: unit
    write (given, "(a, a, i0, a)") trim(folder), "/strip-", rank, ".f64"
    open (newunit=unit, file=given, access="stream", form="unformatted", status="replace", action="write")
    write (unit) strip(:, 1:mine)
    close (unit)
  end subroutine

  subroutine fail(why)
    character(len=*), intent(in) :: why
    write (error_unit, "(2a)") "stencil: ", why
    flush (error_unit)  ! before the abort, which ends all at once
    call MPI_Abort(MPI_COMM_WORLD, 2, ierr)
    stop 2
  end subroutine
end program
