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

// Neighbours mostly fall into the same bin, whose additions would wait for each other: four equal ones are added at
// once, and others go to four histograms in turn.
void count_pairs(const std::uint16_t* pairs, std::size_t pixels, std::int64_t* bins, std::size_t stride) {
    std::size_t pixel = 0;
    for (; pixel + 4 <= pixels; pixel += 4) {
        std::uint64_t four;
        std::memcpy(&four, pairs + pixel, sizeof four);
        if (four == (four & 0xffff) * 0x0001000100010001ull) {
            bins[pairs[pixel]] += 4;
        } else {
            for (std::size_t lane = 0; lane < 4; ++lane) ++bins[lane * stride + pairs[pixel + lane]];
        }
    }
    for (; pixel < pixels; ++pixel) ++bins[pairs[pixel]];
}

bool confusion(const std::uint8_t* truth, const std::uint8_t* predicted, std::size_t pixels, std::size_t classes,
               std::size_t threads, std::int64_t* matrix) {
    const std::size_t cells = classes * classes, stride = cells + 1;
    std::vector<std::int64_t> bins(threads * 4 * stride);
    std::vector<std::uint16_t> pairs(threads * block);
    std::atomic<bool> inside{true};
    in_strips(pixels, threads, [&](std::size_t strip, std::size_t begin, std::size_t end) {
        std::uint16_t* own = pairs.data() + strip * block;
        for (std::size_t start = begin; start < end && inside; start += block) {
            const std::size_t count = end - start < block ? end - start : block;
            if (!pair_numbers(truth + start, predicted + start, count, static_cast<std::uint16_t>(classes), own))
                inside = false;
            else
                count_pairs(own, count, bins.data() + strip * 4 * stride, stride);
        }
    });
    for (std::size_t part = 0; part < threads * 4; ++part)
        for (std::size_t cell = 0; cell < cells; ++cell) matrix[cell] += bins[part * stride + cell];
    return inside;
}

}  // namespace atrous
