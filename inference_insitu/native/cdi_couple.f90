!> The calls of cdi_couple.h in Fortran's own types; communicators are the integers of `use mpi`.
!!
!! Lengths of an array are declared in C's order, the reverse of shape(a): a(nx, ny) is "name: float64 [ny, nx]".
module cdi_couple
  use, intrinsic :: iso_c_binding
  implicit none
  private
  public :: cdi_coupling, cdi_command, cdi_attach, cdi_simulation_comm, cdi_publish, cdi_end_step, cdi_poll_steering
  public :: cdi_close, cdi_abandon, cdi_error_line

  integer, parameter, public :: CDI_ERROR = -1  !< C's cdi_error() is cdi_error_line here: Fortran knows no case
  integer, parameter, public :: CDI_OK = 0, CDI_SERVED = 1, CDI_RANK_DIED = 2
  integer, parameter, public :: CDI_ACCEPTED = 0, CDI_DROPPED = 1, CDI_FAILED = 2

  integer, parameter :: NAME_BYTES = 72, LINE_BYTES = 1024

  type :: cdi_coupling
    type(c_ptr) :: handle = c_null_ptr
  end type

  type :: cdi_command
    character(len=NAME_BYTES) :: name = ""
    real(c_double) :: value = 0  !< where has_value
    logical :: has_value = .false.
  end type

  type, bind(C) :: c_command
    character(kind=c_char) :: name(NAME_BYTES)
    real(c_double) :: value
    integer(c_int) :: has_value
  end type

  interface
    integer(c_int) function c_attach(comm, config, variables, output, coupling) bind(C, name="cdi_attach_f")
      import
      integer(c_int), value :: comm
      character(kind=c_char), intent(in) :: config(*), variables(*), output(*)
      type(c_ptr), intent(out) :: coupling
    end function
    integer(c_int) function c_simulation_comm(coupling) bind(C, name="cdi_simulation_comm_f")
      import
      type(c_ptr), value :: coupling
    end function
    integer(c_int) function c_publish(coupling, name, data, dimensions, extents, attributes, step, reason, size) &
        bind(C, name="cdi_publish_shaped")
      import
      type(c_ptr), value :: coupling, attributes
      character(kind=c_char), intent(in) :: name(*)
      type(*), dimension(*), intent(in) :: data
      integer(c_int), value :: dimensions
      integer(c_long), intent(in) :: extents(*)
      integer(c_long), value :: step
      character(kind=c_char), intent(out) :: reason(*)
      integer(c_size_t), value :: size
    end function
    integer(c_int) function c_end_step(coupling, step) bind(C, name="cdi_end_step")
      import
      type(c_ptr), value :: coupling
      integer(c_long), value :: step
    end function
    integer(c_int) function c_poll_steering(coupling, commands, most, count) bind(C, name="cdi_poll_steering")
      import
      type(c_ptr), value :: coupling
      type(c_command), intent(out) :: commands(*)
      integer(c_int), value :: most
      integer(c_int), intent(out) :: count
    end function
    integer(c_int) function c_close(coupling) bind(C, name="cdi_close")
      import
      type(c_ptr), value :: coupling
    end function
    subroutine c_abandon(coupling, why) bind(C, name="cdi_abandon")
      import
      type(c_ptr), value :: coupling
      character(kind=c_char), intent(in) :: why(*)
    end subroutine
    type(c_ptr) function c_error() bind(C, name="cdi_error")
      import
    end function
  end interface

