"""Threads before and behind a loop: what comes next is made while the loop works, what it made is written meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


def buffered(items: Iterable[Item], *, count: int = 4) -> Iterator[Item]:
    """Yield the items in order, up to `count` of them made ahead by a thread; what making one raises is raised.

    >>> list(buffered(iter("abc"), count=2))
    ['a', 'b', 'c']
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, iterator, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def behind(
    done: Callable[[Any], object] = lambda _: None, *, threads: int = 1, count: int = 8
) -> Iterator[Callable[..., None]]:
    """Yield `later(work, *arguments, **options)`, which leaves work to threads, and hands each result to `done`.

    More than `count` pieces of work make `later` wait, so that memory is bounded; one thread keeps their order. What
    work raises comes out of a later call, or of the end of the block, which waits for all of it.

    >>> made = []
    >>> with behind(made.append) as later:
    ...     later(str, 1)
    ...     later(str, 2)
    >>> made
    ['1', '2']
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def later(work: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
            waiting.append(pool.submit(work, *arguments, **options))
            while len(waiting) > count:
                done(waiting.popleft().result())

        yield later
        while waiting:
            done(waiting.popleft().result())
