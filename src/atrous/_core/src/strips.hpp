#pragma once

#include <atomic>
#include <cstddef>
#include <new>
#include <thread>
#include <vector>

// One function body compiled for several processors and chosen when the module is loaded, where the toolchain can.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define ATROUS_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef ATROUS_CLONES
#define ATROUS_CLONES
#endif

namespace atrous {

// Calls work(strip, begin, end) for `strips` contiguous parts of 0..count-1, the first on this thread.
// `work` must not throw: its memory is allocated by the caller beforehand.
template <typename Work>
void in_strips(std::size_t count, std::size_t strips, const Work& work) {
    const auto edge = [&](std::size_t strip) { return count * strip / strips; };
    std::vector<std::thread> threads;
    threads.reserve(strips);
    std::size_t started = 1;
    try {
        for (; started < strips; ++started)
            threads.emplace_back([&, strip = started] { work(strip, edge(strip), edge(strip + 1)); });
    } catch (...) {
        // The system gives no more threads, or no memory for one: this one does what is left.
    }
    work(0, edge(0), edge(1));
    for (std::size_t strip = started; strip < strips; ++strip) work(strip, edge(strip), edge(strip + 1));
    for (auto& thread : threads) thread.join();
}

// The same for work that takes memory and may find none left: that is told once all have ended.
template <typename Work>
void in_strips_with_memory(std::size_t count, std::size_t strips, const Work& work) {
    std::atomic<bool> enough{true};
    in_strips(count, strips, [&](std::size_t strip, std::size_t begin, std::size_t end) {
        try {
            work(strip, begin, end);
        } catch (const std::bad_alloc&) {
            enough = false;
        }
    });
    if (!enough) throw std::bad_alloc();
}

}  // namespace atrous
