"""The command ``retrieve``. Free of torch at the top."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.device_argument import add_device_argument, chosen_device
from cdi.help_examples import add_examples
from cdi.progress import add_progress_argument
from data.stack_arguments import PATTERN_FILES, add_stack_arguments, stack_options, told_warnings

if TYPE_CHECKING:
    from cdi.pattern import Exposure
    from cdi.retrieval.config import RetrievalConfig
    from cdi.retrieval.vortex_lines import VortexLine


EXAMPLES = """
cdi retrieve pattern.h5 --output object.h5                       # Ctrl-C: what the starts have reached is written
cdi retrieve scan/frames starts=6 --shape 64 --output gold.h5
cdi retrieve run.nxs --dataset /entry/data/counts --axes rcf --geometry beamline.yaml --output object.h5
cdi retrieve 111.h5 --also 200.h5 11-1.h5 starts=10 --output three.h5    # one crystal, one support
cdi retrieve scan.cxi coherence.kernel=gaussian --device cuda --output object.h5
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument("file", type=str, help=f"a pattern: {PATTERN_FILES}")
    parser.add_argument("overrides", nargs="*", type=str, metavar="key=value", help="settings, e.g. starts=50")
    parser.add_argument("--output", type=str, required=True, metavar="OUT.h5", help="densities, and OUT.png beside")
    parser.add_argument("--config", type=str, default=None, metavar="FILE.yaml", help="settings")
    parser.add_argument(
        "--also", nargs="+", type=str, default=None, metavar="FILE",
        help="further reflections of the same crystal on the same voxels, which share its support",
    )  # fmt: skip
    parser.add_argument("--index", type=int, default=None, help="sample of a data set of cdi generate (the first file)")
    parser.add_argument("--scan", nargs="+", type=int, default=None, help="scan number in the SPEC file, one a file")
    add_stack_arguments(parser)
    parser.add_argument("--shape", nargs="+", type=int, default=None, metavar="N", help="voxels kept: N, or N N N")
    parser.add_argument(
        "--binning", nargs="+", type=int, default=None, metavar="N",
        help="voxels summed along each axis: N, or N N N (default: as far as an oversampling of 3 lets)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the starts and the held-out voxels")
    add_device_argument(parser)
    parser.add_argument("--picture", action=ActionYesNo(no_prefix="no-"), default=True, help="write OUT.png beside")
    add_json_argument(parser)
    add_progress_argument(parser)
    parser.add_argument(
        "--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace an existing output"
    )


def _retrieve(arguments: Namespace) -> None:
    from cdi.whole_file import check_output, whole_file
    from data.retrieval_file import write_retrieval
    from data.retrieval_picture import save_retrieval_picture

    output = check_output(arguments.output, overwrite=arguments.overwrite)
    picture = output.with_suffix(".png")
    if arguments.picture:
        check_output(picture, overwrite=arguments.overwrite)
    config = _config(arguments)
    exposures, warned = _exposures(arguments)
    found, stopped = _run(exposures, config, arguments)
    names = _files(arguments)
    lines = _vortex_lines(found)
    with whole_file(output, overwrite=arguments.overwrite) as temporary:
        write_retrieval(temporary, found, config, lines, attributes={"sources": names, "seed": arguments.seed})
    if arguments.picture:
        with whole_file(picture, overwrite=arguments.overwrite) as temporary:
            save_retrieval_picture(temporary, found, title=", ".join(Path(name).name for name in names))
    told = _to_json(found, names, lines)
    tell(
        arguments, {**told, "output": output, "interrupted": stopped, "warnings": warned},
        [*_report(told), f"written      {output}"],
    )  # fmt: skip
    if stopped:
        raise KeyboardInterrupt(f"{output} holds what the starts had reached; --overwrite runs them to their end")


def _config(arguments: Namespace) -> "RetrievalConfig":
    from cdi.config import read_config
    from cdi.retrieval.config import RetrievalConfig

    shared = ["shared_support=true"] if arguments.also else []
    return read_config(RetrievalConfig, arguments.config, [*(arguments.overrides or []), *shared])


def _files(arguments: Namespace) -> list[str]:
    return [arguments.file, *(arguments.also or [])]


def _exposures(arguments: Namespace) -> "tuple[list[Exposure], list[str]]":
    """The patterns as they are phased, and what their files were warned of."""
    from cdi.retrieval.framing import framed
    from data.formats.pattern_files import read_exposure

    shape, binning = (_three(arguments[name], name) for name in ("shape", "binning"))
    files = _files(arguments)
    if arguments.scan is not None and len(arguments.scan) != len(files):
        raise ValueError(f"--scan must be one number a file, got {len(arguments.scan)} for {len(files)} files")
    scans, options = arguments.scan or [None] * len(files), stack_options(arguments)
    indices = [arguments.index, *[None] * (len(files) - 1)]
    with told_warnings() as warned:
        exposures = [
            read_exposure(file, index=index, spec=arguments.spec, scan=scan, options=options)
            for file, index, scan in zip(files, indices, scans, strict=True)
        ]
    return [framed(exposure, shape, binning) for exposure in exposures], warned


