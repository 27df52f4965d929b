"""The commands for folders of images and masks: inspect, convert, bench-data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atrous import flags
from atrous.cli.recipe_flags import RecipeFlags, changes_of
from atrous.cli.words import (
    Cache,
    CacheLimit,
    Classes,
    Data,
    Device,
    Ignore,
    Json,
    Labels,
    Layout,
    Masks,
    Quiet,
    TrainList,
    ValList,
    Workers,
    print_json,
)


def inspect(
    data: Data,
    /,
    *,
    html: Annotated[Path | None, Parameter(help="A page with the report and a contact sheet, in one file.")] = None,
    fix: Annotated[Path | None, Parameter(help="A folder for a corrected copy; the data stay as they are.")] = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Say what a folder of images and masks holds, and what is wrong with it. Exit code 1 where something is."""
    from atrous import verbs
    from atrous.console import counted

    wishes = flags.wishes(classes, ignore, labels, layout, masks)
    with counted("reading", quiet=quiet) as progress:
        found = verbs.inspect(data, html=html, fix=fix, **wishes, progress=progress)
    if as_json:
        print_json(found.as_json())
    else:
        print(found.as_text())
    return 1 if found.findings else 0


def convert(
    source: Annotated[Path, Parameter(help="A folder of images and masks, of any layout.")],
    out: Annotated[Path, Parameter(help="The folder that is made.")],
    /,
    *,
    to: Annotated[str, Parameter(help=f"{', '.join(flags.FORMATS)}.")],
    values: Annotated[bool, Parameter(help="Masks hold the numbers of the source, not 0, 1, 2.")] = False,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Write the same images and labels in another format, as a new folder."""
    from atrous import verbs
    from atrous.console import counted

    wishes = flags.wishes(classes, ignore, labels, layout, masks)
    with counted("converting", quiet=quiet) as progress:
        done = verbs.convert(source, out, to=to, values=values, **wishes, progress=progress)
    if as_json:
        return print_json(done.as_json())
    print(done.as_text())
    return 0


def bench_data(  # noqa: PLR0913  (what training takes that concerns its speed)
    data: Data,
    /,
    *,
    recipe: Annotated[
        str | None, Parameter(help="auto, which looks at the data, or a paper's (`atrous recipes`).")
    ] = None,
    settings: RecipeFlags | None = None,
    cache: Cache = None,
    cache_limit: CacheLimit = "16GB",
    workers: Workers = None,
    seconds: Annotated[float, Parameter(help="About how long the loader is timed, and the network.")] = 5.0,
    device: Device = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    train_list: TrainList = None,
    val_list: ValList = None,
    as_json: Json = False,
) -> int:
    """Time how fast a folder is read, and how fast the network takes it: which one limits, and what helps."""
    from atrous import verbs

    found = verbs.bench_data(
        data,
        recipe=recipe,
        cache=cache,
        cache_limit=flags.bytes_of(cache_limit),
        workers=workers,
        seconds=seconds,
        device=device,
        train_list=train_list,
        val_list=val_list,
        **flags.wishes(classes, ignore, labels, layout, masks),
        **changes_of(settings),
    )
    if as_json:
        return print_json(found.as_json())
    print(found.as_text())
    return 0
