#include <atomic>
#include <cstring>
#include <vector>

#include "kernels.hpp"
#include "strips.hpp"

namespace atrous {

constexpr std::size_t block = 4096;
constexpr std::uint8_t ignore = 255;

// Writes truth * classes + predicted per pixel, classes * classes where truth is ignored; false for a label outside.
ATROUS_CLONES bool pair_numbers(const std::uint8_t* truth, const std::uint8_t* predicted, std::size_t pixels,
                                std::uint16_t classes, std::uint16_t* pairs) {
    const auto nowhere = static_cast<std::uint16_t>(classes * classes);
    std::uint16_t outside = 0;
    for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
        const std::uint16_t row = truth[pixel], column = predicted[pixel];
        const std::uint16_t counted = row == ignore ? 0 : 0xffff;
        const std::uint16_t beyond = (row >= classes ? 0xffff : 0) | (column >= classes ? 0xffff : 0);
        outside |= counted & beyond;
        const auto pair = static_cast<std::uint16_t>(row * classes + column);
        pairs[pixel] = static_cast<std::uint16_t>((counted & pair) | (~counted & nowhere));
    }
    return outside == 0;
}

// Neighbours mostly fall into the same bin, whose additions would wait for each other. So a bin has lanes side by side,
// which neighbours take in turn, and a run of equal pairs is added at once. Shorter runs are not looked for: where labels
// are noisy, a branch that is guessed wrong costs more than it saves.
constexpr std::size_t lanes = 4, run = 32;

void count_pairs(const std::uint16_t* pairs, std::size_t pixels, std::int64_t* bins) {
    std::size_t pixel = 0;
    for (; pixel + run <= pixels; pixel += run) {
        const std::uint16_t* own = pairs + pixel;
        std::uint16_t different = 0;
        for (std::size_t each = 1; each < run; ++each) different |= own[each] ^ own[0];
        if (!different)
            bins[own[0] * lanes] += run;
        else
            for (std::size_t each = 0; each < run; each += lanes)
                for (std::size_t lane = 0; lane < lanes; ++lane) ++bins[own[each + lane] * lanes + lane];
    }
    for (; pixel < pixels; ++pixel) ++bins[pairs[pixel] * lanes];
}

bool confusion(const std::uint8_t* truth, const std::uint8_t* predicted, std::size_t pixels, std::size_t classes,
               std::size_t threads, std::int64_t* matrix) {
    const std::size_t cells = classes * classes, stride = (cells + 1) * lanes;
    std::vector<std::int64_t> bins(threads * stride);
    std::vector<std::uint16_t> pairs(threads * block);
    std::atomic<bool> inside{true};
    in_strips(pixels, threads, [&](std::size_t strip, std::size_t begin, std::size_t end) {
        std::uint16_t* own = pairs.data() + strip * block;
        for (std::size_t start = begin; start < end && inside; start += block) {
            const std::size_t count = end - start < block ? end - start : block;
            if (!pair_numbers(truth + start, predicted + start, count, static_cast<std::uint16_t>(classes), own))
                inside = false;
            else
                count_pairs(own, count, bins.data() + strip * stride);
        }
    });
    for (std::size_t strip = 0; strip < threads; ++strip)
        for (std::size_t cell = 0; cell < cells; ++cell)
            for (std::size_t lane = 0; lane < lanes; ++lane) matrix[cell] += bins[strip * stride + cell * lanes + lane];
    return inside;
}

}  // namespace atrous
