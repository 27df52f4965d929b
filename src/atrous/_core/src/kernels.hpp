#pragma once

#include <cstddef>
#include <cstdint>

namespace atrous {

// Adds the pairs of labels to matrix[classes][classes]; false when a counted label is outside 0..classes-1.
bool confusion(const std::uint8_t* truth, const std::uint8_t* predicted, std::size_t pixels, std::size_t classes,
               std::size_t threads, std::int64_t* matrix);

// Where the samples of one axis lie: between source cells first and second, `weight` of the way to the second.
struct Axis {
    const std::int32_t* first;
    const std::int32_t* second;
    const float* weight;
    std::size_t size;
};

// Writes to labels[rows.size][columns.size] the class of the largest enlarged logit, the lowest on a tie.
void enlarge_argmax(const float* logits, std::size_t classes, std::size_t height, std::size_t width, const Axis& rows,
                    const Axis& columns, std::size_t threads, std::uint8_t* labels);

// Writes to first and second[height][width] the squared distances to the nearest pixels of the two nearest distinct
// objects; 0 is no object. Those over `farthest`, which is `reach` columns at most, are infinite.
void two_nearest(const std::int32_t* objects, std::size_t height, std::size_t width, float farthest,
                 std::size_t reach, std::size_t threads, float* first, float* second);

}  // namespace atrous
