"""The application's MPI, seen from the Python inside it: the same library, already initialised, and left as it is."""

from typing import TYPE_CHECKING

from cdi.errors import RunError, optional_import

if TYPE_CHECKING:
    from mpi4py import MPI


def communicator(handle: int, library: str) -> "MPI.Intracomm":
    """The communicator behind the Fortran ``handle`` of an application that runs on ``library``.

    Parameters
    ----------
    handle : what ``MPI_Comm_c2f`` gave the application.
    library : what ``MPI_Get_library_version`` told the application.

    Raises
    ------
    RunError
        If mpi4py loads another MPI library, or a second copy of the same.
    """
    binding = optional_import("mpi4py", group="mpi", purpose="the coupling")
    # mpi4py must not start what is the application's, nor change how its communicators take errors.
    binding.rc(initialize=False, errors="default")
    from mpi4py import MPI

    own = MPI.Get_library_version()
    if own.strip("\0 \n") != library.strip("\0 \n"):
        raise RunError(
            f"mpi4py must load the application's MPI library ({_first_line(library)}), got {_first_line(own)}; "
            "build the application with the MPI of the Python environment, or mpi4py with the application's"
        )
    if not MPI.Is_initialized():
        raise RunError(
            f"mpi4py must load the application's own copy of {_first_line(own)}, got a second one; "
            "give both the same in LD_LIBRARY_PATH, or name it in MPI4PY_LIBMPI"
        )
    return MPI.Intracomm(MPI.Comm.f2py(handle))


def rank_died() -> bool:
    """Whether the coupling found a rank dead as it parted, so that MPI's own end would wait for it."""
    import mpi4py

    return (
        mpi4py.rc.finalize is False
    )  # set by ``placement.mpi_parting.leave_without_finalize``, and by nobody else here


def _first_line(text: str) -> str:
    """``MPICH Version: 5.0.2`` of the page that MPICH tells."""
    return " ".join(text.strip("\0 \n").splitlines()[0].split())
