"""Which packages the optional groups of this distribution lack, by the metadata of what is installed."""

from collections.abc import Iterator
from importlib import metadata

from inference_insitu.doctor.verdict import Level, Verdict

DISTRIBUTION = "crystal-defects-insitu"


def optional_groups(distribution: str = DISTRIBUTION) -> list[Verdict]:
    """One verdict for each optional group, by name."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        finding = f"{distribution} is not installed: its groups are unknown"
        return [Verdict("packages", Level.WARNING, finding, "pip install -e . in its folder")]
    groups = found.metadata.get_all("Provides-Extra") or []
    return [_group(distribution, group, found.requires or []) for group in groups]


def _group(distribution: str, group: str, requirements: list[str]) -> Verdict:
    wanted = list(_of_group(distribution, group, requirements))
    lacking = [why for name, specifier in wanted if (why := _lack(name, specifier))]
    facts = {"group": group, "packages": [name for name, _ in wanted], "lacking": lacking}
    if lacking:
        advice = f"pip install '{distribution}[{group}]'"
        return Verdict(f"group {group}", Level.NO, f"lacks {', '.join(lacking)}", advice, facts)
    return Verdict(f"group {group}", Level.OK, ", ".join(name for name, _ in wanted), facts=facts)


def _of_group(distribution: str, group: str, requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Name and version condition of each package of ``group``, those of the groups it names included."""
    from packaging.requirements import Requirement  # comes with lightning

    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": group}):
            continue
        if requirement.name == distribution:
            for other in sorted(requirement.extras):
                yield from _of_group(distribution, other, requirements)
        else:
            yield requirement.name, str(requirement.specifier)


def _lack(name: str, specifier: str) -> str:
    """What is amiss with one package, empty where nothing is."""
    from packaging.specifiers import SpecifierSet

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name
    return "" if SpecifierSet(specifier).contains(version, prereleases=True) else f"{name}{specifier} (has {version})"