contains

  !> Couple the simulation on comm: CDI_OK; CDI_SERVED on a rank that inferred and is done; CDI_ERROR.
  integer function cdi_attach(comm, config, variables, output, coupling) result(status)
    integer, intent(in) :: comm
    character(len=*), intent(in) :: config, variables, output
    type(cdi_coupling), intent(out) :: coupling
    status = c_attach(int(comm, c_int), c_text(config), c_text(variables), c_text(output), coupling%handle)
  end function

  !> The ranks that simulate.
  integer function cdi_simulation_comm(coupling) result(comm)
    type(cdi_coupling), intent(in) :: coupling
    comm = c_simulation_comm(coupling%handle)
  end function

  !> Hand data, of the declared type, over as the frame of step. `extents` is its shape in Fortran's order; without it
  !! it is as declared. `attributes` is a JSON object. `reason` says why a frame is not accepted.
  integer function cdi_publish(coupling, name, data, step, extents, attributes, reason) result(status)
    type(cdi_coupling), intent(in) :: coupling
    character(len=*), intent(in) :: name
    type(*), dimension(*), intent(in) :: data
    integer, intent(in) :: step
    integer, intent(in), optional :: extents(:)
    character(len=*), intent(in), optional :: attributes
    character(len=*), intent(out), optional :: reason
    character(kind=c_char) :: why(LINE_BYTES)
    character(kind=c_char), allocatable, target :: json(:)
    integer(c_long), allocatable :: lengths(:)
    integer(c_int) :: dimensions
    type(c_ptr) :: json_at
    dimensions = -1  ! as declared
    if (present(extents)) dimensions = size(extents, kind=c_int)
    allocate (lengths(max(dimensions, 0)))
    if (present(extents)) lengths(:) = extents(size(extents):1:-1)
    json_at = c_null_ptr
    if (present(attributes)) then
      json = c_text(attributes)
      json_at = c_loc(json)
    end if
    status = c_publish(coupling%handle, c_text(name), data, dimensions, lengths, json_at, int(step, c_long), why, &
      int(LINE_BYTES, c_size_t))
    if (present(reason)) reason = text(why)
  end function

  !> All frames of step are published.
  integer function cdi_end_step(coupling, step) result(status)
    type(cdi_coupling), intent(in) :: coupling
    integer, intent(in) :: step
    status = c_end_step(coupling%handle, int(step, c_long))
  end function

  !> The commands that every rank applies now, the first `count` of `commands`; as many have room on every rank.
  integer function cdi_poll_steering(coupling, commands, count) result(status)
    type(cdi_coupling), intent(in) :: coupling
    type(cdi_command), intent(out) :: commands(:)
    integer, intent(out) :: count
    type(c_command) :: found(size(commands))
    integer(c_int) :: number
    integer :: i
    status = c_poll_steering(coupling%handle, found, size(commands, kind=c_int), number)
    count = 0
    if (status /= CDI_OK) return
    count = number
    do i = 1, count
      commands(i) = cdi_command(text(found(i)%name), found(i)%value, found(i)%has_value /= 0)
    end do
  end function

  !> End, with all simulation ranks: CDI_OK; CDI_RANK_DIED where MPI_Finalize would wait for ever; CDI_ERROR.
  integer function cdi_close(coupling) result(status)
    type(cdi_coupling), intent(inout) :: coupling
    status = c_close(coupling%handle)
    coupling%handle = c_null_ptr
  end function

  !> Leave alone, before MPI_Abort.
  subroutine cdi_abandon(coupling, why)
    type(cdi_coupling), intent(inout) :: coupling
    character(len=*), intent(in) :: why
    call c_abandon(coupling%handle, c_text(why))
    coupling%handle = c_null_ptr
  end subroutine

  !> Why the last call gave CDI_ERROR, in one line.
  function cdi_error_line() result(line)
    character(len=:), allocatable :: line
    character(kind=c_char), pointer :: letters(:)
    call c_f_pointer(c_error(), letters, [LINE_BYTES])
    line = text(letters)
  end function

  !> C's characters up to its end of text.
  pure function text(letters) result(line)
    character(kind=c_char), intent(in) :: letters(:)
    character(len=:), allocatable :: line
    integer :: i, length
    length = findloc(letters, c_null_char, dim=1) - 1
    allocate (character(len=length) :: line)
    do i = 1, length
      line(i:i) = letters(i)
    end do
  end function

  !> `line` without the blanks at its end, as C takes it.
  pure function c_text(line) result(letters)
    character(len=*), intent(in) :: line
    character(kind=c_char) :: letters(len_trim(line) + 1)
    integer :: i
    do i = 1, len_trim(line)
      letters(i) = line(i:i)
    end do
    letters(size(letters)) = c_null_char
  end function
end module