def _three(numbers: list[int] | None, name: str) -> tuple[int, int, int] | None:
    if numbers is None:
        return None
    if len(numbers) not in (1, 3):
        raise ValueError(f"{name} must be 1 or 3 numbers, got {numbers}")
    first, second, third = numbers * 3 if len(numbers) == 1 else numbers
    return first, second, third


def _run(exposures: "list[Exposure]", config: "RetrievalConfig", arguments: Namespace) -> tuple[Any, bool]:
    """What was retrieved, and whether Ctrl-C ended it before its end."""
    import torch

    from cdi.interruption import stop_at_interrupt
    from cdi.progress import progress_bar
    from cdi.retrieval.phase_retrieval import retrieve

    device = chosen_device(arguments)
    total = len(exposures) * config.starts * config.iterations
    generator = torch.Generator().manual_seed(arguments.seed)
    with progress_bar(total, "it", "retrieving", shown=arguments.progress) as bar, stop_at_interrupt() as stop:

        def report(count: int) -> None:
            bar.update(count)

        return retrieve(exposures, config, generator=generator, device=device, report=report, stop=stop), stop()


def _vortex_lines(found: Any) -> "list[tuple[VortexLine, ...]]":
    """Lines about which the phase of each pattern's density winds."""
    from cdi.retrieval.vortex_lines import vortex_lines

    return [
        vortex_lines(density, support, voxel=None if grid is None else grid.voxel)
        for density, support, grid in zip(found.density, found.support, found.grids, strict=True)
    ]


def _to_json(found: Any, names: list[str], lines: "list[tuple[VortexLine, ...]]") -> dict[str, Any]:
    """What was found of each pattern, in plain values; lengths in the pattern's own ``unit``."""
    from cdi.retrieval.averaging import FSC_LEVEL, PRTF_LEVEL

    transfer, halves = found.transfer.resolution(PRTF_LEVEL), found.halves.resolution(FSC_LEVEL)
    patterns = []
    for row, name in enumerate(names):
        best, size = int(found.kept[row, 0]), _voxel_size(found.grids[row])
        patterns.append({
            "pattern": name, "shape": list(found.density.shape[1:]), "best": best,
            "misfit": float(found.error[row, best]), "free_deviance": float(found.free_deviance[row, best]),
            "first_mode": float(found.mode_weight[row]), "unit": "voxel" if found.grids[row] is None else "angstrom",
            "resolution_prtf": float(transfer[row] * size), "resolution_fsc": float(halves[row] * size),
            "lines": [
                {
                    "winding": line.winding, "length": float(line.length), "confidence": float(line.confidence),
                    "points": line.points.round(2).tolist(),
                }
                for line in lines[row]
            ],
        })  # fmt: skip
    return {"starts": len(found.iterations), "averaged": int(found.kept.shape[1]), "patterns": patterns}


def _voxel_size(grid: Any) -> float:
    """Mean edge of a voxel in Å; 1 where the geometry is unknown."""
    import numpy as np

    return 1.0 if grid is None else float(np.linalg.norm(grid.voxel, axis=1).mean())


def _report(told: dict[str, Any]) -> Iterator[str]:
    for each in told["patterns"]:
        unit = "voxels" if each["unit"] == "voxel" else "Å"
        yield f"pattern      {each['pattern']}, {' × '.join(map(str, each['shape']))} voxels"
        yield f"starts       {told['starts']}, best {each['best']}, {told['averaged']} averaged"
        yield f"misfit       {each['misfit']:.4g} of the intensity"
        yield f"free         {each['free_deviance']:.4g} per held-out voxel (photon noise alone: 1)"
        yield f"first mode   {each['first_mode']:.4f} of the power"
        prtf, fsc = each["resolution_prtf"], each["resolution_fsc"]
        yield f"resolution   {prtf:.3g} {unit} (PRTF), {fsc:.3g} {unit} (FSC of halves)"
        yield f"lines        {len(each['lines'])}"
        for line in each["lines"]:
            ends = " to ".join(str([round(x, 1) for x in line["points"][end]]) for end in (0, -1))
            sure = f"confidence {line['confidence']:.2f}"
            yield f"  winding {line['winding']}, {line['length']:.4g} {unit}, from {ends}, {sure}"


retrieve = Command(
    "retrieve",
    "the density behind a pattern by iterative phase retrieval",
    _add_arguments,
    _retrieve,
    "nothing was written yet; fewer starts end sooner",
)
