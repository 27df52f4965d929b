#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "strips.hpp"

namespace atrous {

// So many columns at a time keep two enlarged source rows of every class in the second-level cache.
constexpr std::size_t tile = 512;

struct Scratch {
    float* upper;        // [classes][tile]
    float* lower;        // [classes][tile]
    float* best;         // [tile]
    std::int32_t* name;  // [tile]
};

ATROUS_CLONES void stretch_row(const float* source, const std::int32_t* first, const std::int32_t* second,
                               const float* weight, std::size_t count, float* enlarged) {
    for (std::size_t column = 0; column < count; ++column)
        enlarged[column] = source[first[column]] * (1.0f - weight[column]) + source[second[column]] * weight[column];
}

// A comparison with NaN is false, so NaN never wins.
ATROUS_CLONES void keep_larger(const float* __restrict upper, const float* __restrict lower, float weight,
                               std::int32_t candidate, std::size_t count, float* __restrict best,
                               std::int32_t* __restrict name) {
    const float rest = 1.0f - weight;
    for (std::size_t column = 0; column < count; ++column) {
        const float value = upper[column] * rest + lower[column] * weight;
        const bool larger = value > best[column];
        best[column] = larger ? value : best[column];
        name[column] = larger ? candidate : name[column];
    }
}

class Enlargement {
   public:
    Enlargement(const float* logits, std::size_t classes, std::size_t height, std::size_t width, const Axis& rows,
                const Axis& columns, std::uint8_t* labels)
        : logits_(logits), classes_(classes), height_(height), width_(width), rows_(rows), columns_(columns),
          labels_(labels) {}

    void band(std::size_t begin, std::size_t end, Scratch scratch) const {
        for (std::size_t left = 0; left < columns_.size; left += tile) {
            const std::size_t count = columns_.size - left < tile ? columns_.size - left : tile;
            std::int32_t upper = -1, lower = -1;
            for (std::size_t row = begin; row < end; ++row) {
                load(rows_.first[row], rows_.second[row], left, count, scratch, upper, lower);
                name_row(row, left, count, scratch);
            }
        }
    }

   private:
    // Brings the two source rows in; the lower one of the rows before is mostly the upper one of the next.
    void load(std::int32_t first, std::int32_t second, std::size_t left, std::size_t count, Scratch& scratch,
              std::int32_t& upper, std::int32_t& lower) const {
        if (first == lower && first != upper) {
            std::swap(scratch.upper, scratch.lower);
            std::swap(upper, lower);
        }
        if (first != upper) stretch(first, left, count, scratch.upper);
        if (second != lower) stretch(second, left, count, scratch.lower);
        upper = first;
        lower = second;
    }

    void stretch(std::int32_t row, std::size_t left, std::size_t count, float* enlarged) const {
        for (std::size_t index = 0; index < classes_; ++index)
            stretch_row(logits_ + (index * height_ + row) * width_, columns_.first + left, columns_.second + left,
                        columns_.weight + left, count, enlarged + index * tile);
    }

    void name_row(std::size_t row, std::size_t left, std::size_t count, const Scratch& scratch) const {
        std::fill_n(scratch.best, count, -std::numeric_limits<float>::infinity());
        std::fill_n(scratch.name, count, 0);
        for (std::size_t index = 0; index < classes_; ++index)
            keep_larger(scratch.upper + index * tile, scratch.lower + index * tile, rows_.weight[row],
                        static_cast<std::int32_t>(index), count, scratch.best, scratch.name);
        std::uint8_t* target = labels_ + row * columns_.size + left;
        for (std::size_t column = 0; column < count; ++column)
            target[column] = static_cast<std::uint8_t>(scratch.name[column]);
    }

    const float* logits_;
    std::size_t classes_, height_, width_;
    const Axis& rows_;
    const Axis& columns_;
    std::uint8_t* labels_;
};

void enlarge_argmax(const float* logits, std::size_t classes, std::size_t height, std::size_t width, const Axis& rows,
                    const Axis& columns, std::size_t threads, std::uint8_t* labels) {
    const std::size_t floats = (2 * classes + 1) * tile;
    std::vector<float> values(threads * floats);
    std::vector<std::int32_t> names(threads * tile);
    const Enlargement enlargement(logits, classes, height, width, rows, columns, labels);
    in_strips(rows.size, threads, [&](std::size_t strip, std::size_t begin, std::size_t end) {
        float* own = values.data() + strip * floats;
        enlargement.band(begin, end,
                         {own, own + classes * tile, own + 2 * classes * tile, names.data() + strip * tile});
    });
}

}  // namespace atrous
