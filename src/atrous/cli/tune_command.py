"""The command that searches a recipe: tune."""

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


def tune(  # noqa: PLR0913  (the recipe's flags are one argument; these are what a search hangs on beside it)
    data: Data,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The search's folder; runs/NAME-of-DATA-tune without it.")] = None,
    trials: Annotated[int, Parameter(help="Finished trials in all, those of earlier calls too.")] = 20,
    timeout: Annotated[float | None, Parameter(help="Minutes after which no trial starts.")] = None,
    search: Annotated[
        list[str] | None,
        Parameter(help="What is searched: learning_rate=0.001..0.1 or crop=128,256; may come several times."),
    ] = None,
    storage: Annotated[
        str | None, Parameter(help="URL of the study's database, for many machines; an SQLite file without it.")
    ] = None,
    study: Annotated[str | None, Parameter(help="Name of the study; the folder's without it.")] = None,
    recipe: Annotated[
        str | None, Parameter(help="auto, which looks at the data, or a paper's (`atrous recipes`).")
    ] = None,
    settings: RecipeFlags | None = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    train_list: TrainList = None,
    val_list: ValList = None,
    device: Device = None,
    workers: Workers = None,
    cache: Cache = None,
    cache_limit: CacheLimit = "16GB",
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Search the recipe's settings that suit a folder. Ctrl-C leaves a study that the same command goes on with."""
    from atrous import verbs
    from atrous.console import watched

    with watched(quiet=quiet) as listener:
        found = verbs.tune(
            data,
            out=out,
            trials=trials,
            timeout=timeout,
            search=tuple(search or ()),
            storage=storage,
            study=study,
            recipe=recipe,
            device=device,
            workers=workers,
            cache=cache,
            cache_limit=flags.bytes_of(cache_limit),
            train_list=train_list,
            val_list=val_list,
            listener=listener,
            **flags.wishes(classes, ignore, labels, layout, masks),
            **changes_of(settings),
        )
    if as_json:
        print_json(found.as_json())
    else:
        print(found.as_text())
        following = f"; next: atrous predict {found.out / 'best'} IMAGES --out out/" if found.best else ""
        print(f"report in {found.out / 'report.md'}{following}")
    return 0 if found.best is not None else 1
